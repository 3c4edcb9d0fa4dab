# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive the benchmark, and lines read from them with a time limit."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Mapping, Sequence


class BenchError(Exception):
    """A row cannot be measured; the message says why."""


class Child:
    """One process with its standard input and output on pipes, its standard error in a file."""

    def __init__(self, argv: Sequence[object], log: Path, core: int | None = None,
                 environment: Mapping[str, str] | None = None) -> None:
        words = [str(word) for word in argv]
        self.name = Path(words[2] if words[0] == "stdbuf" else words[0]).name
        self.log = log
        prefix = ["setpriv", "--pdeathsig", "KILL"]
        if core is not None:
            prefix += ["taskset", "-c", str(core)]
        with open(log, "ab") as sink:
            sink.write(f"\n$ {' '.join(words)}\n".encode())
            sink.flush()
            self.started_ns = time.monotonic_ns()
            self.process = subprocess.Popen([*prefix, *words], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=sink,
                                            start_new_session=True, env=environment)
        self._buffer = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        return self.process.poll() is None

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
        except OSError as error:
            raise BenchError(f"{self.name} has ended: {self.tail()}") from error

    def read_until(self, end: bytes, seconds: float) -> bytes:
        """What it prints, up to and with `end`."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while end not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise BenchError(f"{self.name} said nothing for {seconds:g} s: {self.tail()}")
            if not select.select([descriptor], [], [], left)[0]:
                continue
            data = os.read(descriptor, 65536)
            if not data:
                raise BenchError(f"{self.name} has ended with {self.process.wait(5)}: {self.tail()}")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(end)
        return text + end

    def event(self, name: str, seconds: float) -> dict[str, Any]:
        """The next JSON line whose "event" is `name`; an error, also as this event, ends the wait."""
        deadline = time.monotonic() + seconds
        while True:
            line = self.read_until(b"\n", max(0.0, deadline - time.monotonic()))
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if found.get("event") == "error" or found.get("ok") is False:
                raise BenchError(f"{self.name}: {found.get('message') or found.get('error') or found}")
            if found.get("event") == name:
                return found

    def drop_output(self) -> None:
        """Forgets what was printed so far."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while select.select([descriptor], [], [], 0)[0] and os.read(descriptor, 65536):
            pass
        self._buffer = b""

    def tail(self) -> str:
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return "(no log)"
        said = [line for line in text if line and not line.startswith("$ ")]
        return " / ".join(said[-2:])

    def kill(self) -> None:
        """SIGKILL, and waits until its memory and its sockets are gone."""
        if self.running():
            self.process.kill()
        self.process.wait()
        self._close()

    def stop(self, seconds: float = 5) -> None:
        """SIGTERM, then SIGKILL. May be called again."""
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass  # what was buffered for a reader that has gone


class Children:
    """All children of one row; leaving it stops them, the last first."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._children: list[Child] = []

    def start(self, argv: Sequence[object], core: int | None = None,
              environment: Mapping[str, str] | None = None) -> Child:
        child = Child(argv, self.log, core, environment)
        self._children.append(child)
        return child

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            child.stop()


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, in nanosecond resolution."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except OSError:
            continue  # a thread that has just ended
    return total / 1e9


def memory_bytes(pid: int) -> int:
    """VmRSS + HugetlbPages."""
    total = 0
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(("VmRSS:", "HugetlbPages:")):
            total += int(line.split()[1]) * 1024
    return total
