# SPDX-License-Identifier: Apache-2.0
"""vhost-user ports: how they connect, what they negotiate, and what they cost when idle."""

import os
import socket
import time
from pathlib import Path

import pytest

from support import until
from support.frontend import GATEWAY_MAC, Frontend, add_ports, address4, ping, port_fields

# The strict figure, 200 ms, is a row of the benchmarks; a machine that runs tests may be busy.
SERVED_MS_MAX = 3000


@pytest.fixture
def daemon(resources):
    made = resources.daemon("--router-mac", GATEWAY_MAC)
    made.start()
    return made


def state(daemon, name="p0"):
    return daemon.port(name)["actual"]["state"]


def wait_state(daemon, wanted, name="p0", timeout_s=10.0):
    until(lambda: state(daemon, name) == wanted, lambda: f"{wanted}: {daemon.port(name)}", timeout_s)


def test_port_waits_for_its_socket_is_wired_before_its_rings_then_runs(daemon, build):
    with daemon.rpc() as client:
        client.call("watch")
        reply = client.call("port.apply", **port_fields(daemon, 0))
        assert reply["programmed"]
        path = str(daemon.directory / "vm0.sock")
        actual = daemon.port("p0")["actual"]
        assert actual["state"] == "waiting"
        assert path in actual["reason"]

        # QEMU with its guest paused: it accepts, and says nothing.
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listener.settimeout(5)
        connection = listener.accept()[0]
        client.event("port.connected", port="p0")
        client.event("port.wired", port="p0")
        actual = daemon.port("p0")["actual"]
        assert (actual["state"], actual["wired"]) == ("connected", True)
        connection.close()
        listener.close()
        os.unlink(path)
        client.event("port.disconnected", port="p0")

        with Frontend(build, daemon.directory, "echo", "--port", 0):
            client.event("port.connected", port="p0")
            client.event("port.rings_ready", port="p0", queues=1)
            assert state(daemon) == "running"


def test_frontend_is_served_soon_after_it_appears_and_after_it_comes_back(daemon, build):
    add_ports(daemon, 2)
    time.sleep(0.5)  # nobody polls: the appearance itself is noticed
    for _ in range(2):
        with Frontend(build, daemon.directory, "stream", "--from", 0, "--to", 1) as stream:
            served = stream.wait("served")
            assert served["after_running_ms"] < SERVED_MS_MAX
            stream.finish()
        wait_state(daemon, "waiting", "p0")
        wait_state(daemon, "waiting", "p1")


def test_server_mode(daemon, build):
    add_ports(daemon, 2, socket_mode="server")
    path = daemon.directory / "vm0.sock"
    until(path.is_socket, "the daemon listens")
    for _ in range(2):
        with Frontend(build, daemon.directory, "--client", "echo", "--port", 1):
            wait_state(daemon, "running", "p1")
            done = ping(build, daemon.directory, 0, address4(1), "--client")
            assert done.returncode == 0, done.stdout
        wait_state(daemon, "waiting", "p1")
    daemon.call("port.delete", name="p0")
    until(lambda: not path.exists(), "the socket is removed with its port")


@pytest.mark.parametrize("pairs", [1, 2, 8])
def test_queue_pairs(daemon, build, pairs):
    add_ports(daemon, 2, queues=pairs)
    with daemon.rpc() as client:
        client.call("watch")
        with Frontend(build, daemon.directory, "--queue-pairs", pairs, "echo", "--port", 1):
            until(lambda: daemon.port("p1")["actual"].get("queues") == pairs,
                  lambda: f"{pairs} queue pairs: {daemon.port('p1')}")
            done = ping(build, daemon.directory, 0, address4(1), "--queue-pairs", pairs)
            assert done.returncode == 0, done.stdout


def test_frontend_with_more_queue_pairs_than_the_port_takes_the_port_down(daemon, build):
    add_ports(daemon, 1, queues=2)
    with Frontend(build, daemon.directory, "--queue-pairs", 4, "echo", "--port", 0):
        wait_state(daemon, "failed")
        assert "queue pairs" in daemon.port("p0")["actual"]["reason"]
    # And it comes back with a frontend that fits.
    with Frontend(build, daemon.directory, "--queue-pairs", 2, "echo", "--port", 0):
        wait_state(daemon, "running")


@pytest.mark.parametrize("option", ["--no-mergeable", "--no-indirect", "--no-event-index",
                                    "--offloads"])
def test_feature_subsets(daemon, build, option):
    add_ports(daemon, 2)
    with Frontend(build, daemon.directory, option, "stream", "--from", 0, "--to", 1, "--rate", 500,
                  "--bytes", 1500, "--duration", 1) as stream:
        final = stream.wait("final")
        assert (final["lost"], final["duplicated"], final["malformed"]) == (0, 0, 0), final
        assert final["arrived"] > 100


def test_mtu_of_the_frontend(daemon, build):
    add_ports(daemon, 2, mtu=9000)
    with Frontend(build, daemon.directory, "--mtu", 9000, "stream", "--from", 0, "--to", 1,
                  "--rate", 200, "--bytes", 8900, "--duration", 1) as stream:
        final = stream.wait("final")
        assert final["lost"] == 0 and final["arrived"] > 50, final


def test_idle_ports_cost_nothing(daemon, build):
    add_ports(daemon, 10)
    # Connected and quiet, after one round.
    with Frontend(build, daemon.directory, "scale", "--count", 10) as fleet:
        assert fleet.wait("round")["ok"]

        def cpu_s():
            fields = Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        time.sleep(0.5)
        before = cpu_s()
        time.sleep(3)
        assert cpu_s() - before < 3 * 0.15
        workers = daemon.call("stats", sections=["workers"])["workers"]
        assert {worker["state"] for worker in workers} == {"asleep"}
