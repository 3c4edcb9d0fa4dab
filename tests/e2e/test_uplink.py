# SPDX-License-Identifier: Apache-2.0
"""A machine on a TAP port, and the Linux kernel behind an uplink, by static routes and neighbours."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from support import GATEWAY4, GATEWAY6, Lab, until
from support.wire import Wire

ROUTER4, PEER4 = "192.0.2.2", "192.0.2.1"
ROUTER6, PEER6 = "2001:db8:f::2", "2001:db8:f::1"
FAR4, FAR6 = "198.51.100.1", "2001:db8:a::1"


def program(daemon, mac):
    """The neighbours of the uplink, and default routes over them."""
    for via in (PEER4, PEER6):
        daemon.call("neighbor.apply", port="up0", address=via, mac=mac)
    daemon.call("route.apply", routes=[
        {"prefixes": ["0.0.0.0/0"], "next_hop": {"port": "up0", "via": PEER4}},
        {"prefixes": ["::/0"], "next_hop": {"port": "up0", "via": PEER6}}])


def configure_peer(namespace, device):
    """The peer's addresses, and its routes back to the machines, over the router."""
    namespace.ip("link", "set", device, "up")
    for address in (f"{PEER4}/30", f"{PEER6}/64"):
        nodad = ["nodad"] if ":" in address else []
        namespace.ip("address", "add", address, "dev", device, *nodad)
    namespace.ip("address", "add", f"{FAR4}/32", "dev", "lo")
    namespace.ip("address", "add", f"{FAR6}/128", "dev", "lo", "nodad")
    namespace.ip("route", "add", "10.0.0.0/24", "via", ROUTER4)
    namespace.ip("route", "add", "2001:db8::/64", "via", ROUTER6)


@pytest.fixture(scope="module")
def wired(needs_tap, module_resources):
    """(lab, vm1, peer): the peer is a namespace at the other end of a veth pair."""
    lab = Lab(module_resources, "--uplink",
              f"name=up0;devargs=net_af_packet0,iface=veth0;address={ROUTER4};address={ROUTER6}",
              start=False)
    peer = module_resources.namespace("peer")
    lab.router.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1",
                  "netns", peer.name)
    lab.router.ip("link", "set", "veth0", "up")
    # A veth leaves checksums undone for a neighbour it believes to be a kernel.
    peer.run("ethtool", "-K", "veth1", "tx", "off")
    configure_peer(peer, "veth1")
    lab.daemon.start()
    vm1 = lab.machine(1)
    mac = peer.mac("veth1")
    program(lab.daemon, mac)
    return lab, vm1, peer


@pytest.mark.parametrize("target", [PEER4, FAR4, PEER6, FAR6])
def test_machine_reaches_beyond_the_uplink(wired, target):
    _, vm1, _ = wired
    vm1.ping(target, 3)


def test_beyond_the_uplink_reaches_the_machine(wired):
    # The peer finds the router by ARP and ND for the router's own addresses.
    _, vm1, peer = wired
    for address in (vm1.ip4, vm1.ip6):
        peer.run("ping", "-n", "-c", 3, "-i", 0.01, "-W", 3, address)


def test_router_answers_for_its_own_addresses_only(wired):
    lab, _, peer = wired
    mac = "52:54:00:00:ff:09"
    with Wire(peer, "veth1") as wire:
        def ask(target):
            return Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=PEER4, pdst=target)
        assert wire.exchange(ask(ROUTER4), lambda p: p.haslayer(ARP) and p[ARP].op == 2)
        before = lab.daemon.drops("up0").get("arp_not_for_us", 0)
        wire.send(ask("10.0.0.11"))
        until(lambda: lab.daemon.drops("up0").get("arp_not_for_us", 0) > before, "the drop", 5)


def test_blackhole_is_silent_and_unreachable_answers(wired):
    lab, vm1, peer = wired
    lab.daemon.call("route.apply", routes=[
        {"prefixes": ["198.51.100.64/26"], "next_hop": {"unreachable": True}},
        {"prefixes": ["198.51.100.128/26"], "next_hop": {"blackhole": True}}])
    done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "198.51.100.65", check=False)
    assert f"From {GATEWAY4}" in done.stdout and "nreachable" in done.stdout
    before = vm1.drops("blackhole")
    done = vm1.run("ping", "-n", "-c", 1, "-W", 0.2, "198.51.100.129", check=False)
    assert "nreachable" not in done.stdout and vm1.drops("blackhole") == before + 1
    vm1.ping(FAR4)
    # From the uplink's side the answer comes from the uplink's own address.
    peer.ip("route", "replace", "198.51.100.64/26", "via", ROUTER4)
    done = peer.run("ping", "-n", "-c", 1, "-W", 3, "198.51.100.65", check=False)
    assert f"From {ROUTER4}" in done.stdout and "nreachable" in done.stdout


def test_neighbour_that_is_removed_leaves_its_reason(wired):
    lab, vm1, _ = wired
    neighbor = lab.daemon.call("neighbor.get", port="up0", address=PEER4)["neighbor"]
    lab.daemon.call("neighbor.delete", port="up0", address=PEER4)
    try:
        before = vm1.drops("no_neighbour")
        vm1.no_ping(FAR4)
        assert vm1.drops("no_neighbour") > before
    finally:
        lab.daemon.call("neighbor.apply", port="up0", address=PEER4, mac=neighbor["mac"])
    vm1.ping(FAR4)


def test_hop_limit_expires_at_the_router(wired):
    _, vm1, _ = wired
    for target, gateway in ((FAR4, GATEWAY4), (FAR6, GATEWAY6)):
        done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "-t", 1, target, check=False)
        assert f"From {gateway}" in done.stdout and "exceeded" in done.stdout, done.stdout


def test_packets_keep_what_the_peer_sent(wired):
    _, vm1, peer = wired
    with vm1.wire() as wire, Wire(peer, "veth1") as out:
        router_mac = peer.ip("neighbour", "show", ROUTER4).split("lladdr ")[1].split()[0]
        sent = Ether(src="52:54:00:00:ff:09", dst=router_mac) / \
            IP(src=FAR4, dst=vm1.ip4, ttl=9) / UDP(sport=1, dport=2) / (b"payload " * 100)
        out.send(sent)
        got = wire.receive(lambda p: p.haslayer(UDP) and p[UDP].dport == 2)
        assert got[IP].ttl == 8 and bytes(got[UDP].payload) == b"payload " * 100
        assert got[Ether].dst == vm1.mac


def test_link_of_an_uplink_is_seen_to_go_and_come(needs_tap, resources):
    # DPDK's TAP driver makes a device in the daemon's namespace: the peer is that one's kernel.
    lab = Lab(resources, "--uplink",
              f"name=up0;devargs=net_tap0,iface=dtap0;address={ROUTER4};address={ROUTER6}")
    vm1 = lab.machine(1)
    # Both ends are made with one MAC address, and so with one link-local one; a link has two.
    lab.router.ip("link", "set", "dtap0", "down")
    lab.router.ip("link", "set", "dtap0", "address", "52:54:00:00:ff:01")
    configure_peer(lab.router, "dtap0")
    program(lab.daemon, "52:54:00:00:ff:01")
    vm1.ping(PEER4, 2)
    vm1.ping(FAR6, 2)

    def state():
        return lab.daemon.port("up0")["actual"]

    assert state()["state"] == "running"
    with lab.daemon.rpc() as client:
        client.call("watch", types=["port.*"])
        lab.router.ip("link", "set", "dtap0", "down")
        assert client.event("port.disconnected", port="up0")["reason"] == "the link is down"
        assert (state()["state"], state()["reason"]) == ("waiting", "the link is down")
        before = vm1.drops("port_down")
        vm1.no_ping(PEER4)
        assert vm1.drops("port_down") > before
        lab.router.ip("link", "set", "dtap0", "up")
        client.event("port.rings_ready", port="up0")
    assert state()["state"] == "running"
    configure_peer_again(lab.router)
    vm1.ping(PEER4, 2)


def configure_peer_again(namespace):
    """What the kernel forgets of a device that goes down: its IPv6 addresses, and routes over it."""
    namespace.ip("address", "replace", f"{PEER6}/64", "dev", "dtap0", "nodad")
    namespace.ip("route", "replace", "10.0.0.0/24", "via", ROUTER4)
    namespace.ip("route", "replace", "2001:db8::/64", "via", ROUTER6)
