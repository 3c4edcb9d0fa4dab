# SPDX-License-Identifier: Apache-2.0
"""A VM's host routes in the kernel, from where FRR or BIRD announces them to a neighbour: there while the
VM is there and only then. The neighbour is a router of its own, in a namespace, and reaches the VM."""

import re
import signal
import time

import pytest
import support
from support import Lab, until
from support.frontend import Frontend, address4, address6, port_fields
from support.routing import Bird, Frr, Session

HOST4, HOST6 = "192.0.2.200", "2001:db8:c::200"
ROUTER4, TOR4 = "192.0.2.1", "192.0.2.2"
ROUTER6, TOR6 = "2001:db8:f::1", "2001:db8:f::2"
OPTIONS = ["--host-interface", "slash32", "--host-addresses", f"{HOST4},{HOST6}"]


def host_lab(resources, *options, start=True):
    """A lab whose daemon has a link to the host, which is the router's namespace and has addresses."""
    lab = Lab(resources, *OPTIONS, *options, start=False)
    for address in (f"{HOST4}/32", f"{HOST6}/128"):
        lab.router.ip("address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
    if start:
        lab.daemon.start()
        until(lambda: lab.daemon.port("slash32")["actual"]["state"] == "running", "the host's link")
    return lab


def announced(lab):
    """The routes of our protocol in the host's main table."""
    text = lab.router.ip("-4", "route", "show", "proto", 132) + lab.router.ip("-6", "route", "show", "proto", 132)
    return set(re.findall(r"^(\S+) dev slash32", text, re.MULTILINE))


class Fabric:
    """A lab, and a neighbour of its host by BGP; what the VMs send outwards takes the host's routes."""

    def __init__(self, resources, kind):
        self.lab = host_lab(resources)
        router = self.lab.router
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            router.sysctl(name, 1)
        self.tor = resources.namespace("tor")
        router.ip("link", "add", "fab0", "type", "veth", "peer", "name", "fab1", "netns", self.tor.name)
        for namespace, device, addresses in ((router, "fab0", (f"{ROUTER4}/30", f"{ROUTER6}/64")),
                                             (self.tor, "fab1", (f"{TOR4}/30", f"{TOR6}/64"))):
            namespace.ip("link", "set", device, "up")
            for address in addresses:
                namespace.ip("address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        self.lab.daemon.call("route.apply", routes=[{"prefixes": ["0.0.0.0/0", "::/0"],
                                                     "next_hop": {"port": "slash32"}}])
        self.host = kind(router, resources.directory(), "192.0.2.1",
                         Session(65001, 65100, TOR4, ROUTER6, TOR6), redistribute="host")
        self.neighbour = kind(self.tor, resources.directory(), "192.0.2.2",
                              Session(65100, 65001, ROUTER4, TOR6, ROUTER6))
        self.host.start()
        self.neighbour.start()
        until(lambda: self.host.sessions() == 2 and self.neighbour.sessions() == 2, "both sessions", 30)


@pytest.fixture(scope="module", params=[Frr, Bird], ids=["frr", "bird"])
def fabric(request, needs_tap, module_resources):
    return Fabric(module_resources, request.param)


def test_neighbour_reaches_a_machine_by_its_announced_routes(fabric):
    vm1 = fabric.lab.machine(1)
    until(lambda: fabric.neighbour.has(vm1.ip4, vm1.ip6), "the routes at the neighbour")
    assert f"via {ROUTER4}" in fabric.neighbour.route(vm1.ip4)
    for address in (vm1.ip4, vm1.ip6):
        fabric.tor.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address)
    for address in (TOR4, TOR6):
        vm1.ping(address, 3)


def test_only_what_is_a_machines_is_announced(fabric):
    # Neither the host's own addresses, nor other routes of its kernel.
    fabric.lab.router.ip("route", "add", "203.0.113.0/24", "dev", "lo")
    assert fabric.neighbour.has_none(HOST4, HOST6, "203.0.113.0/24")


def test_held_machine_is_announced_when_it_is_let_go(fabric):
    vm2 = fabric.lab.machine(2, announce="hold")
    assert fabric.lab.daemon.port("vm2")["actual"]["announced"] == []
    assert vm2.ip4 not in announced(fabric.lab) and fabric.neighbour.has_none(vm2.ip4, vm2.ip6)
    fabric.lab.apply(vm2, announce="auto")
    until(lambda: fabric.neighbour.has(vm2.ip4, vm2.ip6), "the routes at the neighbour")
    fabric.lab.apply(vm2, announce="withdrawn")
    until(lambda: fabric.neighbour.has_none(vm2.ip4, vm2.ip6), "no routes at the neighbour")


def test_metric_and_delay_order_a_move(fabric):
    """A VM that leaves: first the worse way, then, for a while after it has gone, still a way."""
    lab = fabric.lab
    vm3 = lab.machine(3, withdraw_delay_ms=1500)
    until(lambda: fabric.neighbour.has(vm3.ip4, vm3.ip6), "the routes at the neighbour")
    lab.apply(vm3, withdraw_delay_ms=1500, announce_metric=900)
    assert "metric 900" in lab.router.ip("route", "show", vm3.ip4)
    assert fabric.neighbour.has(vm3.ip4, vm3.ip6)
    lab.daemon.call("port.delete", name="vm3")
    start = time.monotonic()
    assert vm3.ip4 in announced(lab)
    until(lambda: fabric.neighbour.has_none(vm3.ip4, vm3.ip6), "no routes at the neighbour")
    assert time.monotonic() - start > 1


def test_frontend_that_connects_is_at_the_neighbour_soon(fabric, build):
    """From the connection of a VM to its /32 in the neighbour's table, and back. A bound for a loaded machine;
    how long it takes is for the benchmark to say."""
    daemon = fabric.lab.daemon
    daemon.call("port.apply", **port_fields(daemon, 40))
    assert fabric.neighbour.has_none(address4(40), address6(40))
    with Frontend(build, daemon.directory, "echo", "--port", 40) as frontend:
        until(lambda: daemon.port("p40")["actual"]["wired"], "the VM", interval_s=0.001)
        start = time.monotonic()
        until(lambda: fabric.neighbour.has(address4(40), address6(40)), "the routes", interval_s=0.005)
        assert time.monotonic() - start < 2
        frontend.kill()
        until(lambda: fabric.neighbour.has_none(address4(40), address6(40)), "no routes")


def test_host_and_machines_reach_each_other(needs_tap, resources):
    lab = host_lab(resources)
    vm1 = lab.machine(1)
    until(lambda: {vm1.ip4, vm1.ip6} <= announced(lab), "the routes")
    for address in (vm1.ip4, vm1.ip6):
        lab.router.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, address)
    for address in (HOST4, HOST6):
        vm1.ping(address, 3)
    # What is not among host.addresses stays out of reach, though the host has it.
    lab.router.ip("address", "add", "192.0.2.201/32", "dev", "lo")
    vm1.no_ping("192.0.2.201")


def test_machine_that_is_filtered_is_not_reached_by_the_host(needs_tap, resources):
    lab = host_lab(resources)
    vm1 = lab.machine(1, groups=[])
    until(lambda: vm1.ip4 in announced(lab), "the route")
    before = lab.daemon.drops("slash32").get("denied_ingress", 0)
    done = lab.router.run("ping", "-n", "-c", 1, "-W", 0.3, vm1.ip4, check=False)
    assert done.returncode != 0
    assert lab.daemon.drops("slash32").get("denied_ingress", 0) > before, lab.daemon.drops("slash32")


def test_host_takes_no_router_advertisement(needs_tap, resources):
    lab = host_lab(resources)
    assert lab.router.run("cat", "/proc/sys/net/ipv6/conf/slash32/accept_ra").stdout.strip() == "0"


def test_routes_outlive_a_killed_daemon_and_its_restart(needs_tap, resources):
    lab = host_lab(resources, "--host-hold-seconds", 2)
    vm1, vm2 = lab.machine(1), lab.machine(2)
    until(lambda: {vm1.ip4, vm1.ip6, vm2.ip4} <= announced(lab), "the routes")
    monitor = lab.router.start("ip", "monitor", "route")
    lab.daemon.kill()
    assert {vm1.ip4, vm1.ip6, vm2.ip4} <= announced(lab)
    lab.daemon.start()
    lab.daemon.call("port.delete", name="vm2")
    until(lambda: lab.daemon.port("vm1")["actual"].get("announced"), "vm1 announced again")
    until(lambda: vm2.ip4 not in announced(lab), "the end of the hold", 10)
    assert {vm1.ip4, vm1.ip6} <= announced(lab)
    monitor.send_signal(signal.SIGTERM)
    withdrawn = re.findall(r"^Deleted (\S+) dev slash32", monitor.communicate(timeout=10)[0], re.MULTILINE)
    assert vm1.ip4 not in withdrawn and vm1.ip6 not in withdrawn, withdrawn


def test_without_the_option_nothing_is_announced(needs_tap, resources):
    lab = host_lab(resources)
    lab.machine(1)
    until(lambda: announced(lab), "the routes")
    lab.daemon.stop()
    lab.daemon.options = []
    lab.daemon.start()
    until(lambda: "slash32" not in [port["name"] for port in lab.daemon.call("port.list")["ports"]],
          "the host's port gone")
    assert "announced" not in lab.daemon.port("vm1")["actual"]
    until(lambda: "slash32" not in lab.router.ip("-br", "link"), "its interface gone")
    assert announced(lab) == set()


def test_route_of_somebody_else_is_left_alone_and_said(needs_tap, resources):
    lab = host_lab(resources, start=True)
    lab.router.ip("route", "add", "10.0.0.11", "dev", "lo", "metric", 100)
    vm1 = lab.machine(1)
    until(lambda: vm1.ip6 in announced(lab), "the other route")
    assert lab.daemon.port("vm1")["actual"]["announced"] == [vm1.ip6]
    until(lambda: "10.0.0.11" in lab.daemon.log_text(), "a word in the log")
    assert "dev lo" in lab.router.ip("route", "show", "10.0.0.11")
    lab.router.ip("route", "del", "10.0.0.11", "dev", "lo")
    until(lambda: vm1.ip4 in announced(lab), "the route")
    shown = lab.daemon.ctl("port", "show", "vm1").stdout
    assert re.search(rf"announced +{vm1.ip4}, {vm1.ip6}", shown), shown


@pytest.mark.parametrize("option, value, words", [
    ("--host-interface", "a-name-that-is-too-long", "host.interface: must be 1 to 15 characters"),
    ("--host-mac", "01:00:00:00:00:01", "host.mac: must be a unicast MAC address"),
    ("--host-addresses", "10.0.0.300", 'host.addresses: "10.0.0.300" is not an IP address'),
    ("--host-metric", "0", "host.metric: must be from 1 to"),
    ("--host-protocol", "4", "host.protocol: must be from 5 to 255"),
])
def test_bad_options_are_refused(make_daemon, option, value, words):
    with pytest.raises(support.StartFailure) as failure:
        make_daemon(option, value).start()
    assert words in failure.value.stderr
