# SPDX-License-Identifier: Apache-2.0
"""A hypervisor with two uplinks, and what it is connected to.

    machines - slash32d -+- up0 (veth) - tor0    192.0.2.0/31, 2001:db8:f0::/127
                         +- up1 (veth) - tor1    192.0.2.2/31, 2001:db8:f1::/127

The host is the router's own namespace. Beyond both neighbours is 198.51.100.1, 2001:db8:a::1."""

import re

from .lab import Lab
from .routing import Session
from .wait import until

FAR4, FAR6 = "198.51.100.1", "2001:db8:a::1"
HOST4, HOST6 = ["192.0.2.0", "192.0.2.2"], ["2001:db8:f0::", "2001:db8:f1::"]
TOR4, TOR6 = ["192.0.2.1", "192.0.2.3"], ["2001:db8:f0::1", "2001:db8:f1::1"]


class Fabric:
    """A lab with two uplinks, and a neighbour in a namespace of its own at the other end of each.

    far     the neighbours have the addresses beyond them themselves, and routes to the machines
    """

    def __init__(self, resources, *options, start=True, far=True):
        uplinks = [f"name=up{i};devargs=net_af_packet{i},iface=wire{i}" for i in (0, 1)]
        self.lab = Lab(resources, *(f for u in uplinks for f in ("--uplink", u)), *options, start=False)
        self.tors = [resources.namespace(f"tor{i}") for i in (0, 1)]
        for i, tor in enumerate(self.tors):
            self.host.ip("link", "add", f"wire{i}", "type", "veth", "peer", "name", "eth0", "netns", tor.name)
            # Of a real card the kernel would see nothing: it takes no part here either.
            self.host.sysctl(f"net.ipv6.conf.wire{i}.disable_ipv6", 1)
            self.host.run("nft", f"add table netdev wire{i}; add chain netdev wire{i} in "
                          f"{{ type filter hook ingress device wire{i} priority 0; policy drop; }}")
            self.host.ip("link", "set", f"wire{i}", "up")
            # A veth leaves checksums undone for a neighbour it believes to be a kernel.
            tor.run("ethtool", "-K", "eth0", "tx", "off")
            tor.ip("link", "set", "eth0", "up")
            for address in (f"{TOR4[i]}/31", f"{TOR6[i]}/127"):
                tor.ip("address", "add", address, "dev", "eth0", *nodad(address))
            if far:
                for address in (FAR4, FAR6):
                    tor.ip("address", "add", address, "dev", "lo", *nodad(address))
                tor.ip("route", "add", "10.0.0.0/24", "via", HOST4[i])
                tor.ip("route", "add", "2001:db8::/64", "via", HOST6[i])
        if start:
            self.start()

    def start(self):
        self.lab.daemon.start()
        self.configure()

    def configure(self):
        """What the operator's network configuration does to interfaces that appear."""
        for i in (0, 1):
            self.host.ip("link", "set", f"up{i}", "up")
            for address in (f"{HOST4[i]}/31", f"{HOST6[i]}/127"):
                self.host.ip("address", "replace", address, "dev", f"up{i}", *nodad(address))

    @property
    def host(self):
        return self.lab.router

    def default_routes(self, *ways):
        """Multipath default routes over the uplinks of the given numbers."""
        for family, tors in (("-4", TOR4), ("-6", TOR6)):
            hops = [word for i in ways for word in ("nexthop", "via", tors[i], "dev", f"up{i}")]
            self.host.ip(family, "route", "replace", "default", *hops)

    def sent_by(self, i):
        return self.lab.daemon.port(f"up{i}")["counters"]["tx_packets"]


def nodad(address):
    return ["nodad"] if ":" in address else []


SPINE4, SPINE6 = ["192.0.2.4", "192.0.2.6"], ["2001:db8:f2::", "2001:db8:f3::"]  # the tors' ends
BACK4, BACK6 = ["192.0.2.5", "192.0.2.7"], ["2001:db8:f2::1", "2001:db8:f3::1"]  # the spine's


class BgpFabric(Fabric):
    """The same with BGP on every link, by a Speaker of `kind` in each place, and a spine beyond both neighbours
    that has the far addresses. The host announces the machines."""

    def __init__(self, resources, kind, *options):
        super().__init__(resources, "--host-interface", "slash32", *options, far=False)
        self.spine = resources.namespace("spine")
        for i, tor in enumerate(self.tors):
            for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                tor.sysctl(name, 1)
            tor.ip("link", "add", "eth1", "type", "veth", "peer", "name", f"eth{i}", "netns", self.spine.name)
            for namespace, device, addresses in ((tor, "eth1", (SPINE4[i], SPINE6[i])),
                                                 (self.spine, f"eth{i}", (BACK4[i], BACK6[i]))):
                namespace.run("ethtool", "-K", device, "tx", "off")
                namespace.ip("link", "set", device, "up")
                namespace.ip("address", "add", f"{addresses[0]}/31", "dev", device)
                namespace.ip("address", "add", f"{addresses[1]}/127", "dev", device, "nodad")
        for address in (FAR4, FAR6):
            self.spine.ip("address", "add", address, "dev", "lo", *nodad(address))

        def speaker(namespace, number, sessions, redistribute=None):
            return kind(namespace, resources.directory(), f"203.0.113.{number}", sessions, redistribute)

        self.bgp = speaker(self.host, 1, [Session(65001, 65100 + i, TOR4[i], HOST6[i], TOR6[i]) for i in (0, 1)],
                           "host")
        self.tor_bgp = [speaker(tor, 2 + i, [Session(65100 + i, 65001, HOST4[i], TOR6[i], HOST6[i]),
                                             Session(65100 + i, 65200, BACK4[i], SPINE6[i], BACK6[i])])
                        for i, tor in enumerate(self.tors)]
        self.spine_bgp = speaker(self.spine, 4, [Session(65200, 65100 + i, SPINE4[i], BACK6[i], SPINE6[i])
                                                 for i in (0, 1)], "connected")
        self.speakers = [self.bgp, *self.tor_bgp, self.spine_bgp]
        for one in self.speakers:
            one.start()
        until(lambda: all(one.established() for one in self.speakers), "all sessions", 60)
        until(lambda: all(self.host_way(i, far) for i in (0, 1) for far in (FAR4, FAR6)), "both ways", 30)

    def host_way(self, i, address):
        """Whether the host's kernel has a way by that uplink."""
        return f"dev up{i}" in self.bgp.route(address)

    def reaches(self, machine):
        """Waits until the spine has a way to the machine by both neighbours."""
        for address in (machine.ip4, machine.ip6):
            until(lambda a=address: all(s.has(a) for s in (*self.tor_bgp, self.spine_bgp)),
                  f"{address} at the spine", 30)
            until(lambda a=address: len(re.findall(r"dev eth", self.spine_bgp.route(a))) == 2, "both ways back", 30)
