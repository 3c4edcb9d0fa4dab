# SPDX-License-Identifier: Apache-2.0
"""Frames, peers and limits of the control socket, on the daemon itself."""

import json
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest
from support import Closed, RpcError, until
from support.rpc import SCHEMAS

NOBODY = 65534
VM = {"name": "vm1", "mac": "52:54:00:00:00:01", "socket": "/tmp/s32e-none/vm1.sock"}


def request(method="hello", number=1, **more):
    return {"jsonrpc": "2.0", "id": number, "method": method, **more}


# What is sent, the error's kind, its path, and the answer's id.
MALFORMED = {
    "not_json": (b"{", "parse", None, None),
    "not_utf8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', "parse", None, None),
    "empty_text": (b" ", "parse", None, None),
    "two_values": (b"{}{}", "parse", None, None),
    "too_deep": (b"[" * 40 + b"]" * 40, "parse", None, None),
    "member_twice": (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"hello"}', "parse", None, None),
    "member_twice_inside": (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"a":1,"a":2}}',
                            "parse", None, None),
    "array": (b"[]", "request", None, None),
    "batch": (b'[{"jsonrpc":"2.0","id":1,"method":"hello"}]', "request", None, None),
    "number": (b"7", "request", None, None),
    "no_version": (b'{"id":1,"method":"hello"}', "request", "$.jsonrpc", 1),
    "old_version": (b'{"jsonrpc":"1.0","id":1,"method":"hello"}', "request", "$.jsonrpc", 1),
    "no_id": (b'{"jsonrpc":"2.0","method":"hello"}', "request", "$.id", None),
    "null_id": (b'{"jsonrpc":"2.0","id":null,"method":"hello"}', "request", "$.id", None),
    "real_id": (b'{"jsonrpc":"2.0","id":1.5,"method":"hello"}', "request", "$.id", None),
    "long_id": (json.dumps(request(number="x" * 129)).encode(), "request", "$.id", None),
    "no_method": (b'{"jsonrpc":"2.0","id":1}', "request", "$.method", 1),
    "method_a_number": (b'{"jsonrpc":"2.0","id":1,"method":3}', "request", "$.method", 1),
    "unknown_member": (json.dumps(request(extra=1)).encode(), "request", "$.extra", 1),
    "params_an_array": (json.dumps(request(params=[])).encode(), "request", "$.params", 1),
    "unknown_method": (json.dumps(request("port.destroy")).encode(), "method", "$.method", 1),
    "unknown_field": (json.dumps(request("port.apply", params={**VM, "colour": "red"})).encode(),
                      "invalid", "$.params.colour", 1),
    "unknown_field_inside": (json.dumps(request("port.apply", params={
        **VM, "allowed_pairs": [{"prefix": "10.0.0.0/8"}, {"prefix": "10.0.0.1", "x": 1}]})).encode(),
        "invalid", "$.params.allowed_pairs[1].x", 1),
    "missing_field": (json.dumps(request("port.apply", params={"name": "vm1"})).encode(),
                      "invalid", None, 1),
    "wrong_type": (json.dumps(request("port.apply", params={**VM, "mtu": "1500"})).encode(),
                   "invalid", "$.params.mtu", 1),
    "out_of_range": (json.dumps(request("port.apply", params={**VM, "vrf": 4096})).encode(),
                     "invalid", "$.params.vrf", 1),
    "bad_address": (json.dumps(request("port.apply", params={
        **VM, "addresses": ["10.0.0.1", "10.0.0.256"]})).encode(),
        "invalid", "$.params.addresses[1]", 1),
    "host_bits": (json.dumps(request("route.apply", params={"routes": [
        {"prefixes": ["10.0.0.0/8", "10.0.0.1/8"], "next_hop": {"blackhole": True}}]})).encode(),
        "invalid", "$.params.routes[0].prefixes[1]", 1),
    "multicast_mac": (json.dumps(request("port.apply", params={
        **VM, "mac": "01:00:5e:00:00:01"})).encode(), "invalid", "$.params.mac", 1),
    "real_number": (json.dumps(request("port.apply", params={**VM, "mtu": 1500.5})).encode(),
                    "invalid", "$.params.mtu", 1),
    "huge_number": (b'{"jsonrpc":"2.0","id":1,"method":"watch","params":{"since":1e400}}',
                    None, None, None),
}


@pytest.fixture(scope="module")
def shared(module_resources):
    made = module_resources.daemon()
    made.start()
    return made


def answer_of(client):
    message = client.receive()
    assert "error" in message, message
    SCHEMAS.check_error(message["error"])
    return message


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_request_is_an_error_and_keeps_the_connection(shared, case):
    payload, kind, path, number = MALFORMED[case]
    before = shared.call("status")["revision"]
    with shared.rpc() as client:
        client.send_frame(payload)
        message = answer_of(client)
        if kind is not None:
            assert message["error"]["data"]["kind"] == kind, message
            assert message.get("id") == number, message
        if path is not None:
            assert message["error"]["data"].get("path") == path, message
        assert client.call("hello")["api_version"] == 1
    status = shared.call("status")
    assert status["revision"] == before and status["ports"]["total"] == 0


@pytest.mark.parametrize("length", [0, (16 << 20) + 1, 0xffffffff])
def test_lost_framing_is_said_and_closed(shared, length):
    with shared.rpc() as client:
        client.socket.sendall(struct.pack(">I", length) + b"xxxx")
        message = answer_of(client)
        assert message["id"] is None and message["error"]["data"]["kind"] == "request"
        with pytest.raises((Closed, ConnectionResetError)):
            client.receive()
    assert shared.call("hello")


def test_frame_at_the_limit_is_read(shared):
    limit = shared.call("hello")["frame_bytes_max"]
    with shared.rpc() as client:
        text = json.dumps(request()).encode()
        client.send_frame(text + b" " * (limit - len(text)))
        assert client.answer(1)["result"]["api_version"] == 1


def test_half_a_frame_and_a_hang_up_harm_nobody(shared):
    for part in (b"\0", b"\0\0\0\x40", b"\0\0\0\x40{\"json"):
        with shared.rpc() as client:
            client.socket.sendall(part)
    assert shared.call("hello")


def test_frame_that_comes_byte_by_byte_is_read(shared):
    with shared.rpc() as client:
        body = json.dumps(request()).encode()
        for byte in struct.pack(">I", len(body)) + body:
            client.socket.send(bytes([byte]))
        assert client.answer(1)["result"]["api_version"] == 1


def test_pipelined_requests_are_all_answered(shared):
    with shared.rpc() as client:
        numbers = [client.begin("status") for _ in range(300)]  # beyond the 64 outstanding
        for number in reversed(numbers):
            assert client.result("status", number)["instance"]


def test_hello_and_pinned_instance(shared):
    with shared.rpc() as client:
        hello = client.call("hello", client="a test")
        assert len(hello["instance"]) == 16 and hello["pid"] == shared.pid
        assert client.call("status", instance=hello["instance"])["instance"] == hello["instance"]
        with pytest.raises(RpcError) as failure:
            client.call("port.apply", **VM, instance="0" * 16)
        assert failure.value.kind == "wrong_instance" and failure.value.code == 8
        assert failure.value.path == "$.params.instance"
        assert client.call("port.list")["ports"] == []


def test_instance_changes_with_a_restart(make_daemon):
    daemon = make_daemon()
    daemon.start()
    first = daemon.call("hello")["instance"]
    daemon.restart()
    assert daemon.call("hello")["instance"] != first


# Peers.

PEER = """
import sys
sys.path.insert(0, {here!r})
from support import RpcClient, RpcError, Closed
def attempt(method, **params):
    try:
        return "ok " + str(sorted(client.call(method, **params)))
    except RpcError as error:
        return error.kind
try:
    client = RpcClient({path!r})
    hello = client.call("hello")
    print(hello["read_only"], hello["frame_bytes_max"])
    print(attempt("port.list").split()[0])
    print(attempt("log.set", level="info").split()[0])
except RpcError as error:
    print("refused", error.kind)
except (Closed, OSError) as error:
    print("closed", type(error).__name__)
"""


def as_nobody(daemon):
    """What a peer with nobody's uid and gid sees, line by line."""
    child = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(child[1], 1)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.execv("/usr/bin/python3", ["python3", "-c", PEER.format(
                here=str(Path(__file__).resolve().parent), path=str(daemon.socket))])
        finally:
            os._exit(1)
    os.close(child[1])
    with os.fdopen(child[0]) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text.splitlines()


@pytest.fixture
def open_daemon(needs_root, make_daemon):
    """make(flags): a daemon whose socket every process may connect to."""
    def make(*flags):
        made = make_daemon("--socket-mode", "0666", *flags)
        made.start()
        return made
    return make


def test_peer_in_no_list_is_refused(open_daemon):
    assert as_nobody(open_daemon()) == ["refused forbidden"]


@pytest.mark.parametrize("flag", ["--socket-read-only-uids", "--socket-read-only-gids"])
def test_read_only_peer_may_look_only(open_daemon, flag):
    lines = as_nobody(open_daemon(flag, NOBODY))
    assert lines == ["True 65536", "ok", "forbidden"]


@pytest.mark.parametrize("flag", ["--socket-read-write-uids", "--socket-read-write-gids"])
def test_read_write_peer_may_do_all(open_daemon, flag):
    lines = as_nobody(open_daemon(flag, NOBODY))
    assert lines[0].startswith("False") and lines[1:] == ["ok", "ok"]


def test_slash32ctl_says_that_a_peer_may_not_connect(open_daemon):
    daemon = open_daemon()
    argv = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
            str(daemon.ctl_program), "-s", str(daemon.socket), "status"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0 and "may not" in done.stderr, done.stderr


def test_mode_of_the_socket_keeps_others_out(needs_root, daemon):
    assert as_nobody(daemon) == ["closed PermissionError"]
    assert daemon.socket.stat().st_mode & 0o777 == 0o660


# Limits.

def test_one_client_too_many_is_told_so(make_daemon):
    daemon = make_daemon("--socket-max-clients", 3)
    daemon.start()
    # The one that waited for the start may still be on its way out.
    clients = []
    until(lambda: clients.append(daemon.rpc()) or try_hello(clients), "three clients")
    with daemon.rpc() as fourth:
        message = answer_of(fourth)
        assert message["error"]["data"]["kind"] == "limit"
        with pytest.raises((Closed, ConnectionResetError)):
            fourth.receive()
    clients.pop().close()
    until(lambda: try_one(daemon), "room for one more")
    for client in clients:
        assert client.call("hello")
        client.close()


def try_hello(clients):
    """Whether there are three clients that are served; drops the last if it is not."""
    try:
        clients[-1].call("hello")
    except (RpcError, Closed, OSError, KeyError):
        clients.pop().close()
    return len(clients) == 3


def try_one(daemon):
    with daemon.rpc() as client:
        try:
            return client.call("hello")
        except (RpcError, Closed, OSError, AssertionError):
            return None


def test_client_that_reads_nothing_stalls_nobody(daemon):
    for number in range(200):
        daemon.call("port.apply", name=f"vm{number}", mac=f"52:54:00:00:01:{number:02x}",
                    socket=f"{daemon.directory}/vm{number}.sock", labels={"project": "p" * 200})
    rss = daemon.call("memory")["rss_bytes"]
    slow = daemon.rpc()
    slow.socket.setblocking(False)
    payload = json.dumps(request("port.list", params={"limit": 200})).encode()
    frame = struct.pack(">I", len(payload)) + payload
    try:
        while True:  # until its requests are no longer read
            slow.socket.send(frame)
    except BlockingIOError:
        pass
    took = []
    for _ in range(50):
        begin = time.monotonic()
        daemon.call("hello")
        took.append(time.monotonic() - begin)
    assert sorted(took)[45] < 0.5
    assert daemon.call("memory")["rss_bytes"] - rss < 64 << 20
    slow.close()
    assert daemon.call("port.list", limit=1)["ports"]


def test_slow_watcher_is_told_what_it_lost(daemon):
    watcher = daemon.rpc()
    watcher.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    watcher.call("watch")
    with daemon.rpc() as client:
        port = {**VM, "socket": f"{daemon.directory}/vm1.sock"}
        labels = {f"label{n}": "x" * 255 for n in range(32)}
        # 32 labels of 255 bytes, twice in an event: 8 MiB of output is some 500 events.
        for turn in range(1500):
            if turn >= 64:
                client.answer(turn - 63)
            client.begin("port.apply", **port, mtu=1280 + turn, labels=labels)
        for turn in range(1437, 1501):
            client.answer(turn)
    lost = watcher.notification(lambda _, p: p["type"] == "lost", "lost", 20)
    assert lost["since"] < lost["seq"]
    daemon.call("port.delete", name="vm1")
    assert watcher.event("port.removed", port="vm1")["seq"] > lost["seq"]
    watcher.close()


def test_clients_come_and_go_without_leaving_anything(daemon):
    def descriptors():
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    daemon.call("hello")
    before = descriptors()
    for turn in range(300):
        with daemon.rpc() as client:
            if turn % 3 == 0:
                client.call("watch")
            elif turn % 3 == 1:
                client.send(request("status"))  # gone before the answer
    until(lambda: descriptors() <= before, lambda: f"{before} descriptors, not {descriptors()}", 5)
