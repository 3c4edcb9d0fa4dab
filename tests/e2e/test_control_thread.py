# SPDX-License-Identifier: Apache-2.0
"""The workers do without the control thread, and hear from it when it is there."""

import socket
import time

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from support import DEVICE, GATEWAY_MAC, until
from support.ptrace import HeldThread

STOPPED_S = 10


def test_forwarding_arp_and_nd_go_on_while_control_stands_still(lab):
    vm1, vm2 = lab.machine(1), lab.machine(2)
    # A kernel that forgets a neighbour drops what waits for it: not on the machines of the streams.
    vm3 = lab.machine(3)
    with vm1.stream(vm2) as stream4, vm1.stream(vm2, vm2.ip6, port=7001) as stream6, \
            vm1.wire() as wire, lab.daemon.rpc(timeout_s=2) as client:
        with HeldThread(lab.daemon.pid):
            begin = time.monotonic()
            number = client.begin("hello")
            asked = 0
            while time.monotonic() - begin < STOPPED_S:
                stream4.pass_packets(50, 5)
                stream6.pass_packets(50, 5)
                # Addresses that were never asked for, and a kernel that asks again each time.
                asked += 1
                target4, target6 = f"10.0.0.{100 + asked % 100}", f"2001:db8::{1000 + asked}"
                assert wire.exchange(
                    Ether(src=vm1.mac, dst="ff:ff:ff:ff:ff:ff") /
                    ARP(op=1, hwsrc=vm1.mac, psrc=vm1.ip4, pdst=target4),
                    lambda p, t=target4: p.haslayer(ARP) and p[ARP].psrc == t)
                assert wire.exchange(
                    Ether(src=vm1.mac, dst="33:33:ff:00:00:00") /
                    IPv6(src=vm1.ip6, dst="ff02::1:ff00:0", hlim=255) / ICMPv6ND_NS(tgt=target6) /
                    ICMPv6NDOptSrcLLAddr(lladdr=vm1.mac),
                    lambda p, t=target6: p.haslayer(ICMPv6ND_NA) and p[ICMPv6ND_NA].tgt == t)
                vm3.ip("neighbour", "flush", "dev", DEVICE)
                vm3.ping(vm2.ip4)
                vm3.ping(vm2.ip6)
                assert GATEWAY_MAC in vm3.ip("neighbour", "show", vm2.ip4)
            try:
                client.answer(number)
                raise AssertionError("the control thread was not stopped")
            except socket.timeout:
                pass
        assert client.result("hello", number)["api_version"] == 1
        assert lab.apply(vm1, mtu=1400)["programmed"]
        assert stream4.stop() == 0
        assert stream6.stop() == 0


def test_sleeping_worker_is_woken_by_a_command_and_acknowledges_it(daemon):
    def rings():
        return daemon.call("rings")["rings"]

    until(lambda: all(ring["asleep"] for ring in rings()), "sleeping workers")
    before = rings()
    began = time.monotonic()
    result = daemon.call("port.apply", name="vm1", mac="52:54:00:00:00:01", addresses=["10.0.0.11"],
                         socket=str(daemon.directory / "vm1.sock"))
    took = time.monotonic() - began
    assert result["programmed"]
    after = rings()
    for old, new in zip(before, after):
        assert new["pushed"] > old["pushed"], "the command reached every worker"
        assert new["acknowledged"] == new["pushed"] and new["lag"] == 0 and new["depth"] == 0
    assert took < 2, "a worker was not woken but happened to look"
    text = daemon.ctl("show", "rings").stdout
    assert str(after[0]["acknowledged"]) in text


def test_workers_sleep_again_when_traffic_ends(lab):
    vm1, vm2 = lab.machine(1), lab.machine(2)
    with vm1.stream(vm2) as stream:
        stream.pass_packets(100)
    until(lambda: all(w["state"] == "asleep" for w in lab.daemon.call("status")["workers"]),
          "sleeping workers")
    wakeups = lab.daemon.call("stats", sections=["workers"])["workers"][0]["wakeups"]
    vm1.ping(vm2.ip4)
    assert lab.daemon.call("stats", sections=["workers"])["workers"][0]["wakeups"] > wakeups


def test_counters_of_workers_and_ports_add_up(lab):
    vm1, vm2 = lab.machine(1), lab.machine(2)
    with vm1.stream(vm2) as stream:
        stream.pass_packets(200)
    vm1.ping("10.0.0.1")
    vm1.no_ping("169.254.7.7")

    def balanced():
        stats = lab.daemon.call("stats")
        worker = {name: sum(w[name] for w in stats["workers"]) for name in
                  ("rx_packets", "tx_packets", "dropped_packets", "punted_packets",
                   "consumed_packets")}
        came = sum(p["rx_packets"] for p in stats["ports"])
        went = sum(p["tx_packets"] for p in stats["ports"])
        dropped = sum(d["packets"] for d in stats["drops"])
        by_port = sum(sum(p["drops"].values()) for p in stats["ports"])
        return worker["rx_packets"] == came and worker["tx_packets"] == went and \
            dropped == by_port == worker["dropped_packets"]

    until(balanced, lambda: f"counters that add up: {lab.daemon.call('stats')}", 3)
