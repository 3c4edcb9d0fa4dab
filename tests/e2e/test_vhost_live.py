# SPDX-License-Identifier: Apache-2.0
"""vhost-user ports while things change: ports come and go, the daemon is killed, 1,000 ports."""

import pytest

from support import until
from support.frontend import GATEWAY_MAC, Frontend, add_ports, port_fields

# Rings that hold a second of the stream, so that a busy machine is no reason for loss.
DEEP = ("--ring-size", 1024)


@pytest.fixture
def daemon(resources):
    made = resources.daemon("--router-mac", GATEWAY_MAC)
    made.start()
    return made


def test_ports_come_and_go_and_a_stream_loses_nothing(daemon, build):
    add_ports(daemon, 2)
    with Frontend(build, daemon.directory, *DEEP, "stream", "--from", 0, "--to", 1,
                  "--rate", 1000) as stream:
        stream.wait("served")
        for _ in range(5):
            add_ports(daemon, 4, first=10)
            with Frontend(build, daemon.directory, "stream", "--from", 10, "--to", 11,
                          "--rate", 1000) as other:
                other.wait("served")
                before = stream.ask("report", "report")["arrived"]
                until(lambda: stream.ask("report", "report")["arrived"] > before + 20, "the stream", 10)
                # Under traffic, and with the frontend there.
                for i in range(10, 14):
                    daemon.call("port.delete", name=f"p{i}")
        final = stream.ask("quit", "final")
        assert (final["lost"], final["duplicated"], final["waiting"]) == (0, 0, 0), final


def test_stream_goes_on_after_a_kill_with_no_client(daemon, build):
    add_ports(daemon, 2)
    with Frontend(build, daemon.directory, *DEEP, "stream", "--from", 0, "--to", 1,
                  "--rate", 1000) as stream:
        stream.wait("served")
        daemon.restart()
        stream.wait("served")
        report = stream.ask("mark", "mark")
        # What a killed backend had read may be lost or come twice; what waited in the ring is lost if
        # the sender is served before the receiver. At most a ring of either.
        assert report["lost"] <= 1024 and report["duplicated"] <= 1024, report
        lost = report["lost"]
        final = stream.ask("quit", "final")
        assert final["lost"] <= lost, final
        port = daemon.port("p0")
        assert port["actual"]["stale"]


def test_a_thousand_ports_and_again_after_a_kill(daemon, build):
    count = 1000
    add_ports(daemon, count)
    with Frontend(build, daemon.directory, "--wait-ms", 120000, "scale", "--count", count,
                  "--packets", 5, "--timeout-ms", 20000) as fleet:
        for restart in (False, True):
            if restart:
                daemon.restart()
                assert fleet.ask("probe", "probe", 120)["ok"]
                fleet.send("go")
            done = fleet.wait("round", 180)
            assert done["ok"], done
            assert (done["lost"], done["duplicated"], done["misrouted"]) == (0, 0, 0), done
            until(lambda: daemon.call("status")["ports"].get("running") == count,
                  lambda: str(daemon.call("status")["ports"]), 30)


def test_port_changed_under_traffic(daemon, build):
    add_ports(daemon, 3)
    with Frontend(build, daemon.directory, *DEEP, "stream", "--from", 0, "--to", 1,
                  "--rate", 1000) as stream:
        stream.wait("served")
        for i in range(10):
            daemon.call("port.apply", **port_fields(daemon, 2, labels={"round": str(i)}))
            daemon.call("port.apply", **port_fields(
                daemon, 0, allowed_pairs=[{"prefix": f"192.0.2.{i}"}]))
        final = stream.ask("quit", "final")
        assert (final["lost"], final["duplicated"]) == (0, 0), final
        assert final["connections"] == 2, "a change of policy needs no new connection"
