# SPDX-License-Identifier: Apache-2.0
"""Bonds of two devices, with another DPDK bond as the partner. Devices whose links DPDK sees go are in
UplinkBondTest; net_tap tells it nothing."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from support import GATEWAY_MAC, Lab, StartFailure, until
from support.cable import Cable
from support.fabric import DEAF

OWN = ["192.0.2.0", "192.0.2.1"]


class Bonded:
    """Two hypervisors with a machine each, behind a bond of two cables."""

    def __init__(self, resources, mode):
        flag = f"name=bond0;bond={mode};member=net_tap0,iface=port0;member=net_tap1,iface=port1"
        self.labs = [Lab(resources, "--uplink", flag, start=False) for _ in OWN]
        for lab in self.labs:
            lab.router.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
            lab.daemon.start()
            lab.router.sysctl("net.ipv6.conf.bond0.disable_ipv6", 0)
        hosts = [lab.router for lab in self.labs]
        for host in hosts:
            for i in (0, 1):
                host.run("nft", DEAF.format(f"port{i}"))
        self.cables = [Cable(f"port{i}", *hosts) for i in (0, 1)]
        for cable in self.cables:
            resources.keep(cable)
        for i, host in enumerate(hosts):
            host.ip("link", "set", "bond0", "up")
            host.ip("address", "add", f"{OWN[i]}/31", "dev", "bond0")
        self.machines = [lab.machine(number) for number, lab in enumerate(self.labs, 1)]
        for i, host in enumerate(hosts):
            host.ip("route", "add", self.machines[1 - i].ip4, "via", OWN[1 - i])
        for lab in self.labs:
            until(lambda: lab.daemon.port("bond0")["actual"]["state"] == "running", "the bond up", 20)
        until(lambda: hosts[0].run("ping", "-n", "-c", 1, "-W", 1, OWN[1], check=False).returncode == 0,
              "the partner to answer", 30)


@pytest.fixture(scope="module", params=["lacp", "balance", "active-backup"])
def bonded(request, needs_tap, module_resources):
    return Bonded(module_resources, request.param)


def mode_of(bonded):
    return bonded.labs[0].daemon.port("bond0")["desired"]["bond"]


def test_machines_reach_each_other(bonded):
    one, two = bonded.machines
    one.ping(two.ip4, 3)
    two.ping(one.ip4, 3)


def test_connections_use_both_cables(bonded):
    one, two = bonded.machines
    before = [cable.passed for cable in bonded.cables]
    with one.wire() as wire:
        for port in range(20000, 20200):
            # With a payload: DPDK's hash sees no ports in a datagram without.
            wire.send(Ether(src=one.mac, dst=GATEWAY_MAC) / IP(src=one.ip4, dst=two.ip4) /
                      UDP(sport=port, dport=9) / b"payload")
    until(lambda: sum(c.passed - b for c, b in zip(bonded.cables, before)) >= 200, "the packets", 5)
    shares = [cable.passed - b for cable, b in zip(bonded.cables, before)]
    if mode_of(bonded) == "active-backup":
        assert min(shares) < 20
    else:
        assert min(shares) > 50


def test_bond_is_shown(bonded):
    port = bonded.labs[0].daemon.port("bond0")
    assert port["desired"]["members"] == ["net_tap0,iface=port0", "net_tap1,iface=port1"]
    assert "devargs" not in port["desired"]
    assert port["counters"]["device"]["rx_errors"] == 0


@pytest.mark.parametrize("flag, wanted", [
    ("name=b;bond=lacp", "together"),
    ("name=b;bond=team;member=net_null0", "lacp"),
    ("name=b;bond=balance;member=net_nonsense0", "net_nonsense0"),
    ("name=b;bond=balance;member=net_af_packet0,iface=lo", "bond in the kernel"),
])
def test_bad_bond_is_refused(resources, flag, wanted):
    with pytest.raises(StartFailure) as failure:
        resources.daemon("--uplink", flag).start()
    assert wanted in str(failure.value)
