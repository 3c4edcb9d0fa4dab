# SPDX-License-Identifier: Apache-2.0
"""The host's view of its uplinks: a TAP interface of the uplink's name, by which the kernel, and what runs
there, talks to the routers at the other end; and the kernel's routes, by which the router forwards.
The routes are the test's own; routing daemons are in test_fabric.py."""

import re
import time

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from support import GATEWAY_MAC, Lab, StartFailure, until
from support.fabric import FAR4, FAR6, HOST4, HOST6, TOR4, TOR6, Fabric
from support.wire import Wire

@pytest.fixture(scope="module")
def fabric(needs_tap, module_resources):
    made = Fabric(module_resources)
    made.default_routes(0, 1)
    return made


@pytest.fixture(scope="module")
def vm1(fabric):
    return fabric.lab.machine(1)


def test_interface_has_the_uplinks_name_and_address(fabric):
    for i in (0, 1):
        uplink = fabric.lab.daemon.port(f"up{i}")
        view = fabric.lab.daemon.port(f"host:up{i}")
        assert view["kind"] == "host" and uplink["kind"] == "uplink"
        text = fabric.host.ip("-o", "link", "show", f"up{i}")
        wire = fabric.host.ip("-o", "link", "show", f"wire{i}")
        mac = re.search(r"link/ether (\S+)", wire).group(1)
        assert f"link/ether {mac}" in text and "LOWER_UP" in text


@pytest.mark.parametrize("i", [0, 1])
def test_host_and_neighbour_reach_each_other(fabric, i):
    for address in (TOR4[i], TOR6[i]):
        fabric.host.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address)
    for address in (HOST4[i], HOST6[i]):
        fabric.tors[i].run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address)


def test_traffic_of_the_host_shows_on_its_interface(fabric):
    with Wire(fabric.host, "up0") as wire:
        fabric.tors[0].run("ping", "-n", "-c", 1, "-W", 3, HOST4[0])
        assert wire.receive(lambda p: p.haslayer(ICMP) and p[ICMP].type == 8)


def test_what_is_no_ip_reaches_the_host(fabric):
    lldp = Ether(src="52:54:00:00:ff:01", dst="01:80:c2:00:00:0e", type=0x88cc) / (b"\x02\x07" + bytes(58))
    with Wire(fabric.host, "up0") as inside, Wire(fabric.tors[0], "eth0") as outside:
        outside.send(lldp)
        assert inside.receive(lambda p: p[Ether].type == 0x88cc)
        inside.send(lldp)
        assert outside.receive(lambda p: p[Ether].type == 0x88cc)


@pytest.mark.parametrize("target", [FAR4, FAR6, TOR4[0], TOR4[1], TOR6[0]])
def test_machine_reaches_beyond_by_the_kernels_routes(fabric, vm1, target):
    vm1.ping(target, 3)


def test_neighbour_reaches_the_machine(fabric, vm1):
    for i, address in ((0, vm1.ip4), (1, vm1.ip6)):
        fabric.tors[i].run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address)


def test_machine_does_not_reach_the_host_unless_allowed(fabric, vm1):
    before = vm1.drops("host_address")
    vm1.no_ping(HOST4[0])
    assert vm1.drops("host_address") > before


def flood(vm1, ports, target=FAR4):
    """A packet from each source port."""
    with vm1.wire() as wire:
        for port in ports:
            wire.send(Ether(src=vm1.mac, dst=GATEWAY_MAC) / IP(src=vm1.ip4, dst=target) / UDP(sport=port, dport=9))


def test_connections_are_spread_over_both_ways(fabric, vm1):
    before = [fabric.sent_by(i) for i in (0, 1)]
    flood(vm1, range(20000, 20200))
    until(lambda: sum(fabric.sent_by(i) - before[i] for i in (0, 1)) >= 200, "the packets", 5)
    for i in (0, 1):
        assert fabric.sent_by(i) - before[i] > 50


def test_way_over_a_link_that_goes_down_is_left_at_once(fabric, vm1):
    fabric.tors[0].ip("link", "set", "eth0", "down")
    try:
        until(lambda: fabric.lab.daemon.port("up0")["actual"]["state"] == "waiting", "the link down", 5)
        assert "NO-CARRIER" in fabric.host.ip("-o", "link", "show", "up0")
        before = fabric.sent_by(1)
        flood(vm1, range(21000, 21100))
        until(lambda: fabric.sent_by(1) - before >= 100, "all packets by the other", 5)
        vm1.ping(FAR4, 3)
    finally:
        tor = fabric.tors[0]
        tor.ip("link", "set", "eth0", "up")
        tor.ip("address", "replace", f"{TOR6[0]}/127", "dev", "eth0", "nodad")
        tor.ip("route", "replace", "10.0.0.0/24", "via", HOST4[0])
        tor.ip("route", "replace", "2001:db8::/64", "via", HOST6[0])
    until(lambda: fabric.lab.daemon.port("up0")["actual"]["state"] == "running", "the link up", 5)
    until(lambda: "LOWER_UP" in fabric.host.ip("-o", "link", "show", "up0"), "the carrier", 5)


def test_longer_prefixes_blackholes_and_metrics_follow_the_kernel(fabric, vm1):
    host = fabric.host
    host.ip("route", "add", "blackhole", "203.0.113.0/26")
    host.ip("route", "add", "unreachable", "203.0.113.64/26")
    host.ip("route", "add", "198.51.100.0/25", "via", TOR4[1], "dev", "up1", "metric", 50)
    host.ip("route", "add", "blackhole", "198.51.100.0/25", "metric", 60)
    until(lambda: "blackhole" in explain(fabric, vm1, "203.0.113.5"), "the blackhole", 5)
    assert "unreachable" in explain(fabric, vm1, "203.0.113.70")
    assert "up1" in explain(fabric, vm1, FAR4)
    host.ip("route", "del", "198.51.100.0/25", "metric", 50)
    until(lambda: "blackhole" in explain(fabric, vm1, FAR4), "the worse route", 5)
    host.ip("route", "del", "blackhole", "198.51.100.0/25", "metric", 60)
    for prefix in ("203.0.113.0/26", "203.0.113.64/26"):
        host.ip("route", "del", prefix)
    until(lambda: "0.0.0.0/0" in explain(fabric, vm1, FAR4), "the default route", 5)
    vm1.ping(FAR4)


def explain(fabric, vm, destination):
    """What `explain` says of the route stage."""
    answer = fabric.lab.daemon.call("explain", port=vm.port, src=vm.ip4, dst=destination, proto="udp", sport=1, dport=2)
    return " ".join(f"{s.get('detail', '')}" for s in answer["steps"]) + " " + answer.get("reason", "")


def test_ipv4_route_by_an_ipv6_neighbour(fabric, vm1):
    """RFC 8950, RFC 5549."""
    host, tor = fabric.host, fabric.tors[0]
    tor.ip("address", "add", "198.51.100.77/32", "dev", "lo")
    link_local = re.search(r"inet6 (fe80\S+)/64", tor.ip("-6", "address", "show", "dev", "eth0")).group(1)
    host.ip("route", "add", "198.51.100.77/32", "via", "inet6", link_local, "dev", "up0")
    vm1.ping("198.51.100.77", 3)
    host.ip("route", "del", "198.51.100.77/32")


def test_next_hop_objects_are_followed(fabric, vm1):
    host = fabric.host
    for i in (0, 1):
        host.ip("nexthop", "add", "id", 100 + i, "via", TOR4[i], "dev", f"up{i}")
    host.ip("nexthop", "add", "id", 200, "group", "100,3/101,1")
    fabric.tors[0].ip("address", "add", "198.51.100.88/32", "dev", "lo")
    fabric.tors[1].ip("address", "add", "198.51.100.88/32", "dev", "lo")
    host.ip("route", "add", "198.51.100.88/32", "nhid", 200)
    vm1.ping("198.51.100.88", 3)
    before = [fabric.sent_by(i) for i in (0, 1)]
    flood(vm1, range(22000, 22400), "198.51.100.88")
    until(lambda: sum(fabric.sent_by(i) - before[i] for i in (0, 1)) >= 400, "the packets", 5)
    by0, by1 = (fabric.sent_by(i) - before[i] for i in (0, 1))
    assert 2 < by0 / by1 < 4.5, "weights 3 and 1"
    host.ip("nexthop", "replace", "id", 200, "group", "101")
    before = fabric.sent_by(1)
    until(lambda: "up1" in explain(fabric, vm1, "198.51.100.88"), "the group without up0", 5)
    vm1.ping("198.51.100.88", 3)
    host.ip("route", "del", "198.51.100.88/32")
    for number in (200, 100, 101):
        host.ip("nexthop", "del", "id", number)


def kernel_routes(fabric, **params):
    """By prefix, from as many pages as there are."""
    found, cursor = {}, {}
    while True:
        page = fabric.lab.daemon.call("host.routes", **params, **cursor)
        found.update((route["prefix"], route) for route in page["routes"])
        if "cursor" not in page:
            return found
        cursor = {"cursor": page["cursor"]}


def test_kernels_routes_are_listed(fabric, vm1):
    whole = kernel_routes(fabric)
    default = whole["0.0.0.0/0"]
    assert default["type"] == "unicast" and default["table"] == 254 and default["used"] and default["resolved"]
    assert [(way["interface"], way["via"]) for way in default["ways"]] == [("up0", TOR4[0]), ("up1", TOR4[1])]
    assert whole[f"{HOST4[0]}/32"]["type"] == "local"
    assert set(kernel_routes(fabric, limit=1)) == set(whole)
    assert set(kernel_routes(fabric, within="192.0.2.0/24")) == {p for p in whole if p.startswith("192.0.2.")}
    assert "0.0.0.0/0" not in kernel_routes(fabric, unresolved=True)
    assert not kernel_routes(fabric, vrf=3)
    text = " ".join(fabric.lab.daemon.ctl("host", "routes", "--within", "0.0.0.0/0").stdout.split())
    assert f"via {TOR4[0]} dev up0, via {TOR4[1]} dev up1" in text


def test_route_beyond_every_uplink_leads_nowhere(fabric, vm1):
    host = fabric.host
    host.ip("link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt1")
    host.ip("address", "add", "203.0.113.129/26", "dev", "mgmt0")
    host.ip("link", "set", "mgmt0", "up")
    host.ip("link", "set", "mgmt1", "up")
    until(lambda: "no_route" in explain(fabric, vm1, "203.0.113.130"), "the route", 5)
    shown = kernel_routes(fabric, unresolved=True)["203.0.113.128/26"]
    assert shown["used"] and not shown["resolved"] and [way["interface"] for way in shown["ways"]] == ["mgmt0"]
    host.ip("link", "del", "mgmt0")
    until(lambda: "0.0.0.0/0" in explain(fabric, vm1, "203.0.113.130"), "the default route", 5)


def test_neighbour_that_is_not_there_is_refused_and_others_are_not(fabric, vm1):
    """An address on the link that nobody has: held first, then host unreachable."""
    fabric.host.ip("address", "add", "203.0.113.1/24", "dev", "up0")
    fabric.tors[0].ip("address", "add", "203.0.113.2/24", "dev", "eth0")
    # Found by the packets to it, of which the first ones are held until it has answered.
    vm1.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, "203.0.113.2")
    done = vm1.run("ping", "-n", "-c", 8, "-i", 1, "-W", 1, "203.0.113.9", check=False)
    assert "nreachable" in done.stdout, done.stdout
    fabric.tors[0].ip("address", "del", "203.0.113.2/24", "dev", "eth0")
    fabric.host.ip("address", "del", "203.0.113.1/24", "dev", "up0")


def test_flood_of_one_class_leaves_the_others(fabric):
    """ARP for an address of the host, much more than it is let have; ping goes on."""
    tor = fabric.tors[0]
    mac = re.search(r"link/ether (\S+)", tor.ip("-o", "link", "show", "eth0")).group(1)
    ask = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=TOR4[0], pdst=HOST4[0])
    frame = bytes(ask)

    def drops():
        return fabric.lab.daemon.drops("up0").get("host_limit_neighbour", 0)

    before = drops()
    with Wire(tor, "eth0") as wire:
        end = time.monotonic() + 20
        while drops() == before and time.monotonic() < end:
            for _ in range(4000):
                wire.send(frame)
    assert drops() > before
    tor.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, HOST4[0])


def test_restart_reads_the_kernels_routes_again(fabric, vm1):
    fabric.lab.daemon.stop()
    fabric.lab.daemon.start()
    fabric.configure()
    fabric.default_routes(0, 1)
    vm1 = fabric.lab.machine(1)
    vm1.ping(FAR4, 3)
    vm1.ping(FAR6, 3)


def test_interface_name_that_is_taken_is_said(needs_tap, resources):
    lab = Lab(resources, "--uplink", "name=up0;devargs=net_null0", start=False)
    lab.router.ip("link", "add", "up0", "type", "veth", "peer", "name", "up9")
    with pytest.raises(StartFailure, match="interface up0 exists already"):
        lab.daemon.start()


def test_queues_that_a_device_has_not_are_said(needs_tap, resources):
    """The uplink starts, with what there is."""
    lab = Lab(resources, "--uplink", "name=up0;devargs=net_af_packet0,iface=wire0;queues=32", start=False)
    lab.router.ip("link", "add", "wire0", "type", "veth", "peer", "name", "wire9")
    lab.router.ip("link", "set", "wire0", "up")
    lab.daemon.start()
    assert lab.daemon.port("up0")["desired"]["queues"] == 32
    until(lambda: "receive queues, not 32" in lab.daemon.log_text(), "the warning", 5)
