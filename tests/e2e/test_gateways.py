# SPDX-License-Identifier: Apache-2.0
"""A tenant's way out by two gateways, each a slash32d of its own, in the fabric of BGP routers.

    vm (VRF 7) - hypervisor0 -+         +- hypervisor1, hypervisor2: gateways, VRF 7 by the routes of VRF 0
                              +- tors --+
                                  |
                                spine - 198.51.100.1; answers go straight to the VM's hypervisor"""

import hashlib
import os
import socket
import threading

import pytest
from support import until
from support.fabric import FAR4, BgpFabric
from support.routing import Frr

TENANT, VM = 7, "10.7.0.1"
GATEWAYS = (1, 2)  # hypervisors
SECONDS, CHUNK, CHUNKS = 8, 16 << 10, 800
SOURCE = "fc00:0:9::1"  # of the spine's tunnels


def sid(hypervisor):
    return f"fc00:0:{hypervisor + 1}:7::"


def taken(hypervisor):
    """Packets that have come for the tenant's segment."""
    return hypervisor.lab.daemon.call("sid.list")["sids"][0]["packets"]


@pytest.fixture(scope="module")
def fabric(needs_tap, module_resources):
    fabric = BgpFabric(module_resources, Frr, "--srv6-locator", "fc00:0:{node}::/48", "--srv6-locators", "fc00::/32",
                       hypervisors=3)
    for number, one in enumerate(fabric.hypervisors):
        daemon = one.lab.daemon
        daemon.call("vrf.apply", vrf=TENANT)
        daemon.call("route.apply", routes=[{"prefixes": [f"{sid(number)}/128"],
                                            "next_hop": {"sid": {"behavior": "end.dt46", "vrf": TENANT}}}])
        way = {"vrf": 0} if number in GATEWAYS else {"paths": [{"segments": [sid(n)]} for n in GATEWAYS]}
        daemon.call("route.apply", routes=[{"vrf": TENANT, "prefixes": ["0.0.0.0/0"], "next_hop": way}])
    spine = fabric.spine
    spine.ip("-6", "address", "add", f"{SOURCE}/128", "dev", "lo", "nodad")
    for name in ("ipv6.conf.all.seg6_enabled", *(f"ipv6.conf.eth{i}.seg6_enabled" for i in (0, 1))):
        spine.sysctl(f"net.{name}", 1)
    spine.ip("sr", "tunsrc", "set", SOURCE)
    spine.ip("route", "add", VM, "encap", "seg6", "mode", "encap", "segs", sid(0), "dev", "eth0", "mtu", "1400")
    for one in fabric.hypervisors:
        until(lambda o=one: all(f"fc00:0:{n}::/48" in o.host.ip("-6", "route", "show") for n in (1, 2, 3)),
              "all locators", 30)
    until(lambda: "fc00:0:1::/48" in spine.ip("-6", "route", "show"), "the locator at the spine", 30)
    return fabric


class Transfer:
    """Some MB from the VM to the far address over kernel TCP, a little at a time; what arrived, as a digest."""

    def __init__(self, vm, spine):
        self.listener = spine.inside(lambda: socket.create_server((FAR4, 5001)))
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        self.connection = vm.inside(lambda: socket.create_connection((FAR4, 5001), timeout=30))
        self._stopping = threading.Event()
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def _send(self):
        for _ in range(CHUNKS):
            data = os.urandom(CHUNK)
            self.sent.update(data)
            self.connection.sendall(data)
            self._stopping.wait(SECONDS / CHUNKS)
        self.connection.close()

    def _receive(self):
        connection, _ = self.listener.accept()
        with connection:
            while data := connection.recv(1 << 18):
                self.got.update(data)

    def end(self):
        for thread in (self._sender, self._receiver):
            thread.join(60)
            assert not thread.is_alive(), "the transfer stands still"
        self.listener.close()


def test_transfer_outlives_its_gateway(fabric):
    """The gateway that a connection goes by loses its power: its links go down, the fabric withdraws its locator, and
    the connection goes on by the other one, with every byte."""
    vm = fabric.lab.machine(1, [f"{VM}/24"], gateways=["10.7.0.254"], vrf=TENANT)
    vm.ping(FAR4, 3)
    gateways = [fabric.hypervisors[n] for n in GATEWAYS]
    before = [taken(one) for one in gateways]
    transfer = Transfer(vm, fabric.spine)
    until(lambda: max(taken(one) - b for one, b in zip(gateways, before)) > 500, "the transfer at a gateway", 10)
    grown = [taken(one) - b for one, b in zip(gateways, before)]
    used, other = gateways if grown[0] > grown[1] else reversed(gateways)
    at_other = taken(other)
    used.lab.daemon.kill()
    used.bgp.kill()
    for tor in fabric.tors:
        tor.ip("link", "set", used.device, "down")
    transfer.end()
    assert transfer.got.hexdigest() == transfer.sent.hexdigest()
    assert taken(other) > at_other + 500
