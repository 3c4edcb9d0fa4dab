# SPDX-License-Identifier: Apache-2.0
"""Hostile frontends: whatever one port does, the daemon lives and the others lose nothing.

Every case of s32-frontend is run but one, "mem-truncated": the memory's file shrinks under the router,
which only a process that shares memory without seals can do, and which no guest can.
"""

import json
import os
import subprocess

import pytest

from support import until
from support.frontend import GATEWAY_MAC, Frontend, add_ports

# What the router says when it takes the port down itself, by case.
REASONS = {
    "tx-loop-self": "corrupt",
    "tx-address-outside": "corrupt",
    "tx-indirect-loop": "corrupt",
    "tx-all-bad": "corrupt",
    "tx-head-out-of-range": "corrupt",
    "mem-size-zero": "memory",
    "mem-size-huge": "memory",
    "mem-size-beyond": "larger than its file",
    "mem-offset-huge": "memory",
    "mem-overlap": "overlap",
    "mem-address-wrap": "wraps",
    "mem-eventfd": "not in a file",
    "mem-read-only": "cannot be mapped",
    "mem-regions-none": "memory",
    "call-pipe-full": "eventfd",
    "call-dead-pipe": "eventfd",
    "queue-pairs-beyond": "queue pairs",
    "inflight-garbage": "in-flight",
    "msg-payload-empty": "payload",
    "kick-file": "kick",
}
GROUPS = ["tx-*", "rx-*", "csum-*", "gso-*", "header-*", "msg-*", "mem-*", "vring-*", "queue-*",
          "kick-*", "call-*", "features-*", "protocol-*", "mtu-*", "owner-*", "base-*", "log-*",
          "inflight-*", "iotlb-*", "postcopy", "rarp", "backend-*", "fresh-*", "reconnect-*", "die-*"]


@pytest.fixture(scope="module")
def daemon(module_resources, build):
    made = module_resources.daemon("--router-mac", GATEWAY_MAC)
    made.start()
    add_ports(made, 3)
    # librte_vhost opens descriptors of its own at its first connection.
    with Frontend(build, made.directory, "stream", "--from", 0, "--to", 1) as stream:
        stream.wait("served")
    return made


def cases(build, directory):
    argv = [build / "tests" / "frontend" / "s32-frontend", "--dir", directory, "hostile", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [json.loads(line)["case"] for line in done.stdout.splitlines()]


def free_buffers(daemon):
    return {pool["name"]: pool["available"] for pool in daemon.call("memory")["pools"]}["packets"]


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def settled(daemon):
    """Nothing is connected: every descriptor and buffer of a frontend should be back."""
    until(lambda: daemon.call("status")["ports"]["waiting"] +
          daemon.call("status")["ports"]["failed"] == 3, "no port is connected")
    return descriptors(daemon)


def test_the_groups_hold_every_case(daemon, build):
    def held(name):
        return any(name == group or group.endswith("*") and name.startswith(group[:-1])
                   for group in GROUPS)

    assert [name for name in cases(build, daemon.directory) if not held(name)] == []


def run_case(daemon, build, name):
    pid = daemon.pid
    with Frontend(build, daemon.directory, "hostile", name, "--count", 3, "--rate", 500,
                  "--observe-ms", 2000 if REASONS.get(name) == "corrupt" else 150) as attack:
        verdict = attack.wait("case", 60)
        assert daemon.running and daemon.pid == pid, f"{name}: the daemon has ended"
        assert "error" not in verdict, verdict
        assert verdict["served_again"], verdict
        assert not verdict["witness_reconnected"], verdict
        assert verdict["stream_lost"] == 0 and verdict["stream_sent"] > 0, verdict


def failure_of(client, name):
    try:
        return client.event("port.failed", 5, port="p0")
    except AssertionError:
        raise AssertionError(f"{name} did not take the port down") from None


@pytest.mark.parametrize("group", GROUPS)
def test_others_are_unharmed(daemon, build, group):
    before = settled(daemon)
    buffers = free_buffers(daemon)
    names = [name for name in cases(build, daemon.directory)
             if (name == group or group.endswith("*") and name.startswith(group[:-1])) and
             name != "mem-truncated"]
    assert names
    for name in names:
        with daemon.rpc() as client:
            client.call("watch")
            run_case(daemon, build, name)
            if name in REASONS:
                failed = failure_of(client, name)
                assert REASONS[name] in failed["reason"], f"{name}: {failed['reason']}"
    settled(daemon)
    until(lambda: descriptors(daemon) <= before,
          lambda: f"{descriptors(daemon) - before} descriptors were left open", 5)
    # A worker's cache holds some of what is free.
    until(lambda: free_buffers(daemon) >= buffers - 512,
          lambda: f"{buffers - free_buffers(daemon)} buffers did not come back")


def test_stalled_message_of_one_frontend_does_not_stop_the_start_of_another(daemon, build):
    # A header whose payload never comes: the thread that serves all connections would wait for it.
    import socket  # pylint: disable=import-outside-toplevel
    import struct  # pylint: disable=import-outside-toplevel

    settled(daemon)
    path = daemon.directory / "vm2.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(5)
        connection = listener.accept()[0]
        connection.sendall(struct.pack("=III", 2, 1, 8))
        with Frontend(build, daemon.directory, "stream", "--from", 0, "--to", 1) as stream:
            stream.wait("served", 5)
        connection.close()
    path.unlink()
