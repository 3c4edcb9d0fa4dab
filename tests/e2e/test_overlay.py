# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses over two hypervisors and a Linux node, in the fabric of BGP routers."""

import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from support import GATEWAY_MAC, until
from support.overlay import TENANTS, Overlay, address, sid
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


def test_tenants_meet_at_a_gateway_alone(overlay):
    """Two machines of one hypervisor in different tenants: only by way of the other hypervisor, and only once that
    has routes between the two."""
    here, there = (hypervisor.lab for hypervisor in overlay.hypervisors)
    ours = {"a": "10.17.0.1", "b": "10.18.0.1"}
    machines = {tenant: here.machine(91 + n, [f"{one}/24"], gateways=[one[:-1] + "254"], vrf=TENANTS[tenant])
                for n, (tenant, one) in enumerate(ours.items())}
    for tenant, other in (("a", "b"), ("b", "a")):
        here.daemon.call("route.apply", routes=[
            {"vrf": TENANTS[tenant], "prefixes": [f"{ours[other]}/32"], "next_hop": {"segments": [sid(2, tenant)]}}])
        there.daemon.call("route.apply", routes=[
            {"vrf": TENANTS[tenant], "prefixes": [f"{ours[tenant]}/32"], "next_hop": {"segments": [sid(1, tenant)]}}])
    assert "Net Unreachable" in machines["a"].run("ping", "-n", "-c", 1, "-W", 2, ours["b"], check=False).stdout
    for tenant, other in (("a", "b"), ("b", "a")):
        there.daemon.call("route.apply", routes=[
            {"vrf": TENANTS[tenant], "prefixes": [f"{ours[other]}/32"], "next_hop": {"vrf": TENANTS[other]}}])
    for tenant, other in (("a", "b"), ("b", "a")):
        machines[tenant].ping(ours[other], 3)
    here.daemon.call("route.apply", routes=[
        {"vrf": TENANTS["a"], "prefixes": ["198.51.100.0/24"], "next_hop": {"vrf": 0}}])
    explained = here.daemon.call("explain", port=machines["a"].port, src=ours["a"], dst="198.51.100.1", proto="udp")
    route = next(step["detail"] for step in explained["steps"] if step["stage"] == "route")
    assert route.startswith("198.51.100.0/24 leads to the routes of VRF 0; "), explained
    there.daemon.call("route.delete", routes=[{"vrf": TENANTS["a"], "prefixes": [f"{ours['b']}/32"]}])
    assert " 0 received" in machines["a"].run("ping", "-n", "-c", 2, "-i", 0.05, "-W", 1, ours["b"], check=False).stdout


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
