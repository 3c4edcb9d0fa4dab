# SPDX-License-Identifier: Apache-2.0
"""A QEMU guest on one hypervisor of a BGP fabric, and a machine on the other."""

import socket
import struct
import sys
import threading
from pathlib import Path

import pytest
from support import GATEWAY4, GATEWAY6, until
from support.fabric import FAR4, FAR6, BgpFabric
from support.routing import Frr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guest import Guest, Nic, build_image  # noqa: E402

# Booting without KVM on a busy machine takes a while.
BOOT_S = 180
MAC = "52:54:00:00:00:51"
GUEST4, GUEST6 = "10.0.0.51", "2001:db8::51"
SIZE = 5_000_000


class Counting:
    """What `s32guest tcp-send` sends to, in a namespace: a byte, the data, and then it is told how much came."""

    def __init__(self, namespace, port):
        self.received = 0
        self._listener = namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self._listener.settimeout(30)
        self._listener.bind(("0.0.0.0", port))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with self._listener, self._listener.accept()[0] as connection:
            connection.recv(1)
            while data := connection.recv(1 << 16):
                self.received += len(data)
            connection.send(struct.pack("<Q", self.received))

    def join(self):
        self._thread.join(30)
        return self.received


@pytest.fixture(scope="module")
def fabric(needs_tap, module_resources):
    return BgpFabric(module_resources, Frr, hypervisors=2)


@pytest.fixture(scope="module")
def guest(fabric, module_resources):
    daemon = fabric.hypervisors[0].lab.daemon
    path = daemon.directory / "guest.sock"
    daemon.call("port.apply", name="guest", socket=str(path), mac=MAC, groups=["any"],
                addresses=[GUEST4, GUEST6], gateways=[GATEWAY4, GATEWAY6])
    made = Guest("guest", build_image(), daemon.directory, [Nic(path, MAC)])
    made.start()
    try:
        made.wait_ready(BOOT_S)
        made.configure("eth0", [f"{GUEST4}/24", f"{GUEST6}/64"], [GATEWAY4, GATEWAY6])
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def machine(fabric):
    made = fabric.hypervisors[1].lab.machine(2)
    fabric.reaches(made)
    return made


def test_guest_is_announced_while_it_is_there(fabric, guest):
    for address in (GUEST4, GUEST6):
        until(lambda a=address: fabric.spine_bgp.has(a), f"{address} at the spine", 30)


@pytest.mark.parametrize("far", [FAR4, FAR6])
def test_guest_and_the_world_reach_each_other(fabric, guest, far):
    guest.run(f"ping -c 3 -W 5 {far}", check=True)
    own = GUEST6 if ":" in far else GUEST4
    fabric.spine.run("ping", "-I", far, "-n", "-c", 3, "-i", 0.1, "-W", 5, own)


def test_guest_and_machine_of_another_hypervisor_reach_each_other(guest, machine):
    for address in (machine.ip4, machine.ip6):
        guest.run(f"ping -c 3 -W 5 {address}", check=True)
    machine.ping(GUEST4, 3)


def test_segments_of_the_guest_are_cut_for_the_link(guest, machine):
    """64 KB at a time from the guest, 1,500 bytes at a time on the wire."""
    guest.run("s32guest feature eth0 tso on", check=True)
    server = Counting(machine, 5001)
    guest.run(f"s32guest tcp-send {machine.ip4} 5001 {SIZE}", 60, check=True)
    assert server.join() == SIZE
