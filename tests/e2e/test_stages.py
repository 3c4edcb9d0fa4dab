# SPDX-License-Identifier: Apache-2.0
"""Cycle accounting: what the stages of the packet path cost, while it is on and only then."""

PINGS = 300  # each is a burst of a packet, or nearly; so is each answer


def workers(daemon):
    return daemon.call("stats", sections=["workers"])["workers"]


def stages(daemon):
    """{name: (cycles, packets, bursts)}, in the order in which they run, of all workers together."""
    found = {}
    for worker in workers(daemon):
        for stage in worker["stages"]:
            counters = (stage["cycles"], stage["packets"], stage["bursts"])
            found[stage["name"]] = tuple(map(sum, zip(counters, found.get(stage["name"], (0, 0, 0)))))
    return found


def talk(source, target):
    source.ping(target.ip4, PINGS)


def test_stages_are_measured_while_accounting_is_on(lab):
    vm1, vm2 = lab.machine(1), lab.machine(2)
    daemon = lab.daemon
    talk(vm1, vm2)
    assert not any(worker["stages_enabled"] or "stages" in worker for worker in workers(daemon))
    assert "worker stages on" in daemon.ctl("show", "workers", "--stages").stdout

    assert "one burst in 64" in daemon.ctl("worker", "stages", "on").stdout
    talk(vm1, vm2)
    measured = stages(daemon)
    names = list(measured)
    explained = daemon.call("explain", port="vm1", src=vm1.ip4, dst=vm2.ip4, proto="udp", dport=53)
    assert names == ["receive", *(step["stage"] for step in explained["steps"]), "offload",
                     "encapsulate", "transmit"]
    bursts = {of_stage[2] for of_stage in measured.values()}
    assert len(bursts) == 1 and 0 < max(bursts) < PINGS / 8, "a few of the bursts, and whole ones"
    assert all(cycles > 0 for cycles, _, _ in measured.values()), measured
    assert measured["receive"][1] == measured["parse"][1] >= max(bursts)
    table = daemon.ctl("show", "workers", "--stages").stdout
    assert all(name in table for name in names) and "is off" not in table

    assert "is off" in daemon.ctl("worker", "stages", "off").stdout
    measured = stages(daemon)
    talk(vm1, vm2)
    assert stages(daemon) == measured
    assert "is off" in daemon.ctl("show", "workers", "--stages").stdout


def test_restarted_daemon_measures_nothing(lab):
    lab.daemon.call("worker.stages", enabled=True)
    lab.daemon.stop()
    lab.daemon.start()
    assert not any(worker["stages_enabled"] for worker in workers(lab.daemon))
