# SPDX-License-Identifier: Apache-2.0
"""A client of the control socket (docs/protocol.md) whose own cost stays small: frames can be built
before the clock starts, and sent without waiting for the replies to the earlier ones."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any, Sequence

from .processes import BenchError


def frame(method: str, params: dict[str, Any], number: int) -> bytes:
    """A request as it goes over the socket."""
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params},
                      separators=(",", ":")).encode()
    return struct.pack(">I", len(body)) + body


class Control:
    """One connection."""

    def __init__(self, path: Path, seconds: float = 60) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._buffer = bytearray()
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def _receive(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self._socket.recv(1 << 20)
            except TimeoutError as error:
                raise BenchError("slash32d does not answer") from error
            except OSError as error:
                raise BenchError(f"the control socket: {error}") from error
            if not data:
                raise BenchError("slash32d closed the control socket")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _reply(self) -> bytes:
        return self._receive(struct.unpack(">I", self._receive(4))[0])

    def call(self, method: str, **params: Any) -> Any:
        """The result of one request."""
        self._number += 1
        self._socket.sendall(frame(method, params, self._number))
        return _result(method, self._reply())

    def call_frame(self, data: bytes) -> bytes:
        """Sends a finished frame; the reply's text."""
        self._socket.sendall(data)
        return self._reply()

    def pipeline(self, frames: Sequence[bytes], window: int = 10) -> list[bytes]:
        """Sends finished frames with at most `window` of them unanswered; the replies' texts."""
        replies = []
        sent = 0
        while len(replies) < len(frames):
            while sent < len(frames) and sent - len(replies) < window:
                self._socket.sendall(frames[sent])
                sent += 1
            replies.append(self._reply())
        return replies


def check(what: str, replies: Sequence[bytes]) -> list[Any]:
    """The results of replies; raises for the first error among them."""
    return [_result(what, reply) for reply in replies]


def _result(what: str, reply: bytes) -> Any:
    found = json.loads(reply)
    if "error" in found:
        raise BenchError(f"{what}: {found['error'].get('message', found['error'])}")
    return found["result"]
