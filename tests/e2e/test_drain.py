# SPDX-License-Identifier: Apache-2.0
"""A host that is taken out of service: its machines' routes go, or become the worse way, and it takes no new ports."""

import pytest
from support import until
from support.rpc import RpcError
from test_announce import announced, host_lab


@pytest.fixture
def lab(needs_tap, resources):
    return host_lab(resources)


def drained(lab):
    return lab.daemon.call("host.status")["drain"]


def test_drained_host_withdraws_and_takes_no_new_port(lab):
    vm1 = lab.machine(1)
    until(lambda: {vm1.ip4, vm1.ip6} <= announced(lab), "the routes")
    status = lab.daemon.call("host.drain")
    assert status["drain"] == "withdraw" and status["announce"]["routes"] == 0
    assert not announced(lab)
    with pytest.raises(RpcError, match="drained"):
        lab.machine(2)
    # What is there can be changed, and goes on.
    lab.apply(vm1, labels={"moving": "yes"})
    vm1.ping("10.0.0.1")
    assert not announced(lab)
    lab.daemon.call("host.undrain")
    until(lambda: {vm1.ip4, vm1.ip6} <= announced(lab), "the routes again")
    lab.apply(lab.machines[2])


def test_drain_that_worsens_never_leaves_a_machine_without_a_route(lab):
    vm1 = lab.machine(1)
    until(lambda: {vm1.ip4, vm1.ip6} <= announced(lab), "the routes")
    lab.daemon.call("host.drain", mode="worsen")
    assert "metric 1000000100" in lab.router.ip("route", "show", vm1.ip4)
    vm2_refused = pytest.raises(RpcError, match="drained")
    with vm2_refused:
        lab.machine(2)
    lab.daemon.call("host.undrain")
    assert "metric 100 " in lab.router.ip("route", "show", vm1.ip4) + " "


def test_drain_outlives_a_restart(lab):
    vm1 = lab.machine(1)
    until(lambda: {vm1.ip4, vm1.ip6} <= announced(lab), "the routes")
    lab.daemon.call("host.drain")
    lab.daemon.restart()
    assert drained(lab) == "withdraw" and not announced(lab)
    lab.daemon.call("host.undrain")
    lab.daemon.restart()
    assert drained(lab) == "none"


def test_command_line(lab):
    assert "none" in lab.daemon.ctl("host", "show").stdout
    assert "new ports are refused" in lab.daemon.ctl("host", "drain").stdout
    assert "worsen" in lab.daemon.ctl("host", "drain", "--worsen").stdout
    assert "drain" in lab.daemon.ctl("host", "undrain").stdout
    assert drained(lab) == "none"
