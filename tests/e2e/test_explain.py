# SPDX-License-Identifier: Apache-2.0
"""What explain says of a packet is what happens to it when it is sent."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from support import GATEWAY4, GATEWAY_MAC, until

V4, V6 = "10.0.0.11", "2001:db8::11"
PEER4, PEER6 = "10.0.0.12", "2001:db8::12"

# A packet in explain's words, and the verdict and reason expected of both.
PACKETS = {
    "udp": ({"src": V4, "dst": PEER4, "proto": "udp", "dport": 53}, "forward", None),
    "tcp": ({"src": V4, "dst": PEER4, "proto": "tcp", "sport": 1000, "dport": 80}, "forward", None),
    "icmp": ({"src": V4, "dst": PEER4, "proto": "icmp"}, "forward", None),
    "udp6": ({"src": V6, "dst": PEER6, "proto": "udp", "dport": 53}, "forward", None),
    "icmp6": ({"src": V6, "dst": PEER6, "proto": "icmpv6"}, "forward", None),
    "other_protocol": ({"src": V4, "dst": PEER4, "proto": 47}, "forward", None),
    "full_size": ({"src": V4, "dst": PEER4, "proto": "udp", "dport": 1, "length": 1500}, "forward", None),
    "spoofed": ({"src": "10.0.0.99", "dst": PEER4, "proto": "udp"}, "drop", "spoofed_source"),
    "spoofed6": ({"src": "2001:db8::99", "dst": PEER6, "proto": "udp"}, "drop", "spoofed_source"),
    "spoofed_mac": ({"src": V4, "dst": PEER4, "proto": "udp", "src_mac": "52:54:00:00:00:99"},
                    "drop", "spoofed_mac"),
    "wrong_mac": ({"src": V4, "dst": PEER4, "proto": "udp", "dst_mac": "52:54:00:00:00:99"},
                  "drop", "wrong_destination_mac"),
    "no_route": ({"src": V4, "dst": "203.0.113.1", "proto": "udp"}, "drop", "no_route"),
    "no_route6": ({"src": V6, "dst": "2001:db9::1", "proto": "udp"}, "drop", "no_route"),
    "blackhole": ({"src": V4, "dst": "198.51.100.1", "proto": "udp"}, "drop", "blackhole"),
    "unreachable": ({"src": V4, "dst": "198.51.101.1", "proto": "udp"}, "drop", "unreachable"),
    "port_down": ({"src": V4, "dst": "10.0.0.13", "proto": "udp"}, "drop", "port_down"),
    "hop_limit": ({"src": V4, "dst": PEER4, "proto": "udp", "ttl": 1}, "drop", "hop_limit"),
    "hop_limit6": ({"src": V6, "dst": PEER6, "proto": "udp", "ttl": 1}, "drop", "hop_limit"),
    "hairpin": ({"src": V4, "dst": "198.51.102.1", "proto": "udp"}, "drop", "hairpin"),
    "multicast": ({"src": V4, "dst": "224.0.0.251", "proto": "udp", "dport": 5353,
                   "dst_mac": "01:00:5e:00:00:fb"}, "drop", "multicast"),
    "broadcast": ({"src": V4, "dst": "255.255.255.255", "proto": "udp", "dport": 9,
                   "dst_mac": "ff:ff:ff:ff:ff:ff"}, "drop", "broadcast"),
    "dhcp_reply": ({"src": V4, "dst": PEER4, "proto": "udp", "sport": 67, "dport": 68},
                   "drop", "dhcp_server"),
    "loopback": ({"src": "127.0.0.1", "dst": PEER4, "proto": "udp"}, "drop", "bad_source_address"),
    "to_loopback": ({"src": V4, "dst": "127.0.0.1", "proto": "udp"}, "drop", "bad_destination_address"),
    "gateway_echo": ({"src": V4, "dst": GATEWAY4, "proto": "icmp"}, "consume", None),
    "gateway_udp": ({"src": V4, "dst": GATEWAY4, "proto": "udp", "dport": 53}, "drop", "gateway_unserved"),
    "peer_without_group": ({"src": V4, "dst": "10.0.0.14", "proto": "udp"}, "drop", "denied_ingress"),
}


@pytest.fixture(scope="module")
def three(module_lab):
    """(vm1, vm2), a port vm3 without a frontend, vm4 without a group, and routes to nowhere."""
    vm1, vm2 = module_lab.machine(1), module_lab.machine(2)
    daemon = module_lab.daemon
    for number, groups in ((3, ["any"]), (4, [])):
        daemon.call("port.apply", name=f"vm{number}", mac=f"52:54:00:00:00:{number:02x}",
                    groups=groups, addresses=[f"10.0.0.{10 + number}/24"],
                    socket=f"{daemon.directory}/vm{number}.sock")
    daemon.call("route.apply", routes=[
        {"prefixes": ["198.51.100.0/24"], "next_hop": {"blackhole": True}},
        {"prefixes": ["198.51.101.0/24"], "next_hop": {"unreachable": True}},
        {"prefixes": ["198.51.102.0/24"], "next_hop": {"port": "vm1"}}])
    return vm1, vm2


def packet_of(query, mac):
    """The packet that a query describes."""
    ipv6 = ":" in query["src"]
    ttl = query.get("ttl", 64)
    head = IPv6(src=query["src"], dst=query["dst"], hlim=ttl) if ipv6 else \
        IP(src=query["src"], dst=query["dst"], ttl=ttl)
    ports = {"sport": query.get("sport", 0), "dport": query.get("dport", 0)}
    proto = query["proto"]
    if proto == "udp":
        head /= UDP(**ports)
    elif proto == "tcp":
        head /= TCP(**ports)
    elif proto == "icmp":
        head /= ICMP(type=8)
    elif proto == "icmpv6":
        head /= ICMPv6EchoRequest()
    elif not ipv6:
        head.proto = proto
    length = query.get("length", 64)
    head /= Raw(bytes(length - len(head)))
    return Ether(src=query.get("src_mac", mac), dst=query.get("dst_mac", GATEWAY_MAC)) / head


def outcome(daemon):
    """Counters of vm1's port, and what left through vm2's."""
    stats = daemon.port_stats("vm1")
    return {**stats["drops"], "#consumed": stats["consumed"], "#punted": stats["punted"],
            "#rx": stats["rx_packets"], "#out": daemon.port_stats("vm2")["tx_packets"]}


@pytest.mark.parametrize("case", PACKETS)
def test_explain_agrees_with_what_happens(three, case):
    vm1, vm2 = three
    daemon = vm1.lab.daemon
    query, verdict, reason = PACKETS[case]
    answer = daemon.call("explain", port="vm1", **query)
    assert (answer["verdict"], answer.get("reason")) == (verdict, reason), answer
    assert answer["steps"][-1]["decision"] == verdict
    if verdict == "forward":
        assert answer["port"] == "vm2"

    packet = packet_of(query, vm1.mac)
    before = outcome(daemon)
    with vm1.wire() as out, vm2.wire() as arriving:
        out.send(packet)
        if verdict == "forward":
            got = arriving.receive(lambda p: p[Ether].src == GATEWAY_MAC and query["src"] in
                                   (p.haslayer(IP) and p[IP].src, p.haslayer(IPv6) and p[IPv6].src))
            assert got, "it was not forwarded"
            assert got[Ether].dst == vm2.mac
        else:
            name = reason or "#consumed"
            until(lambda: outcome(daemon).get(name, 0) == before.get(name, 0) + 1,
                  lambda: f"{name} to count it: {before} {outcome(daemon)}", 5)
            assert arriving.receive(lambda p: p.haslayer(UDP), 0.02) is None


def test_explain_leaves_no_trace(three):
    vm1, _ = three
    daemon = vm1.lab.daemon

    def counted():
        return {p["name"]: p["drops"].get("spoofed_source", 0) for p in daemon.call("stats")["ports"]}

    before = counted()
    for _ in range(100):
        daemon.call("explain", port="vm1", src="10.0.0.99", dst=PEER4, proto="udp")
    assert counted() == before


def test_slash32ctl_explain_prints_each_decision(three):
    daemon = three[0].lab.daemon
    text = daemon.ctl("explain", "vm1", "--src", V4, "--dst", PEER4, "--proto", "tcp", "--dport",
                      "443").stdout
    assert "forward" in text and "10.0.0.12/32" in text and "vm2" in text
    text = daemon.ctl("explain", "vm1", "--src", "10.0.0.99", "--dst", PEER4, "--proto", "tcp").stdout
    assert "drop" in text and "spoofed_source" in text
