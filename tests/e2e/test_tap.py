# SPDX-License-Identifier: Apache-2.0
"""Two machines with the same subnet, each behind a TAP port, as their kernels see the router."""

import re
import socket
import threading

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import ARP, Ether
from support import DEVICE, GATEWAY4, GATEWAY6, GATEWAY_MAC, Lab, until

MEGABYTES = 4


@pytest.fixture(scope="module")
def pair(module_lab):
    """vm1 and vm2 of the file's lab; each test leaves them as it found them."""
    return module_lab.machine(1), module_lab.machine(2)


def neighbour(machine, address):
    """The link-layer address that a machine has for an address, or None."""
    match = re.search(r"lladdr (\S+)", machine.ip("neighbour", "show", address, "dev", DEVICE))
    return match and match.group(1)


def transfer(source, target, address, port=5001, total=MEGABYTES << 20):
    """Sends bytes over kernel TCP and returns how many arrived."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = target.inside(lambda: socket.create_server(
        ("::" if family == socket.AF_INET6 else "0.0.0.0", port), family=family))
    got = []

    def serve():
        connection, _ = listener.accept()
        count = 0
        with connection:
            while data := connection.recv(1 << 18):
                count += len(data)
        got.append(count)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener, source.inside(
            lambda: socket.create_connection((address, port), timeout=10)) as connection:
        block = bytes(1 << 18)
        for _ in range(total // len(block)):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        thread.join(30)
    return got[0] if got else None


def test_ping_in_one_subnet(pair):
    vm1, vm2 = pair
    vm1.ping(vm2.ip4, 5)
    vm2.ping(vm1.ip4, 5)
    vm1.ping(vm2.ip6, 5)
    vm2.ping(vm1.ip6, 5)


def test_arp_and_nd_give_the_gateways_mac_for_the_peer(pair):
    vm1, vm2 = pair
    vm1.ping(vm2.ip4)
    vm1.ping(vm2.ip6)
    assert neighbour(vm1, vm2.ip4) == GATEWAY_MAC
    assert neighbour(vm1, vm2.ip6) == GATEWAY_MAC


def test_gateway_answers_echo(pair):
    vm1, _ = pair
    vm1.ping(GATEWAY4, 3)
    vm1.ping(f"{GATEWAY6}%{DEVICE}", 3)


def hops(machine, target, protocol_v6):
    """What answers a UDP packet of hop limit 1, and one of 2: a traceroute."""
    answers = []
    with machine.wire() as wire:
        for limit in (1, 2):
            head = IPv6(src=machine.ip6, dst=target.ip6, hlim=limit) if protocol_v6 else \
                IP(src=machine.ip4, dst=target.ip4, ttl=limit)
            packet = Ether(src=machine.mac, dst=GATEWAY_MAC) / head / UDP(sport=40000, dport=33434)
            answer = wire.exchange(
                packet, lambda p: p.haslayer("ICMPv6 Destination Unreachable") or
                p.haslayer("ICMPv6 Time Exceeded") or (p.haslayer(ICMP) and p[ICMP].type in (3, 11)))
            assert answer, f"no answer to hop limit {limit}"
            answers.append((answer[IPv6] if protocol_v6 else answer[IP]).src)
    return answers


def test_traceroute_shows_the_gateway_then_the_peer(pair):
    vm1, vm2 = pair
    assert hops(vm1, vm2, False) == [GATEWAY4, vm2.ip4]


def test_traceroute6_shows_the_gateway_then_the_peer(pair):
    vm1, vm2 = pair
    assert hops(vm1, vm2, True) == [GATEWAY6, vm2.ip6]


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_kernel_tcp_passes_large_segments_as_one_packet(pair, family):
    vm1, vm2 = pair
    before = vm1.lab.daemon.port_stats(vm1.port)
    assert transfer(vm1, vm2, getattr(vm2, family)) == MEGABYTES << 20
    after = vm1.lab.daemon.port_stats(vm1.port)
    packets = after["rx_packets"] - before["rx_packets"]
    size = (after["rx_bytes"] - before["rx_bytes"]) / packets
    assert size > 8000, f"{packets} packets of {size:.0f} bytes on average: no segmentation offload"
    # A kernel may tell the router at any time which multicast groups it is in.
    lost = {reason: count - before["drops"].get(reason, 0) for reason, count in after["drops"].items()
            if reason != "multicast_listener"}
    assert not any(lost.values()), lost


def test_a_64_kb_segment_arrives_as_one_packet(pair):
    vm1, vm2 = pair
    with vm2.wire() as wire:
        assert transfer(vm1, vm2, vm2.ip4, port=5002) == MEGABYTES << 20
        longest = 0
        while packet := wire.receive(timeout_s=0.2):
            longest = max(longest, len(packet))
    assert longest > 60000


@pytest.mark.parametrize("size", [0, 1, 1472, 4000, 65000])
def test_udp_of_any_size_arrives_whole(pair, size):
    # Beyond the MTU the sending kernel makes fragments, and the receiving one puts them together.
    vm1, vm2 = pair
    sent = bytes(i & 0xff for i in range(size))
    with vm2.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server, \
            vm1.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        server.bind(("0.0.0.0", 6000))
        server.settimeout(5)
        client.sendto(sent, (vm2.ip4, 6000))
        assert server.recv(1 << 16) == sent


def test_router_solicitation_is_answered(pair):
    vm1, _ = pair
    link_local = "fe80::5054:ff:fe00:1"
    with vm1.wire() as wire:
        answer = wire.exchange(
            Ether(src=vm1.mac, dst="33:33:00:00:00:02") /
            IPv6(src=link_local, dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
            lambda p: p.haslayer(ICMPv6ND_RA))
    assert answer, "no router advertisement"
    assert answer[Ether].src == GATEWAY_MAC
    assert answer[IPv6].src == GATEWAY6
    assert answer[IPv6].hlim == 255
    assert answer[ICMPv6NDOptPrefixInfo].prefix == "2001:db8::"
    assert answer[ICMPv6NDOptPrefixInfo].A == 0, "addresses are given, not made up"


def test_arp_is_answered_for_any_target(pair):
    # A machine with a /32 and a scope link route asks for what is far away.
    vm1, _ = pair
    with vm1.wire() as wire:
        answer = wire.exchange(
            Ether(src=vm1.mac, dst="ff:ff:ff:ff:ff:ff") /
            ARP(op=1, hwsrc=vm1.mac, psrc=vm1.ip4, pdst="192.0.2.77"),
            lambda p: p.haslayer(ARP) and p[ARP].op == 2)
    assert answer and answer[ARP].hwsrc == GATEWAY_MAC and answer[ARP].psrc == "192.0.2.77"


def test_arp_for_its_own_address_is_not_answered(pair):
    vm1, _ = pair
    before = vm1.drops("arp_own_address")
    with vm1.wire() as wire:
        wire.send(Ether(src=vm1.mac, dst="ff:ff:ff:ff:ff:ff") /
                  ARP(op=1, hwsrc=vm1.mac, psrc="0.0.0.0", pdst=vm1.ip4))
        vm1.dropped("arp_own_address", before)
        assert wire.receive(lambda p: p.haslayer(ARP), 0.1) is None


def test_duplicate_address_detection_passes(pair):
    vm1, _ = pair
    vm1.ip("address", "add", "2001:db8::abcd/64", "dev", DEVICE)
    try:
        until(lambda: "tentative" not in vm1.ip("address", "show", "dev", DEVICE, "tentative"),
              "the end of DAD")
        shown = vm1.ip("address", "show", "dev", DEVICE)
        assert "dadfailed" not in shown and "2001:db8::abcd" in shown
    finally:
        vm1.ip("address", "del", "2001:db8::abcd/64", "dev", DEVICE)


def test_duplicate_address_detection_finds_a_taken_address(pair):
    vm1, vm2 = pair
    vm1.ip("address", "add", f"{vm2.ip6}/64", "dev", DEVICE)
    try:
        until(lambda: "dadfailed" in vm1.ip("address", "show", "dev", DEVICE), "dadfailed")
    finally:
        vm1.ip("address", "del", f"{vm2.ip6}/64", "dev", DEVICE)


@pytest.mark.parametrize("reason, make", [
    ("spoofed_source", lambda vm, to: Ether(src=vm.mac, dst=GATEWAY_MAC) /
     IP(src="10.0.0.99", dst=to.ip4) / UDP()),
    ("spoofed_source", lambda vm, to: Ether(src=vm.mac, dst=GATEWAY_MAC) /
     IPv6(src="2001:db8::99", dst=to.ip6) / UDP()),
    ("spoofed_mac", lambda vm, to: Ether(src="52:54:00:00:00:99", dst=GATEWAY_MAC) /
     IP(src=vm.ip4, dst=to.ip4) / UDP()),
    ("spoofed_arp", lambda vm, to: Ether(src=vm.mac, dst="ff:ff:ff:ff:ff:ff") /
     ARP(op=2, hwsrc=vm.mac, psrc="10.0.0.99", pdst="10.0.0.99")),
    ("spoofed_arp", lambda vm, to: Ether(src=vm.mac, dst="ff:ff:ff:ff:ff:ff") /
     ARP(op=1, hwsrc="52:54:00:00:00:99", psrc=vm.ip4, pdst=to.ip4)),
], ids=["ipv4", "ipv6", "mac", "arp_sender_address", "arp_sender_mac"])
def test_spoofing_is_dropped_with_its_reason(pair, reason, make):
    vm1, vm2 = pair
    before = vm1.drops(reason)
    with vm1.wire() as out, vm2.wire() as arriving:
        out.send(make(vm1, vm2))
        vm1.dropped(reason, before)
        assert arriving.receive(lambda p: p.haslayer(UDP) or p.haslayer(ARP), 0.1) is None
    assert vm1.drops(reason) == before + 1


def test_spoofing_is_reported_as_an_event(pair):
    vm1, vm2 = pair
    with vm1.lab.daemon.rpc() as client, vm1.wire() as wire:
        client.call("watch", types=["denied"])
        wire.send(Ether(src=vm1.mac, dst=GATEWAY_MAC) / IP(src="10.9.9.9", dst=vm2.ip4) / UDP())
        # What the tests before sent may be reported only now.
        event = client.event("denied", port=vm1.port, reason="spoofed_source")
    assert event["packets"] >= 1


def test_no_port_security_lets_any_source_pass(pair):
    vm1, vm2 = pair
    vm1.lab.apply(vm1, port_security=False)
    try:
        with vm1.wire() as out, vm2.wire() as arriving:
            out.send(Ether(src="52:54:00:00:00:99", dst=GATEWAY_MAC) /
                     IP(src="10.0.0.99", dst=vm2.ip4) / UDP(dport=9))
            assert arriving.receive(lambda p: p.haslayer(IP) and p[IP].src == "10.0.0.99")
    finally:
        vm1.lab.apply(vm1)


def test_port_without_group_passes_only_arp_and_nd(pair):
    vm1, vm2 = pair
    vm1.lab.apply(vm1, groups=[])
    try:
        vm1.ip("neighbour", "flush", "dev", DEVICE)
        before = vm1.drops("no_group")
        vm1.no_ping(vm2.ip4)
        vm1.no_ping(vm2.ip6)
        assert vm1.drops("no_group") >= before + 2
        vm2.no_ping(vm1.ip4)
        # ARP and ND were answered all the same.
        assert neighbour(vm1, vm2.ip4) == GATEWAY_MAC
        assert neighbour(vm1, vm2.ip6) == GATEWAY_MAC
    finally:
        vm1.lab.apply(vm1)
    vm1.ping(vm2.ip4)


def test_smaller_mtu_on_the_way_is_learnt(pair):
    vm1, vm2 = pair
    lab = vm1.lab
    small = lab.machine(3, mtu=1280)
    try:
        small.ip("link", "set", DEVICE, "mtu", 1280)
        for address in (small.ip4, small.ip6):
            # With DF, 1400 bytes do not fit; the kernel learns it from the router's answer.
            done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "-M", "do", "-s", 1352, address, check=False)
            assert done.returncode != 0
            until(lambda a=address: "mtu 1280" in vm1.ip("route", "get", a), f"the MTU to {address}", 3)
            vm1.ping(address, 2, options=["-s", "1200"])
        assert vm1.drops("too_big") >= 2
        # And TCP with large segments goes on by what was learnt.
        assert transfer(vm1, small, small.ip4, port=5003, total=1 << 20) == 1 << 20
        assert transfer(vm1, small, small.ip6, port=5004, total=1 << 20) == 1 << 20
    finally:
        vm1.ip("route", "flush", "cache")
        lab.daemon.call("port.delete", name=small.port)
    assert vm2.ping(vm1.ip4)


def test_allowed_pair_moves_with_a_gratuitous_arp(module_lab, pair):
    vm1, vm2 = pair
    shared = "10.0.0.200"
    third = module_lab.machine(4)
    for machine in (vm1, vm2):
        module_lab.apply(machine, allowed_pairs=[{"prefix": f"{shared}/32"}])
    with module_lab.daemon.rpc() as client:
        client.call("watch", types=["address.moved"])
        for holder, other in ((vm1, vm2), (vm2, vm1), (vm1, vm2)):
            other.ip("address", "del", f"{shared}/32", "dev", DEVICE, check=False)
            holder.ip("address", "add", f"{shared}/32", "dev", DEVICE)
            holder.run("arping", "-q", "-A", "-c", 1, "-I", DEVICE, shared)
            moved = client.event("address.moved", port=holder.port, address=shared)
            assert moved["how"] == "garp" and moved["mac"] == holder.mac
            before = module_lab.daemon.port_stats(holder.port)["tx_packets"]
            third.ping(shared, 2)
            assert module_lab.daemon.port_stats(holder.port)["tx_packets"] >= before + 2
        assert moved["from"] == vm2.port
    vm1.ip("address", "del", f"{shared}/32", "dev", DEVICE)
    for machine in (vm1, vm2):
        module_lab.apply(machine)
    third.no_ping(shared)
    module_lab.daemon.call("port.delete", name=third.port)


def test_machine_that_may_not_use_an_address_does_not_move_it(pair):
    vm1, vm2 = pair
    before = vm1.drops("spoofed_arp")
    with vm1.wire() as wire:
        wire.send(Ether(src=vm1.mac, dst="ff:ff:ff:ff:ff:ff") /
                  ARP(op=1, hwsrc=vm1.mac, psrc=vm2.ip4, pdst=vm2.ip4))
        vm1.dropped("spoofed_arp", before)
    route = vm1.lab.daemon.call("route.get", address=vm2.ip4)["route"]
    assert route["next_hop"]["port"] == vm2.port


def test_broadcast_and_multicast_are_not_carried(pair):
    vm1, vm2 = pair
    with vm1.wire() as out, vm2.wire() as arriving:
        for target, mac, reason in (("255.255.255.255", "ff:ff:ff:ff:ff:ff", "broadcast"),
                                    ("224.0.0.251", "01:00:5e:00:00:fb", "multicast")):
            before = vm1.drops(reason)
            out.send(Ether(src=vm1.mac, dst=mac) / IP(src=vm1.ip4, dst=target) / UDP(dport=5353))
            vm1.dropped(reason, before)
        assert arriving.receive(lambda p: p.haslayer(UDP), 0.1) is None


def test_unreachable_and_blackhole_routes(module_lab, pair):
    vm1, _ = pair
    routes = [{"prefixes": ["198.51.100.0/24", "2001:db8:ffff::/48"], "next_hop": {"unreachable": True}},
              {"prefixes": ["203.0.113.0/24"], "next_hop": {"blackhole": True}}]
    module_lab.daemon.call("route.apply", routes=routes)
    try:
        done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "198.51.100.1", check=False)
        assert f"From {GATEWAY4}" in done.stdout and "nreachable" in done.stdout
        done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "2001:db8:ffff::1", check=False)
        assert f"From {GATEWAY6}" in done.stdout and "nreachable" in done.stdout
        before = vm1.drops("blackhole")
        done = vm1.run("ping", "-n", "-c", 1, "-W", 0.2, "203.0.113.1", check=False)
        assert "nreachable" not in done.stdout
        assert vm1.drops("blackhole") == before + 1
    finally:
        module_lab.daemon.call("route.delete", routes=[
            {"prefixes": ["198.51.100.0/24", "2001:db8:ffff::/48", "203.0.113.0/24"]}])
    # No route at all says so too.
    done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "198.51.100.1", check=False)
    assert f"From {GATEWAY4}" in done.stdout


def test_vrfs_with_the_same_addresses_are_apart(lab: Lab):
    for number in (1, 2):
        lab.daemon.call("vrf.apply", vrf=number)
    one = [lab.machine(number, [f"10.0.0.1{number}/24"], vrf=1) for number in (1, 2)]
    two = [lab.machine(number + 10, [f"10.0.0.1{number}/24"], vrf=2) for number in (1, 2)]
    alone = lab.machine(21, ["10.0.0.99/24"])
    one[0].ping("10.0.0.12", 2)
    two[0].ping("10.0.0.12", 2)
    # Each pair's packets stayed with it.
    with one[1].wire() as first, two[1].wire() as second:
        two[0].ping("10.0.0.12")
        assert second.receive(lambda p: p.haslayer(ICMP), 1)
        assert first.receive(lambda p: p.haslayer(ICMP), 0.1) is None
    alone.no_ping("10.0.0.11")
    alone.no_ping("10.0.0.12")
