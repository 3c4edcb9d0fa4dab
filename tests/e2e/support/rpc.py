# SPDX-License-Identifier: Apache-2.0
"""A client of the control socket that holds every request and answer to docs/schema."""

import collections
import json
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "protocol"))
from protocol_schema import Schemas  # noqa: E402

SCHEMAS = Schemas()


class RpcError(Exception):
    """An error answer: code, kind, path (None if no single field is at fault), message."""

    def __init__(self, error):
        super().__init__(f"{error['code']} {error['data']['kind']} at {error['data'].get('path')}: "
                         f"{error['message']}")
        self.code = error["code"]
        self.kind = error["data"]["kind"]
        self.path = error["data"].get("path")
        self.message = error["message"]


class Closed(Exception):
    """The daemon closed the connection."""


class RpcClient:
    """One connection. Not for use by several threads."""

    def __init__(self, path, timeout_s=15.0):
        self.timeout_s = timeout_s
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(path))
        self.notifications = collections.deque()
        self._answers = {}
        self._buffer = bytearray()
        self._next_id = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # Requests.

    def call(self, method, check_params=True, **params):
        """The result, or raises RpcError. check_params=False: the request is wrong on purpose."""
        return self.result(method, self.begin(method, check_params, **params))

    def begin(self, method, check_params=True, **params):
        """Sends a request without waiting. Returns its id."""
        if check_params:
            SCHEMAS.check(method, "params", params)
        number = self._next_id
        self._next_id += 1
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return number

    def result(self, method, number):
        """Waits for the answer to a request begun before."""
        answer = self.answer(number)
        if "error" in answer:
            raise RpcError(answer["error"])
        SCHEMAS.check(method, "result", answer["result"])
        return answer["result"]

    def answer(self, number):
        """The whole answer with this id; notifications before it are kept."""
        while number not in self._answers:
            self._take(self.receive())
            if None in self._answers and number is not None:
                raise RpcError(self._answers.pop(None)["error"])  # refused, or framing lost
        return self._answers.pop(number)

    def send(self, value):
        self.send_frame(json.dumps(value).encode())

    def send_frame(self, payload):
        try:
            self.socket.sendall(struct.pack(">I", len(payload)) + payload)
        except BrokenPipeError:
            pass  # a refused client learns why by reading

    # Notifications.

    def notification(self, wanted, what="a notification", timeout_s=None):
        """The first notification for which wanted(method, params) holds; the others are dropped."""
        deadline = time.monotonic() + (timeout_s or self.timeout_s)
        while True:
            while self.notifications:
                method, params = self.notifications.popleft()
                if wanted(method, params):
                    return params
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{what} did not come")
            try:
                self._take(self.receive(left))
            except socket.timeout:
                raise AssertionError(f"{what} did not come") from None

    def event(self, event_type, timeout_s=None, **members):
        """The next event of a type whose members are as given; the others are dropped."""
        return self.notification(
            lambda method, params: method == "event" and params["type"] == event_type and
            all(params.get(name) == value for name, value in members.items()),
            f"event {event_type} {members}", timeout_s)

    # Frames.

    def receive(self, timeout_s=None):
        """The next frame as JSON. A time-out in the middle of a frame loses nothing."""
        self.socket.settimeout(timeout_s or self.timeout_s)
        while True:
            if len(self._buffer) >= 4:
                end = 4 + struct.unpack_from(">I", self._buffer)[0]
                if len(self._buffer) >= end:
                    payload = bytes(self._buffer[4:end])
                    del self._buffer[:end]
                    return json.loads(payload)
            data = self.socket.recv(1 << 16)
            if not data:
                raise Closed("the daemon closed the connection")
            self._buffer += data

    def _take(self, message):
        assert message["jsonrpc"] == "2.0"
        if "method" in message:
            SCHEMAS.check(message["method"], "params", message["params"])
            self.notifications.append((message["method"], message["params"]))
            return
        if "error" in message:
            SCHEMAS.check_error(message["error"])
        self._answers[message["id"]] = message
