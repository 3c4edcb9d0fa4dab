# SPDX-License-Identifier: Apache-2.0
"""A hypervisor in a fabric of BGP routers: two neighbours, a spine, FRR everywhere or BIRD everywhere. What is
done to links and daemons, and what the traffic of a machine sees of it."""

import time

import pytest
from support import until
from support.fabric import FAR4, FAR6, TOR6, BgpFabric
from support.routing import Bird, Frr
from support.wire import Stream


@pytest.fixture(scope="module", params=[Frr, Bird], ids=["frr", "bird"])
def fabric(request, needs_tap, module_resources):
    return BgpFabric(module_resources, request.param)


@pytest.fixture(scope="module")
def vm1(fabric):
    made = fabric.lab.machine(1)
    fabric.reaches(made)
    return made


def to_far(fabric, vm1, **options):
    return Stream(vm1, fabric.spine, FAR4, **options)


def test_machine_and_the_world_reach_each_other(fabric, vm1):
    for address in (FAR4, FAR6):
        vm1.ping(address, 3)
    for address in (vm1.ip4, vm1.ip6):
        fabric.spine.run("ping", "-I", FAR6 if ":" in address else FAR4, "-n", "-c", 3, "-i", 0.05, "-W", 3, address)


def test_machine_that_goes_is_withdrawn_everywhere(fabric, vm1):
    vm2 = fabric.lab.machine(2)
    fabric.reaches(vm2)
    fabric.lab.daemon.call("port.delete", name="vm2")
    until(lambda: fabric.spine_bgp.has_none(vm2.ip4, vm2.ip6), "no routes at the spine", 10)


def test_routing_daemon_that_dies_takes_nothing_along(fabric, vm1):
    with to_far(fabric, vm1) as stream:
        fabric.bgp.kill()
        stream.pass_packets(300)
        assert stream.stop() == 0
    fabric.bgp.start()
    fabric.settle()
    fabric.reaches(vm1)


def test_neighbour_is_taken_out_without_a_loss(fabric, vm1):
    """Drained by BGP, then its link set down: maintenance of a top-of-rack switch."""
    with to_far(fabric, vm1) as stream:
        fabric.tor_bgp[0].drain()
        until(lambda: not fabric.host_way(0, FAR4), "no way by up0", 10)
        until(lambda: "dev eth0" not in fabric.spine_bgp.route(vm1.ip4), "no way back by tor0", 10)
        stream.pass_packets(100)
        fabric.tors[0].ip("link", "set", "eth0", "down")
        until(lambda: fabric.lab.daemon.port("up0")["actual"]["state"] == "waiting", "the link down", 5)
        stream.pass_packets(200)
        assert stream.stop() == 0
    restore(fabric, vm1)


def restore(fabric, vm1):
    """Puts the first neighbour back into service."""
    fabric.tors[0].ip("link", "set", "eth0", "up")
    fabric.tors[0].ip("address", "replace", f"{TOR6[0]}/127", "dev", "eth0", "nodad")
    fabric.tor_bgp[0].kill()
    fabric.tor_bgp[0].start()
    until(lambda: fabric.lab.daemon.port("up0")["actual"]["state"] == "running", "the link up", 5)
    fabric.settle()
    fabric.reaches(vm1)


def test_link_that_is_cut_costs_no_more_than_its_detection(fabric, vm1):
    """Sudden: what is on the way is lost, and what is sent until the link is seen to be down."""
    with to_far(fabric, vm1) as stream:
        fabric.tors[0].ip("link", "set", "eth0", "down")
        stream.pass_packets(500)
        lost = stream.stop()
    # A packet a millisecond, on a loaded machine; how long it takes is for the benchmark to say.
    assert lost < 200
    until(lambda: vm1.ping(FAR4, check=False), "an answer by the way that is left", 10)
    restore(fabric, vm1)


def test_killed_router_keeps_the_sessions_and_comes_back(fabric, vm1):
    daemon = fabric.lab.daemon
    before = fabric.bgp.marks()
    daemon.kill()
    assert "LOWER_UP" in fabric.host.ip("-o", "link", "show", "up0")
    assert "LOWER_UP" in fabric.host.ip("-o", "link", "show", "slash32")
    time.sleep(1)
    assert fabric.bgp.established() and fabric.spine_bgp.has(vm1.ip4)
    daemon.start()
    fabric.lab.apply(vm1)
    vm1.attach()
    vm1.ping(FAR4, 3)
    vm1.ping(FAR6, 3)
    assert all(s.established() for s in fabric.speakers)
    assert fabric.spine_bgp.has(vm1.ip4, vm1.ip6)
    assert fabric.bgp.marks() == before, "a session was lost"


def test_stopped_and_started_router_keeps_the_sessions(fabric, vm1):
    daemon = fabric.lab.daemon
    before = fabric.bgp.marks()
    daemon.stop()
    daemon.start()
    fabric.lab.apply(vm1)
    vm1.attach()
    vm1.ping(FAR4, 3)
    assert fabric.bgp.marks() == before, "a session was lost"


@pytest.mark.parametrize("kind", [Frr, Bird], ids=["frr", "bird"])
def test_machine_moves_to_another_hypervisor(needs_tap, resources, kind):
    """With its MAC and address. Two hypervisors, who meet only in the fabric."""
    fabric = BgpFabric(resources, kind, hypervisors=2)
    here, there = fabric.hypervisors
    vm1, vm2 = here.lab.machine(1), there.lab.machine(2)
    fabric.reaches(vm1)
    fabric.reaches(vm2)
    for address in (vm2.ip4, vm2.ip6):
        vm1.ping(address, 3)
    here.lab.daemon.call("port.delete", name=vm1.port)
    vm1.lab = there.lab
    there.lab.apply(vm1)
    vm1.attach()
    for address in (vm2.ip4, vm2.ip6):
        vm1.ping(address, 3)
    # Until then answers may still be on their way to where it was.
    until(lambda: all(f"via {there.links[i][0]} " in fabric.tor_bgp[i].route(vm1.ip4) for i in (0, 1)),
          lambda: f"the new way at both neighbours: {[s.route(vm1.ip4) for s in fabric.tor_bgp]}", 30)
    fabric.reaches(vm1)
    vm1.ping(FAR4, 3)
    # What still comes to the first is sent on by the fabric's route.
    vm3 = here.lab.machine(3)
    fabric.reaches(vm3)
    until(lambda: "via" in here.host.ip("route", "show", vm1.ip4), "the fabric's route", 10)
    vm3.ping(vm1.ip4, 3)
    fabric.spine.run("ping", "-I", FAR4, "-n", "-c", 3, "-i", 0.05, "-W", 3, vm1.ip4)
