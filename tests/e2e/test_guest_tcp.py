# SPDX-License-Identifier: Apache-2.0
"""Two QEMU guests with two queue pairs each: TCP with offloads, resets, deaths, a killed router."""

import re
import sys
import time
from pathlib import Path

import pytest

from support import SEND_ALL, until
from support.frontend import GATEWAY_MAC, Frontend, add_ports

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guest import Guest, Nic, build_image  # noqa: E402

PREFIX = "10.0.0."
# Booting without KVM on a busy machine takes a while.
BOOT_S = 180


class Machines:
    """The daemon, two ports, and a guest on each. Ports 2 and 3 are for a witness."""

    def __init__(self, daemon, image):
        self.daemon = daemon
        self.image = image
        self.guests = []
        for number in (1, 2):
            daemon.call("port.apply", name=f"vm{number}",
                        socket=str(daemon.directory / f"g{number}.sock"),
                        mac=f"52:54:00:00:00:1{number}", queues=2, groups=["any"],
                        addresses=[f"{PREFIX}20{number}", f"2001:db8::20{number}"],
                        gateways=["10.0.0.1", "fe80::1"])
            guest = Guest(f"vm{number}", image, daemon.directory,
                          [Nic(daemon.directory / f"g{number}.sock", f"52:54:00:00:00:1{number}",
                               queues=2)], cpus=2)
            guest.start()
            self.guests.append(guest)
        for number, guest in enumerate(self.guests, 1):
            guest.wait_ready(BOOT_S)
            self.set_up(number, guest)

    @staticmethod
    def set_up(number, guest):
        guest.run("s32guest queues eth0 2", check=True)
        guest.configure("eth0", [f"{PREFIX}20{number}/24", f"2001:db8::20{number}/64"])

    def close(self):
        for guest in self.guests:
            guest.stop()


@pytest.fixture(scope="module")
def machines(module_resources):
    daemon = module_resources.daemon("--router-mac", GATEWAY_MAC)
    daemon.start()
    image = build_image()
    made = None
    try:
        made = Machines(daemon, image)
        yield made
    finally:
        if made is not None:
            made.close()


def test_two_queue_pairs_are_in_use(machines):
    for name in ("vm1", "vm2"):
        until(lambda n=name: machines.daemon.port(n)["actual"].get("queues") == 2,
              lambda n=name: f"two queue pairs: {machines.daemon.port(n)}")


@pytest.mark.parametrize("address", ["10.0.0.202", "2001:db8::202"])
def test_tcp_with_segmentation_offload(machines, address):
    one, two = machines.guests
    size = 20_000_000
    one.run("s32guest feature eth0 tso on", check=True)
    one.run(f"ping -c 2 -W 5 {address}", check=True)
    before = machines.daemon.port_stats("vm1")
    server = two.start_job("s32guest tcp-serve 5001")
    try:
        server.wait_for("listening")
        sent = one.run(f"s32guest tcp-send {address} 5001 {size}", 60, check=True)
        assert "mbit_s=" in sent.stdout
    finally:
        server.kill()
        server.wait()
    after = machines.daemon.port_stats("vm1")
    packets = after["rx_packets"] - before["rx_packets"]
    assert after["rx_bytes"] - before["rx_bytes"] >= size
    assert size / packets > 3000, "segments larger than the MTU pass whole"


def test_http_passes_by_its_rule(machines):
    """What the group of the second machine names is served, and no more."""
    one, two = machines.guests
    daemon = machines.daemon
    two.put_file("/tmp/page", b"served\n")
    daemon.call("sg.apply", name="services", rules=[
        *SEND_ALL, {"direction": "ingress", "protocol": "tcp", "port_min": 80},
        {"direction": "ingress", "ethertype": "ipv6", "protocol": "tcp", "port_min": 80}])
    jobs = [two.start_job(command) for command in (
        "httpd -f -p 80 -h /tmp", "httpd -f -p 81 -h /tmp")]

    def fetch(url):
        return one.run(f"timeout 3 wget -q -O - {url}", 60)

    try:
        until(lambda: fetch("http://10.0.0.202:81/page").ok, "the servers to be there", 20)
        daemon.call("port.apply", **{**daemon.port("vm2")["desired"], "groups": ["services"]})
        for host in ("10.0.0.202", "[2001:db8::202]"):
            assert "served" in fetch(f"http://{host}/page").stdout
            assert not fetch(f"http://{host}:81/page").ok
        # The second machine's own questions are answered.
        two.run("ping -c 1 -W 5 10.0.0.201", check=True)
        assert not one.run("ping -c 1 -W 1 10.0.0.202").ok
    finally:
        daemon.call("port.apply", **{**daemon.port("vm2")["desired"], "groups": ["any"]})
        for job in jobs:
            job.kill()


def test_connection_goes_on_after_the_router_was_killed(machines):
    one, two = machines.guests
    server = two.start_job("s32guest tcp-serve 5002")
    stream = None
    try:
        server.wait_for("listening")
        stream = one.start_job("s32guest tcp-stream 10.0.0.202 5002 20")
        stream.wait_for(r"^message=25 ")
        machines.daemon.kill()
        time.sleep(0.3)
        last = int(re.findall(r"^message=(\d+) ", stream.output, re.MULTILINE)[-1])
        machines.daemon.start()
        stream.wait_for(rf"^message={last + 50} ", 60)
        assert not stream.done
    finally:
        server.kill()
        if stream is not None:
            stream.kill()


def test_port_comes_back_after_a_guest_reset_and_after_qemus_death(machines, build):
    daemon = machines.daemon
    two = machines.guests[1]
    add_ports(daemon, 2, first=2)
    with daemon.rpc() as client, \
            Frontend(build, daemon.directory, "--ring-size", 1024, "stream", "--from", 2,
                     "--to", 3, "--rate", 500) as witness:
        witness.wait("served")
        client.call("watch")

        # QEMU is told to end at a reset otherwise (-no-reboot).
        two.qmp("set-action", reboot="reset")
        two.qmp("system_reset")
        two.wait_ready(BOOT_S)
        machines.set_up(2, two)
        machines.guests[0].run("ping -c 2 -W 5 10.0.0.202", check=True)

        client.notifications.clear()
        two.stop()  # kill -9
        client.event("port.disconnected", 10, port="vm2")
        actual = daemon.port("vm2")["actual"]
        assert actual["state"] == "waiting" and "reason" in actual
        final = witness.ask("quit", "final")
        assert (final["lost"], final["duplicated"]) == (0, 0), final
