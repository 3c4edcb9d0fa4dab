# SPDX-License-Identifier: Apache-2.0
"""slash32d as a child process, and slash32ctl on it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any


class RouterError(Exception):
    """The daemon or a command on it failed; the message holds what it printed."""


def find_program(build: Path, name: str) -> Path:
    """A program of ours in a Meson build directory."""
    for folder in (build / "ctrl" / "daemon", build / "ctrl" / "cli", build):
        program = folder / name
        if program.is_file() and os.access(program, os.X_OK):
            return program.resolve()
    raise RouterError(f"there is no {name} in {build}: build it first (make build)")


class Router:
    """One slash32d. Its sockets, store, log and pid lie in one directory."""

    def __init__(self, build: Path, directory: Path, detached: bool = False) -> None:
        """detached: the daemon outlives this process; stop_detached() ends it."""
        self.daemon = find_program(build, "slash32d")
        self.ctl = find_program(build, "slash32ctl")
        self.directory = directory
        self.detached = detached
        self.control_socket = directory / "slash32.sock"
        self.config = directory / "slash32d.toml"
        self.log = directory / "slash32d.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command_line(self) -> list[str]:
        return [str(self.daemon), "--config", str(self.config)]

    def write_config(self, text: str) -> None:
        self.config.write_text(text, encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, timeout_s: float = 20) -> float:
        """Starts the daemon. Returns the seconds until its control socket answered."""
        start = time.monotonic()
        argv = self.command_line()
        if not self.detached:
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             start_new_session=True)
        (self.directory / "slash32d.pid").write_text(f"{self.pid}\n", encoding="ascii")
        while True:
            status = self._process.poll()
            if status is not None:
                raise RouterError(f"slash32d ended with {status}:\n{self.log_tail()}")
            if self._ctl("status", "--json").returncode == 0:
                return time.monotonic() - start
            if time.monotonic() - start > timeout_s:
                raise RouterError(f"slash32d did not answer within {timeout_s:g} s:\n"
                                  f"{self.log_tail()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: the daemon has no chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ends the daemon. May be called again."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def log_tail(self) -> str:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")[-3000:].strip()
        except OSError:
            return "(no log)"

    def _ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(self.ctl_command(*arguments), capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=15, check=False)
        except subprocess.TimeoutExpired as error:
            raise RouterError(f"slash32ctl {shlex.join(arguments)} took longer than 15 s") from error

    def ctl_command(self, *arguments: str) -> list[str]:
        return [str(self.ctl), "-s", str(self.control_socket), *arguments]

    def ctl_text(self, *arguments: str) -> str:
        """What slash32ctl prints for people."""
        done = self._ctl(*arguments)
        if done.returncode != 0:
            raise RouterError(f"slash32ctl {shlex.join(arguments)} ended with {done.returncode}:\n"
                              f"{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def ctl_json(self, *arguments: str) -> Any:
        """What slash32ctl prints for scripts."""
        text = self.ctl_text(*arguments, "--json")
        try:
            return json.loads(text)
        except ValueError as error:
            raise RouterError(f"slash32ctl {shlex.join(arguments)} --json printed no JSON:\n"
                              f"{text}") from error

    def port_state(self, name: str) -> str:
        """Desired ports have an actual state: waiting, connected, running or failed."""
        answer = self.ctl_json("port", "show", name)
        return str(answer.get("port", answer)["actual"]["state"])

    def drops(self, port: str, reason: str) -> int:
        """How many packets of a port were dropped for this reason."""
        return _find_drops(self.ctl_json("show", "drops", "--port", port), reason)


def _find_drops(answer: Any, reason: str) -> int:
    """The reason's counter, as the member of an object of counters or as an object of its own."""
    if isinstance(answer, list):
        return max((_find_drops(item, reason) for item in answer), default=0)
    if not isinstance(answer, dict):
        return 0
    if answer.get("reason") == reason:
        return int(answer["packets"])
    if isinstance(answer.get(reason), int):
        return int(answer[reason])
    return max((_find_drops(item, reason) for item in answer.values()), default=0)


def stop_detached(directory: Path) -> None:
    """Ends the daemon that a detached Router left in this directory."""
    record = directory / "slash32d.pid"
    if not record.exists():
        return
    pid = int(record.read_text(encoding="ascii"))
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _is_ours(pid, directory):
            break
        os.kill(pid, number)
        deadline = time.monotonic() + 5
        while _is_ours(pid, directory) and time.monotonic() < deadline:
            time.sleep(0.02)
    record.unlink()


def _is_ours(pid: int, directory: Path) -> bool:
    """Whether the process is still the daemon of this directory, and not one that got its number."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(directory / "slash32d.toml") in argv.split(b"\0")
