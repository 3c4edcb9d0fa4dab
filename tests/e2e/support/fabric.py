# SPDX-License-Identifier: Apache-2.0
"""Hypervisors with two uplinks each, and what they are connected to.

    machines - slash32d -+- up0 (veth) - tor0 -+- spine     hypervisor 0: 192.0.2.0/31, 2001:db8:f0::/127
                         +- up1 (veth) - tor1 -+                          192.0.2.2/31, 2001:db8:f1::/127

The host is the router's own namespace. Beyond both neighbours is 198.51.100.1, 2001:db8:a::1."""

import re

from .lab import Lab
from .routing import Session
from .wait import until

FAR4, FAR6 = "198.51.100.1", "2001:db8:a::1"
DEAF = "add table netdev {0}; add chain netdev {0} in " \
       "{{ type filter hook ingress device {0} priority 0; policy drop; }}"


def links(number):
    """(host's IPv4, neighbour's, host's IPv6, neighbour's) of each of the two links of a hypervisor."""
    return [(f"192.0.2.{8 * number + 2 * i}", f"192.0.2.{8 * number + 2 * i + 1}",
             f"2001:db8:f{4 * number + i}::", f"2001:db8:f{4 * number + i}::1") for i in (0, 1)]


HOST4, TOR4, HOST6, TOR6 = zip(*links(0))
SPINE4, SPINE6 = ["192.0.2.4", "192.0.2.6"], ["2001:db8:f2::", "2001:db8:f3::"]  # the neighbours' ends
BACK4, BACK6 = ["192.0.2.5", "192.0.2.7"], ["2001:db8:f2::1", "2001:db8:f3::1"]  # the spine's


def nodad(address):
    return ["nodad"] if ":" in address else []


def connect(near, device, far, far_device, near_addresses, far_addresses):
    """A veth pair between two namespaces. A veth leaves checksums undone for a neighbour it believes to be a kernel."""
    near.ip("link", "add", device, "type", "veth", "peer", "name", far_device, "netns", far.name)
    for namespace, name, addresses in ((near, device, near_addresses), (far, far_device, far_addresses)):
        namespace.run("ethtool", "-K", name, "tx", "off")
        namespace.ip("link", "set", name, "up")
        for address in addresses:
            namespace.ip("address", "add", address, "dev", name, *nodad(address))


def plug(router, device, far, far_device, far_addresses):
    """A veth pair whose near end is for an uplink. Of a real card the kernel would see nothing: it takes no part in
    this one either."""
    connect(router, device, far, far_device, [], far_addresses)
    router.sysctl(f"net.ipv6.conf.{device}.disable_ipv6", 1)
    router.run("nft", DEAF.format(device))


class Hypervisor:
    """A lab whose router has two uplinks, wired to a device each of the neighbours.

    host    the namespace of the host's interfaces and routes, if not the router's own
    """

    def __init__(self, resources, number, tors, *options, host=None):
        self.number = number
        self.links = links(number)
        self.device = "eth0" if number == 0 else f"eth{number + 1}"  # of either neighbour
        uplinks = [f"name=up{i};devargs=net_af_packet{i},iface=wire{i}" for i in (0, 1)]
        # What differs by hypervisor: its number, from 1.
        options = tuple(str(option).replace("{node}", str(number + 1)) for option in options)
        if host is not None:
            options = (*options, "--host-namespace", host.name)
        self.lab = Lab(resources, *(f for u in uplinks for f in ("--uplink", u)), *options, start=False)
        self.host = host or self.lab.router
        for i, tor in enumerate(tors):
            plug(self.lab.router, f"wire{i}", tor, self.device,
                 [f"{self.links[i][1]}/31", f"{self.links[i][3]}/127"])

    def start(self):
        self.lab.daemon.start()
        self.configure()

    def configure(self):
        """What the operator's network configuration does to interfaces that appear."""
        for i, (four, _, six, _) in enumerate(self.links):
            self.host.ip("link", "set", f"up{i}", "up")
            for address in (f"{four}/31", f"{six}/127"):
                self.host.ip("address", "replace", address, "dev", f"up{i}", *nodad(address))


class Fabric:
    """Hypervisors, and a neighbour in a namespace of its own at the other end of each of their links. `lab` and
    `host` are those of the first.

    far     the neighbours have the addresses beyond them themselves, and routes to the machines
    """

    def __init__(self, resources, *options, start=True, far=True, hypervisors=1, host=None):
        self.tors = [resources.namespace(f"tor{i}") for i in (0, 1)]
        self.hypervisors = [Hypervisor(resources, n, self.tors, *options, host=host) for n in range(hypervisors)]
        if far:
            for i, tor in enumerate(self.tors):
                for address in (FAR4, FAR6):
                    tor.ip("address", "add", address, "dev", "lo", *nodad(address))
                tor.ip("route", "add", "10.0.0.0/24", "via", HOST4[i])
                tor.ip("route", "add", "2001:db8::/64", "via", HOST6[i])
        if start:
            for one in self.hypervisors:
                one.start()

    @property
    def lab(self):
        return self.hypervisors[0].lab

    @property
    def host(self):
        return self.hypervisors[0].host

    def configure(self):
        self.hypervisors[0].configure()

    def default_routes(self, *ways):
        """Multipath default routes over the uplinks of the given numbers."""
        for family, tors in (("-4", TOR4), ("-6", TOR6)):
            hops = [word for i in ways for word in ("nexthop", "via", tors[i], "dev", f"up{i}")]
            self.host.ip(family, "route", "replace", "default", *hops)

    def sent_by(self, i):
        return self.lab.daemon.port(f"up{i}")["counters"]["tx_packets"]


class BgpFabric(Fabric):
    """The same with BGP on every link, by a Speaker of `kind` in each place, and a spine beyond both neighbours
    that has the far addresses. The hosts announce their machines."""

    def __init__(self, resources, kind, *options, hypervisors=1):
        super().__init__(resources, "--host-interface", "slash32", *options, far=False, hypervisors=hypervisors)
        self.spine = resources.namespace("spine")
        for i, tor in enumerate(self.tors):
            for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                tor.sysctl(name, 1)
            connect(tor, "eth1", self.spine, f"eth{i}", [f"{SPINE4[i]}/31", f"{SPINE6[i]}/127"],
                    [f"{BACK4[i]}/31", f"{BACK6[i]}/127"])
        for address in (FAR4, FAR6):
            self.spine.ip("address", "add", address, "dev", "lo", *nodad(address))

        def speaker(namespace, number, sessions, redistribute=None):
            return kind(namespace, resources.directory(), f"203.0.113.{number}", sessions, redistribute)

        for one in self.hypervisors:
            one.bgp = speaker(one.host, 10 + one.number,
                              [Session(65001 + one.number, 65100 + i, tor4, host6, tor6)
                               for i, (_, tor4, host6, tor6) in enumerate(one.links)], "host")
        self.tor_bgp = [speaker(tor, 2 + i, [
            *(Session(65100 + i, 65001 + one.number, one.links[i][0], one.links[i][3], one.links[i][2])
              for one in self.hypervisors),
            Session(65100 + i, 65200, BACK4[i], SPINE6[i], BACK6[i])]) for i, tor in enumerate(self.tors)]
        self.spine_bgp = speaker(self.spine, 4, [Session(65200, 65100 + i, SPINE4[i], BACK6[i], SPINE6[i])
                                                 for i in (0, 1)], "connected")
        self.speakers = [*(one.bgp for one in self.hypervisors), *self.tor_bgp, self.spine_bgp]
        for one in self.speakers:
            one.start()
        self.settle()

    @property
    def bgp(self):
        return self.hypervisors[0].bgp

    def settle(self):
        """Waits until every session is established, and each host has both ways to the far addresses."""
        until(lambda: all(one.established() for one in self.speakers), "all sessions", 60)
        for one in self.hypervisors:
            until(lambda o=one: self.neighbors(o) == (4, 0), lambda o=one: f"all neighbours: {self.neighbors(o)}", 30)
            until(lambda o=one: all(self.has_way(o, i, far) for i in (0, 1) for far in (FAR4, FAR6)),
                  lambda o=one: "both ways, not:\n" + o.host.ip("route", "show") + o.host.ip("-6", "route", "show"), 30)

    @staticmethod
    def neighbors(hypervisor):
        """(known, failed) to the router: a global or link-local one of each family by each uplink."""
        found = hypervisor.lab.daemon.call("host.status")["neighbors"]
        return min(found["known"], 4), found["failed"]

    @staticmethod
    def has_way(hypervisor, i, address):
        """Whether the host's kernel has a way by that uplink."""
        return f"dev up{i}" in hypervisor.bgp.route(address)

    def host_way(self, i, address):
        return self.has_way(self.hypervisors[0], i, address)

    def reaches(self, machine):
        """Waits until the spine has a way to the machine by both neighbours."""
        for address in (machine.ip4, machine.ip6):
            until(lambda a=address: all(s.has(a) for s in (*self.tor_bgp, self.spine_bgp)),
                  f"{address} at the spine", 30)
            until(lambda a=address: len(re.findall(r"dev eth", self.spine_bgp.route(a))) == 2, "both ways back", 30)
