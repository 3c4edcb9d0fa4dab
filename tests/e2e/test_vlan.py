# SPDX-License-Identifier: Apache-2.0
"""VLANs of an uplink: each is an uplink of its own, with an interface for the host and routes by it."""

import re

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from support import Lab, StartFailure, until
from support.fabric import FAR4, FAR6, nodad, plug
from support.vlan import Vlan
from support.wire import Wire

PARENT = "name=up0;devargs=net_af_packet0,iface=wire0"
HOST4, NEAR4, HOST6, NEAR6 = "192.0.2.100", "192.0.2.101", "2001:db8:f100::", "2001:db8:f100::1"


class Trunk:
    """A router whose uplink is a trunk, a neighbour in its VLAN 100, and one on the wire itself."""

    def __init__(self, resources):
        self.lab = Lab(resources, "--uplink", PARENT, "--uplink", "name=up0.100;parent=up0;vlan=100",
                       "--uplink", "name=up0.200;parent=up0;vlan=200;vrf=2;mtu=1400", start=False)
        self.host = self.lab.router
        self.far = resources.namespace("far")
        plug(self.host, "wire0", self.far, "eth0", ["192.0.2.1/31"])
        self.vlan = Vlan(self.far, "eth0", 100, "eth0.100")
        resources.keep(self.vlan)
        self.lab.daemon.start()
        self.host.ip("address", "add", "192.0.2.0/31", "dev", "up0")
        for namespace, device, four, six in ((self.host, "up0.100", HOST4, HOST6),
                                             (self.far, "eth0.100", NEAR4, NEAR6)):
            namespace.ip("link", "set", device, "up")
            namespace.ip("address", "add", f"{four}/31", "dev", device)
            namespace.ip("address", "add", f"{six}/127", "dev", device, "nodad")
        for address in (FAR4, FAR6):
            self.far.ip("address", "add", address, "dev", "lo", *nodad(address))
        self.far.ip("route", "add", "10.0.0.0/24", "via", HOST4)
        self.far.ip("route", "add", "2001:db8::/64", "via", HOST6)
        self.host.ip("route", "add", "default", "via", NEAR4)
        self.host.ip("-6", "route", "add", "default", "via", NEAR6)


@pytest.fixture(scope="module")
def trunk(needs_tap, module_resources):
    return Trunk(module_resources)


@pytest.fixture(scope="module")
def vm1(trunk):
    return trunk.lab.machine(1)


def test_vlan_has_an_interface_with_its_uplinks_address(trunk):
    macs = [re.search(r"link/ether (\S+)", trunk.host.ip("-o", "link", "show", device)).group(1)
            for device in ("wire0", "up0", "up0.100", "up0.200")]
    assert len(set(macs)) == 1
    assert "LOWER_UP" in trunk.host.ip("-o", "link", "show", "up0.100")
    desired = trunk.lab.daemon.port("up0.100")["desired"]
    assert (desired["parent"], desired["vlan"]) == ("up0", 100) and "devargs" not in desired
    assert trunk.lab.daemon.port("up0.200")["actual"]["mtu"] == 1400


@pytest.mark.parametrize("far", [NEAR4, NEAR6, "192.0.2.1"])
def test_host_reaches_its_neighbours_by_vlan_and_without(trunk, far):
    trunk.host.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, far)


@pytest.mark.parametrize("far", [FAR4, FAR6, NEAR4])
def test_machine_and_what_is_beyond_the_vlan_reach_each_other(trunk, vm1, far):
    vm1.ping(far, 3)
    own = vm1.ip6 if ":" in far else vm1.ip4
    trunk.far.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, "-I", far, own)


def test_large_packets_pass_whole(trunk, vm1):
    vm1.ping(FAR4, 2, options=["-s", 1472, "-M", "do"])
    trunk.far.run("ping", "-n", "-c", 2, "-i", 0.05, "-W", 3, "-s", 1472, "-M", "do", vm1.ip4)


def test_vlans_counters_are_its_own(trunk, vm1):
    def sent():
        return [trunk.lab.daemon.port(name)["counters"]["tx_packets"] for name in ("up0", "up0.100")]

    before = sent()
    vm1.ping(FAR4, 10)
    after = sent()
    assert after[1] - before[1] >= 10 and after[0] - before[0] < 10


def tagged(vm1, vid, inner=None):
    frame = Ether(src="52:54:00:00:ff:01", dst=vm1.uplink_mac) / Dot1Q(vlan=vid)
    return frame / (inner or IP(src=FAR4, dst=vm1.ip4) / UDP(sport=5, dport=9))


def test_each_frame_is_of_the_vlan_of_its_tag(trunk, vm1):
    """One of a VLAN that nobody has is dropped, as is one with a second tag; one with a priority alone is the
    uplink's own; in another VRF there is no such machine."""
    vm1.uplink_mac = re.search(r"link/ether (\S+)", trunk.host.ip("-o", "link", "show", "wire0")).group(1)

    def drops(name, reason):
        return trunk.lab.daemon.drops(name).get(reason, 0)

    with Wire(trunk.far, "eth0") as wire:
        for vid, port, reason in ((300, "up0", "bad_vlan"), (200, "up0.200", "no_route")):
            before = drops(port, reason)
            wire.send(tagged(vm1, vid))
            until(lambda: drops(port, reason) == before + 1, f"{reason} of {port}", 5)
        before = drops("up0.100", "bad_vlan")
        wire.send(tagged(vm1, 100, Dot1Q(vlan=7) / IP(src=FAR4, dst=vm1.ip4) / UDP()))
        until(lambda: drops("up0.100", "bad_vlan") == before + 1, "the second tag", 5)
        echo = IP(src="192.0.2.1", dst="192.0.2.0") / ICMP(type=8, id=77)
        assert wire.exchange(tagged(vm1, 0, echo), lambda p: p.haslayer(ICMP) and p[ICMP].id == 77)


def test_link_of_the_wire_is_the_vlans(trunk):
    def state(name):
        return trunk.lab.daemon.port(name)["actual"]["state"]

    trunk.far.ip("link", "set", "eth0", "down")
    try:
        for name in ("up0", "up0.100"):
            until(lambda: state(name) == "waiting", f"{name} down", 5)
        until(lambda: "NO-CARRIER" in trunk.host.ip("-o", "link", "show", "up0.100"), "no carrier", 5)
        assert trunk.lab.daemon.port("up0.100")["actual"]["link"]["losses"] == 1
    finally:
        trunk.far.ip("link", "set", "eth0", "up")
    until(lambda: state("up0.100") == "running", "up0.100 up", 5)


def test_link_that_flaps_is_held_down(trunk, vm1):
    for _ in range(4):
        for state, wanted in (("down", "waiting"), ("up", "running")):
            trunk.far.ip("link", "set", "eth0", state)
            until(lambda: trunk.lab.daemon.port("up0")["actual"]["state"] == wanted or
                  "flaps" in trunk.lab.daemon.port("up0")["actual"].get("reason", ""), f"link {state}", 5)
    actual = trunk.lab.daemon.port("up0")["actual"]
    assert actual["state"] == "waiting" and "the link flaps" in actual["reason"]
    assert "the link flaps" in trunk.lab.daemon.port("up0.100")["actual"]["reason"]
    until(lambda: trunk.lab.daemon.port("up0")["actual"]["state"] == "running", "up again", 20)
    assert trunk.lab.daemon.port("up0")["actual"]["link"]["losses"] >= 3


@pytest.mark.parametrize("flags, wanted", [
    (["name=v;parent=up0;vlan=7", "name=w;parent=up0;vlan=7"], "same VLAN 7"),
    (["name=v;parent=up9;vlan=7"], 'no uplink "up9"'),
    (["name=v;parent=up0;vlan=4095"], "1 to 4094"),
])
def test_bad_vlan_is_refused(resources, flags, wanted):
    options = [word for flag in ["name=up0;devargs=net_null0", *flags] for word in ("--uplink", flag)]
    with pytest.raises(StartFailure) as failure:
        resources.daemon(*options).start()
    assert wanted in str(failure.value)
