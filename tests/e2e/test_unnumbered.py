# SPDX-License-Identifier: Apache-2.0
"""BGP over links that have no addresses but the link-local ones: IPv4 routes with IPv6 next hops (RFC 8950, RFC
5549), FRR at both ends or BIRD at both."""

import re

import pytest
from support import Lab, until
from support.fabric import FAR4, FAR6, nodad, plug
from support.routing import Bird, Frr, Session


def link_local(namespace, device):
    """Waits until it can be used."""
    def found():
        return re.search(r"inet6 (fe80\S+)/64 scope link(?! tentative)", namespace.ip("-6", "address", "show", device))
    return until(found, f"a link-local address of {device}", 10).group(1)


def only(i):
    """Addresses that one neighbour has alone."""
    return f"198.51.100.{10 + i}", f"2001:db8:a::{10 + i}"


class Rack:
    """A router with an uplink to each of two neighbours, both of which have the far addresses."""

    def __init__(self, resources, kind):
        uplinks = [f"name=up{i};devargs=net_af_packet{i},iface=wire{i}" for i in (0, 1)]
        self.lab = Lab(resources, *(f for u in uplinks for f in ("--uplink", u)), "--host-interface", "slash32",
                       start=False)
        self.host = self.lab.router
        self.tors = [resources.namespace(f"tor{i}") for i in (0, 1)]
        for i, tor in enumerate(self.tors):
            plug(self.host, f"wire{i}", tor, "eth0", [])
            for address in (FAR4, FAR6, *only(i)):
                tor.ip("address", "add", address, "dev", "lo", *nodad(address))
        self.lab.daemon.start()
        for i in (0, 1):
            self.host.ip("link", "set", f"up{i}", "up")
        own = [link_local(self.host, f"up{i}") for i in (0, 1)]
        theirs = [link_local(tor, "eth0") for tor in self.tors]
        self.bgp = kind(self.host, resources.directory(), "203.0.113.10",
                        [Session(65001, 65100 + i, "", own[i], theirs[i], f"up{i}") for i in (0, 1)], "host")
        self.tor_bgp = [kind(tor, resources.directory(), f"203.0.113.{2 + i}",
                             [Session(65100 + i, 65001, "", theirs[i], own[i], "eth0")], "connected")
                        for i, tor in enumerate(self.tors)]
        for one in (self.bgp, *self.tor_bgp):
            one.start()
        until(lambda: all(one.established() for one in (self.bgp, *self.tor_bgp)), "all sessions", 60)


@pytest.fixture(scope="module", params=[Frr, Bird], ids=["frr", "bird"])
def rack(request, needs_tap, module_resources):
    return Rack(module_resources, request.param)


@pytest.fixture(scope="module")
def vm1(rack):
    made = rack.lab.machine(1)
    for address in (made.ip4, made.ip6):
        until(lambda a=address: all(one.has(a) for one in rack.tor_bgp), f"{address} at both neighbours", 30)
    return made


def test_ipv4_routes_have_link_local_next_hops(rack, vm1):
    """Zebra gives the kernel 169.254.0.1 for it, with a neighbour entry that has the MAC address."""
    hop = "via 169.254.0.1" if isinstance(rack.bgp, Frr) else "via inet6 fe80"
    assert hop in until(lambda: rack.bgp.route(FAR4), "the far address", 10)
    assert hop in rack.tor_bgp[0].route(vm1.ip4)
    until(lambda: all(f"dev up{i}" in rack.bgp.route(FAR4) for i in (0, 1)), "both ways", 10)


@pytest.mark.parametrize("far", [FAR4, FAR6])
def test_machine_reaches_what_is_beyond_both(rack, vm1, far):
    vm1.ping(far, 3)


@pytest.mark.parametrize("i", [0, 1])
def test_machine_and_neighbour_reach_each_other(rack, vm1, i):
    for far, own in zip(only(i), (vm1.ip4, vm1.ip6)):
        vm1.ping(far, 3)
        rack.tors[i].run("ping", "-I", far, "-n", "-c", 2, "-i", 0.05, "-W", 3, own)
