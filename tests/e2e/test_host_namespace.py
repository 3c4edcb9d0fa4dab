# SPDX-License-Identifier: Apache-2.0
"""The host's interfaces and routes in a network namespace of their own, apart from the daemon's."""

import pytest
from support import StartFailure, until
from support.fabric import FAR4, FAR6, HOST4, TOR4, TOR6, Fabric
from support.wire import Stream


@pytest.fixture(scope="module")
def fabric(needs_tap, module_resources):
    made = Fabric(module_resources, "--host-interface", "slash32", host=module_resources.namespace("fabric"))
    made.default_routes(0, 1)
    return made


@pytest.fixture(scope="module")
def vm1(fabric):
    return fabric.lab.machine(1)


def test_interfaces_are_there_and_nowhere_else(fabric):
    there, home = (namespace.ip("-br", "link") for namespace in (fabric.host, fabric.lab.router))
    for name in ("up0", "up1", "slash32"):
        assert name in there and name not in home
    assert "wire0" in home and "wire0" not in there


@pytest.mark.parametrize("far", [TOR4[0], TOR6[1]])
def test_host_is_that_namespace(fabric, far):
    fabric.host.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, far)


@pytest.mark.parametrize("far", [FAR4, FAR6])
def test_machine_follows_the_routes_there(fabric, vm1, far):
    vm1.ping(far, 3)


def test_routes_of_machines_are_announced_there(fabric, vm1):
    until(lambda: vm1.ip4 in fabric.host.ip("route", "show", "proto", 132), "the VM's route", 5)
    assert vm1.ip4 not in fabric.lab.router.ip("route")


def test_machine_that_comes_later_is_at_home(fabric):
    vm2 = fabric.lab.machine(2, attach=False)
    assert vm2.port in fabric.lab.router.ip("-br", "link") and vm2.port not in fabric.host.ip("-br", "link")
    vm2.attach()
    vm2.ping(FAR4, 2)


def test_killed_and_started_again_it_is_all_there(fabric, vm1):
    before = fabric.host.ip("-o", "link", "show", "up0").split(":")[0]
    with Stream(vm1, fabric.tors[0], TOR4[0], port=7001) as stream:
        fabric.lab.daemon.restart()
        fabric.lab.attach_all()
        stream.pass_packets(50)
    assert fabric.host.ip("-o", "link", "show", "up0").split(":")[0] == before
    assert HOST4[0] in fabric.host.ip("address", "show", "dev", "up0")


@pytest.mark.parametrize("name, wanted", [("s32-nowhere", "s32-nowhere"), ("../run/netns/x", "no name")])
def test_namespace_that_is_not_there_is_refused(resources, name, wanted):
    with pytest.raises(StartFailure) as failure:
        resources.daemon("--host-namespace", name).start()
    assert "host.namespace" in str(failure.value) and wanted in str(failure.value)
