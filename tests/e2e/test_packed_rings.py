# SPDX-License-Identifier: Apache-2.0
"""Packed rings: not offered unless asked for, and what a killed router does to them (docs/decisions/0009)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import until

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guest import Guest, Nic, build_image  # noqa: E402

# What testpmd's flowgen sends: UDP from 10.254.0.0 to 10.253.0.0 and the addresses after it, always
# to this MAC address.
FLOWGEN_MAC = "00:01:02:03:04:01"
FLOWS = 1024
CORE = min(os.sched_getaffinity(0))

needs_testpmd = pytest.mark.skipif(shutil.which("dpdk-testpmd") is None,
                                   reason="there is no dpdk-testpmd")


class Load:
    """testpmd with two virtio_user devices that listen, as QEMU does, and flood each other.

    Its driver asks for packed rings, and resets them when their backend comes back.
    """

    def __init__(self, daemon):
        self.log_path = daemon.directory / "testpmd.log"
        devices = []
        for port in (0, 1):
            devices += ["--vdev", f"net_virtio_user{port},path={daemon.directory}/vm{port}.sock,server=1,"
                                  f"mac=02:00:00:00:00:0{port},packed_vq=1,queue_size=1024"]
        self.log = open(self.log_path, "w", encoding="utf-8")
        # testpmd ends when its standard input does.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci",
             "--no-telemetry", "--lcores", f"0@{CORE},1@{CORE}", "--file-prefix",
             f"{daemon.prefix}-tp", *devices, "--", "--forward-mode=flowgen",
             f"--flowgen-flows={FLOWS}", "--total-num-mbufs=16384", "--auto-start",
             "--stats-period=1000"],
            stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def check(self):
        if self.process.poll() is not None:
            raise AssertionError(f"testpmd ended:\n{self.log_path.read_text()}")


def start(resources, *options):
    """A daemon with two ports, to each of which half of flowgen's destinations lead."""
    daemon = resources.daemon("--router-mac", FLOWGEN_MAC, *options)
    daemon.start()
    for port in (0, 1):
        name = f"p{port}"
        daemon.call("port.apply", name=name, socket=str(daemon.directory / f"vm{port}.sock"),
                    mac=f"02:00:00:00:00:0{port}", groups=["any"], port_security=False)
        daemon.call("route.apply", routes=[{"prefixes": [f"10.253.{2 * port}.0/23"],
                                            "next_hop": {"port": name}}])
    return daemon


def wait_flow(daemon, load, packets=20_000):
    """That each port gets so many packets more from the other."""
    for name in ("p0", "p1"):
        before = daemon.port_stats(name)["tx_packets"]

        def passed(name=name, before=before):
            load.check()
            return daemon.port_stats(name)["tx_packets"] >= before + packets

        until(passed, lambda n=name: f"{packets} packets to {n}: {daemon.port(n)} {daemon.drops(n)}", 60)


def has_packed_rings(daemon, load):
    def running():
        load.check()
        return all(daemon.port(name)["actual"]["state"] == "running" for name in ("p0", "p1"))

    until(running, lambda: f"both ports run: {daemon.port('p0')} {daemon.port('p1')}", 60)
    return ["VIRTIO_F_RING_PACKED" in daemon.port(name)["actual"]["features"] for name in ("p0", "p1")]


@needs_testpmd
def test_packed_rings_are_not_offered_unless_asked_for(resources):
    daemon = start(resources)
    with Load(daemon) as load:
        assert has_packed_rings(daemon, load) == [False, False]
        wait_flow(daemon, load)


@needs_testpmd
def test_packed_rings_that_their_driver_resets_survive_a_killed_router_under_load(resources):
    daemon = start(resources, "--vhost-packed", "true")
    with Load(daemon) as load:
        for kills in range(4):
            if kills:
                daemon.restart()
            assert has_packed_rings(daemon, load) == [True, True]
            wait_flow(daemon, load)


# QEMU does not reset rings when a backend comes back. Of split rings it finds the position in the
# guest's memory; of packed ones it knows only where it began itself.
@pytest.mark.parametrize("packed", [False, True], ids=["default", "asked_for"])
def test_guest_that_asks_for_packed_rings_and_a_killed_router(resources, packed):
    daemon = resources.daemon(*(["--vhost-packed", "true"] if packed else []))
    daemon.start()
    sock = daemon.directory / "vm0.sock"
    mac = "52:54:00:00:00:10"
    daemon.call("port.apply", name="p0", socket=str(sock), mac=mac, groups=["any"],
                addresses=["10.0.0.10"], gateways=["10.0.0.1"])
    with Guest("vm0", build_image(), daemon.directory,
               [Nic(sock, mac, properties={"packed": "on"})]) as guest:
        guest.wait_ready(180)
        guest.configure("eth0", ["10.0.0.10/24"])
        assert guest.run("ping -c 2 -W 5 10.0.0.1").ok
        features = daemon.port("p0")["actual"]["features"]
        assert ("VIRTIO_F_RING_PACKED" in features) == packed

        load = guest.start_job("ping -q -i 0.002 10.0.0.1")
        until(lambda: daemon.port_stats("p0")["tx_packets"] > 100, "echo is answered under load")
        daemon.restart()
        until(lambda: daemon.port("p0")["actual"]["state"] == "running", "the port runs again")
        # The reason why packed rings are off: a guest that has them is cut off until it resets them.
        assert guest.run("ping -c 3 -W 3 10.0.0.1").ok == (not packed)
        load.kill()
