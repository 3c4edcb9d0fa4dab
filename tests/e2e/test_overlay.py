# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses over two hypervisors and a Linux node, in the fabric of BGP routers."""

import random
import re

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from support import GATEWAY_MAC, until
from support.fabric import HOST6, TOR6
from support.overlay import GATEWAY, TENANTS, Overlay, address, sid
from support.routing import Frr

RANDOM = 3000  # packets of each tenant


@pytest.fixture(scope="module")
def overlay(needs_tap, module_resources):
    return Overlay(module_resources, Frr)


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("number", [2, 3], ids=["other-hypervisor", "linux"])
def test_machines_of_a_tenant_reach_each_other(overlay, tenant, number):
    overlay.machines[tenant, 1].ping(address(number), 3)
    overlay.machines[tenant, number].run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address(1))


def packets(tenant, mac, seed):
    """From machine 1 of a tenant to anywhere in its network: ARP, UDP, TCP, ICMP and fragments, each with the
    tenant's name in it."""
    dice = random.Random(seed)
    mark = f"tenant-{tenant}".encode()
    for _ in range(RANDOM):
        target = address(dice.choice((1, 2, 3, 3, 2, 254, 99)))
        ether = Ether(src=mac, dst=GATEWAY_MAC)
        ip = IP(src=address(1), dst=target, id=dice.randrange(1 << 16), ttl=dice.choice((1, 2, 64)))
        kind = dice.randrange(5)
        if kind == 0:
            yield Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=address(1), pdst=target)
        elif kind == 1:
            yield ether / ip / UDP(sport=dice.randrange(1, 1 << 16), dport=dice.randrange(1, 1 << 16)) / Raw(mark)
        elif kind == 2:
            yield ether / ip / TCP(sport=dice.randrange(1, 1 << 16), dport=dice.randrange(1, 1 << 16)) / Raw(mark)
        elif kind == 3:
            yield ether / ip / ICMP(type=dice.choice((3, 8, 11))) / Raw(mark)
        else:
            part = ip.copy()
            part.flags = dice.choice((0, 1))
            part.frag = dice.choice((0, 8, 16))
            yield ether / part / Raw((mark + bytes(24))[:32])


def test_nothing_of_a_tenant_is_seen_by_another(overlay):
    others = {key: machine for key, machine in overlay.machines.items() if key[0] == "b" and key[1] != 3}
    wires = {key: machine.wire() for key, machine in others.items()}
    sender = overlay.machines["a", 1]
    for wire in wires.values():
        wire.__enter__()
    try:
        with sender.wire() as out, overlay.machines["a", 2].wire() as mine:
            for packet in packets("a", sender.mac, 6):
                out.send(packet)
            assert mine.receive(lambda p: b"tenant-a" in bytes(p), 5), "not one packet arrived where it should"
        for key, wire in wires.items():
            assert wire.receive(lambda p: b"tenant-a" in bytes(p), 0.3) is None, key
    finally:
        for wire in wires.values():
            wire.__exit__(None, None, None)


def test_security_group_sees_the_inner_packet(overlay):
    """Rules of a2 by a1's address, whichever hypervisor a1 is on."""
    daemon = overlay.hypervisors[1].lab.daemon
    machine = overlay.machines["a", 2]
    daemon.call("sg.apply", name="from-a1", rules=[
        {"direction": "ingress", "protocol": "icmp", "remote_prefix": f"{address(1)}/32"}])
    params = overlay.hypervisors[1].lab.params(machine, vrf=TENANTS["a"], groups=["from-a1"])
    daemon.call("port.apply", **params)
    try:
        overlay.machines["a", 1].ping(address(2), 3)
        done = overlay.machines["a", 3].run("ping", "-n", "-c", 2, "-i", 0.05, "-W", 1, address(2), check=False)
        assert " 0 received" in done.stdout
    finally:
        daemon.call("port.apply", **{**params, "groups": ["any"]})
        daemon.call("sg.delete", name="from-a1")


class Neighbors:
    """Two machines of one hypervisor in different tenants, whose routes to each other lead to the other hypervisor:
    their gateway, once it has routes between the two."""

    ours = {"a": "10.17.0.1", "b": "10.18.0.1"}
    pairs = (("a", "b"), ("b", "a"))

    def __init__(self, overlay):
        here, self.there = (hypervisor.lab for hypervisor in overlay.hypervisors)
        self.here = here
        self.machines = {
            tenant: here.machine(91 + n, [f"{one}/24"], gateways=[one[:-1] + "254"], vrf=TENANTS[tenant])
            for n, (tenant, one) in enumerate(self.ours.items())}
        for tenant, other in self.pairs:
            self.route(here, tenant, other, {"segments": [sid(2, tenant)]})
            self.route(self.there, tenant, tenant, {"segments": [sid(1, tenant)]})

    def route(self, lab, tenant, to, next_hop):
        lab.daemon.call("route.apply", routes=[
            {"vrf": TENANTS[tenant], "prefixes": [f"{self.ours[to]}/32"], "next_hop": next_hop}])

    def join(self):
        for tenant, other in self.pairs:
            self.route(self.there, tenant, other, {"vrf": TENANTS[other]})

    def part(self):
        self.there.daemon.call("route.delete", routes=[
            {"vrf": TENANTS[tenant], "prefixes": [f"{self.ours[other]}/32"]} for tenant, other in self.pairs])


@pytest.fixture(scope="module")
def neighbors(overlay):
    return Neighbors(overlay)


def test_tenants_meet_at_a_gateway_alone(neighbors):
    """Only by way of the gateway, and only while that has routes between the two."""
    ours, machines, here = neighbors.ours, neighbors.machines, neighbors.here
    assert "Net Unreachable" in machines["a"].run("ping", "-n", "-c", 1, "-W", 2, ours["b"], check=False).stdout
    neighbors.join()
    for tenant, other in neighbors.pairs:
        machines[tenant].ping(ours[other], 3)
    here.daemon.call("route.apply", routes=[
        {"vrf": TENANTS["a"], "prefixes": ["198.51.100.0/24"], "next_hop": {"vrf": 0}}])
    explained = here.daemon.call("explain", port=machines["a"].port, src=ours["a"], dst="198.51.100.1", proto="udp")
    route = next(step["detail"] for step in explained["steps"] if step["stage"] == "route")
    assert route.startswith("198.51.100.0/24 leads to the routes of VRF 0; "), explained
    neighbors.part()
    assert " 0 received" in machines["a"].run("ping", "-n", "-c", 2, "-i", 0.05, "-W", 1, ours["b"], check=False).stdout


def test_gateway_passes_on_what_the_fabric_says(overlay, neighbors):
    """The way from the gateway to b takes 1,400 bytes. The fabric tells the gateway, whose tunnel it is, and that
    tells a, who is behind a tunnel itself."""
    a, b = neighbors.machines["a"], neighbors.ours["b"]
    for tor, address6 in zip(overlay.tors, HOST6):
        tor.ip("-6", "route", "add", f"{sid(1, 'b')}/128", "via", address6, "mtu", "1400")
    neighbors.join()
    try:
        a.ping(b)

        def learns():
            out = a.run("ping", "-n", "-c", 1, "-W", 1, "-M", "do", "-s", 1400, b, check=False).stdout
            return re.search(r"mtu ?= ?1360", out)

        until(learns, "the smaller MTU at the sender", 10)
    finally:
        neighbors.part()
        for tor in overlay.tors:
            tor.ip("-6", "route", "del", f"{sid(1, 'b')}/128")


def test_miss_goes_by_the_gateway_until_a_rule_is_there(overlay):
    """a1 speaks to a3, of which its hypervisor knows nothing: first by way of the other hypervisor, the gateway, then
    straight, then by the gateway again when the rule has not been used for a while. No packet is lost."""
    here, there = (hypervisor.lab.daemon for hypervisor in overlay.hypervisors)
    peer, vrf, third = overlay.machines["a", 1], TENANTS["a"], f"{address(3)}/32"

    def by_gateway():
        taken = next(sid for sid in there.call("sid.list")["sids"] if sid["prefix"] == f"{sid_of_gateway}/128")
        return taken["packets"]

    sid_of_gateway = sid(2, "a")
    here.call("route.delete", routes=[{"vrf": vrf, "prefixes": [third]}])
    here.call("route.apply", routes=[{"vrf": vrf, "prefixes": ["0.0.0.0/0"], "next_hop": {
        "segments": [sid_of_gateway], "report_misses": True}}])
    try:
        with here.rpc() as watcher:
            watcher.call("watch", types=["route.miss", "route.expired"])
            before = by_gateway()
            ping = peer.start("ping", "-n", "-c", 300, "-i", 0.01, "-W", 2, address(3))
            missed = watcher.event("route.miss")
            assert (missed["vrf"], missed["dst"], missed["src"], missed["port"]) == (
                vrf, address(3), address(1), peer.port)
            until(lambda: by_gateway() > before, "the packet that missed at the gateway")
            here.call("route.apply", routes=[{"vrf": vrf, "prefixes": [third], "next_hop": {
                "segments": [sid(3, "a")], "idle_timeout": 2}}])
            straight = by_gateway()
            out, _ = ping.communicate(timeout=30)
            assert " 0% packet loss" in out, out
            # Those under way when the rule came may still have been counted.
            assert by_gateway() <= straight + 3
            expired = watcher.event("route.expired", timeout_s=10)
            assert (expired["vrf"], expired["prefix"], expired["owner"]) == (vrf, third, "cli")
            peer.ping(address(3))
            assert watcher.event("route.miss")["dst"] == address(3)
    finally:
        here.call("route.delete", routes=[{"vrf": vrf, "prefixes": ["0.0.0.0/0"]}])
        here.call("route.apply", routes=[{"vrf": vrf, "prefixes": [third], "next_hop": {"segments": [sid(3, "a")]}}])


RECEIVER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.bind(("", 4000))
print("ready", flush=True)
print("got", len(s.recv(9000)), flush=True)
"""
SENDER = """
import socket
IP_MTU_DISCOVER, DONT = 10, 0
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, DONT)
s.sendto(bytes(1400), ("{}", 4000))
"""


def test_fabric_tells_the_inner_sender_of_a_smaller_mtu(overlay):
    """The links to node 3 take 1,400 bytes: a1 learns 1,360 of the fabric's ICMPv6 error, and what may be fragmented
    is from then on."""
    peer, third = overlay.machines["a", 1], overlay.machines["a", 3]
    spoken = [(tor, "eth1") for tor in overlay.tors] + [(overlay.spine, f"eth{i}") for i in (0, 1)]
    for namespace, device in spoken:
        namespace.ip("link", "set", device, "mtu", 1400)
    try:
        def learns():
            out = peer.run("ping", "-n", "-c", 1, "-W", 1, "-M", "do", "-s", 1400, address(3), check=False).stdout
            return re.search(r"mtu ?= ?1360", out)

        until(learns, "the smaller MTU at the sender", 10)
        # Of a sender that takes no notice of it.
        receiver = third.start("/usr/bin/python3", "-c", RECEIVER)
        assert receiver.stdout.readline() == "ready\n"
        peer.run("/usr/bin/python3", "-c", SENDER.format(address(3)))
        assert receiver.stdout.readline() == "got 1400\n"
    finally:
        for namespace, device in spoken:
            namespace.ip("link", "set", device, "mtu", 1500)


def test_fabric_tells_the_inner_sender_that_a_node_is_not_there(overlay):
    """A locator that leads to a router of the fabric, and ends there."""
    peer, daemon = overlay.machines["a", 1], overlay.hypervisors[0].lab.daemon
    tor = overlay.tors[0]
    tor.ip("-6", "route", "add", "unreachable", "fc00:0:77::/48")
    inner, outer = "10.7.0.77/32", "fc00:0:77::/48"
    daemon.call("route.apply", routes=[
        {"vrf": TENANTS["a"], "prefixes": [inner], "next_hop": {"segments": ["fc00:0:77:7::"]}},
        {"prefixes": [outer], "next_hop": {"port": "up0", "via": TOR6[0]}}])
    try:
        out = peer.run("ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, "10.7.0.77", check=False).stdout
        assert f"From {GATEWAY}" in out and "Destination Host Unreachable" in out, out
    finally:
        daemon.call("route.delete", routes=[{"vrf": TENANTS["a"], "prefixes": [inner]}, {"prefixes": [outer]}])
        tor.ip("-6", "route", "del", "unreachable", outer)


def test_machine_moves_to_another_hypervisor(overlay):
    """The same MAC and address; the routes of its VRF follow, and connections find it."""
    there, here = overlay.hypervisors[1].lab, overlay.hypervisors[0].lab
    machine, peer = overlay.machines["a", 2], overlay.machines["a", 1]
    vrf = TENANTS["a"]
    peer.ping(address(2))
    there.daemon.call("port.delete", name=machine.port)
    there.daemon.call("route.apply", routes=[
        {"vrf": vrf, "prefixes": [f"{address(2)}/32"], "next_hop": {"segments": [sid(1, "a")]}}])
    here.daemon.call("route.delete", routes=[{"vrf": vrf, "prefixes": [f"{address(2)}/32"]}])
    machine.lab = here
    here.apply(machine, vrf=vrf)
    machine.attach()
    overlay.spine.ip("route", "replace", address(2), "encap", "seg6", "mode", "encap", "segs", sid(1, "a"),
                     "dev", "eth0", "table", vrf)
    peer.ping(address(2), 3)
    overlay.machines["a", 3].run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address(2))
    # b2 has stayed where it was.
    overlay.machines["b", 1].ping(address(2), 3)


def test_node_whose_locator_is_withdrawn_is_not_reached(overlay):
    """Its tunnels lead nowhere, and say so, until it is back."""
    peer = overlay.machines["b", 1]
    peer.ping(address(3))
    overlay.spine.ip("-6", "address", "del", "fc00:0:3::1/48", "dev", "lo")
    before = peer.drops("no_segment_route")

    def refused():
        peer.ping(address(3), check=False)
        return peer.drops("no_segment_route") > before

    until(refused, "drops of no_segment_route", 15)
    overlay.spine.ip("-6", "address", "add", "fc00:0:3::1/48", "dev", "lo", "nodad")
    until(lambda: peer.ping(address(3), check=False), "the node again", 15)
