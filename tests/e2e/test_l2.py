# SPDX-License-Identifier: Apache-2.0
"""An uplink in L2 mode: a rack that is one plain network, with a neighbour that knows of no router."""

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA
from scapy.layers.l2 import ARP, Ether
from support import Lab, until
from support.fabric import plug
from support.wire import Wire

PEER4, PEER6 = "10.0.0.99", "2001:db8::99"
HOST4, HOST6 = "10.0.0.254", "2001:db8::fe"


@pytest.fixture(scope="module")
def rack(needs_tap, module_resources):
    """(lab, peer)"""
    lab = Lab(module_resources, "--uplink", "name=up0;devargs=net_af_packet0,iface=wire0;mode=l2", start=False)
    peer = module_resources.namespace("peer")
    plug(lab.router, "wire0", peer, "eth0", [f"{PEER4}/24", f"{PEER6}/64"])
    lab.daemon.start()
    lab.router.ip("link", "set", "up0", "up")
    lab.router.ip("address", "add", f"{HOST4}/24", "dev", "up0")
    lab.router.ip("address", "add", f"{HOST6}/64", "dev", "up0", "nodad")
    until(lambda: "LOWER_UP" in lab.router.ip("-o", "link", "show", "up0"), "the carrier")
    return lab, peer


@pytest.fixture(scope="module")
def vm1(rack):
    return rack[0].machine(1)


def test_machine_and_neighbour_are_of_one_network(rack, vm1):
    _, peer = rack
    for address in (vm1.ip4, vm1.ip6):
        peer.run("ping", "-n", "-c", 3, "-i", 0.1, "-W", 3, address)
    for address in (PEER4, PEER6):
        vm1.ping(address, 3)


def test_neighbour_knows_the_machine_by_the_uplinks_address(rack, vm1):
    lab, peer = rack
    peer.run("ping", "-n", "-c", 1, "-W", 3, vm1.ip4)
    mac = lab.router.mac("up0")
    assert f"lladdr {mac}" in peer.ip("neighbor", "show", vm1.ip4)


def test_host_is_on_the_network_too(rack):
    lab, peer = rack
    for address in (HOST4, HOST6):
        peer.run("ping", "-n", "-c", 2, "-i", 0.1, "-W", 3, address)
    lab.router.run("ping", "-n", "-c", 2, "-i", 0.1, "-W", 3, PEER4)


def test_machine_that_arrives_is_announced(rack):
    lab, peer = rack
    # The neighbour believes that another has the address.
    for address in ("10.0.0.12", "2001:db8::12"):
        peer.ip("neighbor", "replace", address, "lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "reachable")
    with Wire(peer, "eth0") as wire:
        vm2 = lab.machine(2)
        assert wire.receive(lambda p: p.haslayer(ARP) and p[ARP].psrc == vm2.ip4 == p[ARP].pdst
                            and p[Ether].dst == "ff:ff:ff:ff:ff:ff")
    with Wire(peer, "eth0") as wire:
        got = wire.receive(lambda p: p.haslayer(ICMPv6ND_NA) and p[ICMPv6ND_NA].tgt == vm2.ip6)
        assert got[ICMPv6ND_NA].O == 1 and got[ICMPv6ND_NA].S == 0
        cksum = got[ICMPv6ND_NA].cksum
        del got[ICMPv6ND_NA].cksum
        assert Ether(bytes(got))[ICMPv6ND_NA].cksum == cksum
    for address in (vm2.ip4, vm2.ip6):
        peer.run("ping", "-n", "-c", 2, "-i", 0.1, "-W", 3, address)


def test_address_that_nobody_has_is_free(rack):
    lab, peer = rack
    done = peer.run("arping", "-D", "-c", 2, "-w", 2, "-I", "eth0", "10.0.0.50", check=False)
    assert done.returncode == 0, done.stdout
    assert lab.daemon.running


def test_own_addresses_and_l2_mode_exclude_each_other(resources):
    daemon = resources.daemon("--uplink", "name=up0;devargs=net_null0;mode=l2;address=192.0.2.1")
    with pytest.raises(Exception, match="L2 mode"):
        daemon.start()
