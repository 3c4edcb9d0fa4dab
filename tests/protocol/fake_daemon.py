# SPDX-License-Identifier: Apache-2.0
"""A daemon that answers from tables: requests and answers are both held to the schemas."""

import json
import socket
import struct
import threading

from protocol_schema import Schemas

INSTANCE = "0123456789abcdef"
TIME = "2026-01-31T09:00:00.000Z"


class RpcError(Exception):
    def __init__(self, code, kind, message, path=None):
        super().__init__(message)
        data = {"kind": kind} if path is None else {"kind": kind, "path": path}
        self.error = {"code": code, "message": message, "data": data}


class FakeDaemon:
    """`answers[method]` is a result, or a function of (params, connection) that gives one."""

    def __init__(self, path):
        self.path = str(path)
        self.schemas = Schemas()
        self.requests = []
        self.problems = []
        self.answers = {
            "hello": {
                "api_version": 1, "version": "0.0.0", "instance": INSTANCE, "pid": 1,
                "started": TIME, "read_only": False, "frame_bytes_max": 1 << 24,
            },
        }
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        assert not self.problems, self.problems

    def params_of(self, method):
        return [params for name, params in self.requests if name == method]

    def notify(self, connection, method, params):
        self._check(method, "params", params)
        send(connection, {"jsonrpc": "2.0", "method": method, "params": params})

    def _check(self, name, part, value):
        try:
            self.schemas.check(name, part, value)
        except Exception as problem:  # pylint: disable=broad-except
            self.problems.append(f"{name} {part}: {problem}")

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            while (request := receive(connection)) is not None:
                reply = {"jsonrpc": "2.0", "id": request["id"]}
                method, params = request["method"], request.get("params", {})
                self._check(method, "params", params)
                self.requests.append((method, params))
                later = None
                try:
                    answer = self.answers[method]
                    if callable(answer):
                        answer = answer(params, connection)
                    if isinstance(answer, tuple):  # a result, and what to do after it
                        answer, later = answer
                    self._check(method, "result", answer)
                    reply["result"] = answer
                except RpcError as error:
                    self.schemas.check_error(error.error)
                    reply["error"] = error.error
                try:
                    send(connection, reply)
                    if later is not None:
                        later()
                except OSError:
                    return


def send(connection, message):
    body = json.dumps(message).encode()
    connection.sendall(struct.pack(">I", len(body)) + body)


def receive(connection):
    def exactly(count):
        data = b""
        while len(data) < count:
            part = connection.recv(count - len(data))
            if not part:
                return None
            data += part
        return data

    try:
        header = exactly(4)
        body = exactly(struct.unpack(">I", header)[0]) if header else None
    except OSError:
        return None
    return json.loads(body) if body else None
