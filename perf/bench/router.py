# SPDX-License-Identifier: Apache-2.0
"""slash32d as the benchmarks run it, and the ports and routes they give it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Sequence

from .context import Context
from .control import Control
from .processes import BenchError, Child, Children, memory_bytes

ROUTER_MAC = "02:00:5e:00:01:01"


class Router:
    """One slash32d on the worker's core, control on the other. It may be killed and started again
    with the same stored intent."""

    def __init__(self, context: Context, children: Children, directory: Path, poll: str = "sleep",
                 defaults: bool = False, options: Sequence[object] = (),
                 prefix: Sequence[object] = ()) -> None:
        """defaults: nothing set but where its files lie. options: further flags. prefix: words of a command
        that runs it."""
        self._children = children
        self._program = context.program("slash32d")
        self._child: Child | None = None
        self._socket = directory / "slash32.sock"
        self._argv: list[object] = [
            *prefix, self._program, "--daemon-run-dir", directory, "--daemon-state-dir", directory / "state",
            "--memory-prefix", f"s32-bench-{directory.name}", "--log-level", "warning"]
        if not defaults:
            self._argv += ["--workers-cores", context.worker_core,
                           "--workers-control-core", context.other_core, "--workers-poll", poll]
        if not context.huge:
            self._argv += ["--memory-huge", "never"]
        self._argv += options
        self.control: Control

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def started_ns(self) -> int:
        """When exec was called, CLOCK_MONOTONIC."""
        assert self._child is not None
        return self._child.started_ns

    def start(self, seconds: float = 20) -> "Router":
        self.launch()
        self.connect(seconds)
        return self

    def launch(self) -> None:
        """Executes it and waits for nothing."""
        self._child = self._children.start(self._argv)

    def connect(self, seconds: float = 20) -> None:
        """Waits for its control socket."""
        assert self._child is not None
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.control = Control(self._socket)
                self.control.call("hello", client="bench")
                return
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if not self._child.running():
                    raise BenchError(f"slash32d has ended: {self._child.tail()}") from error
                if time.monotonic() > deadline:
                    raise BenchError(f"no control socket within {seconds:g} s: "
                                     f"{self._child.tail()}") from error
                time.sleep(0.002)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._child is not None
        self.control.close()
        self._child.kill()

    def stop(self) -> None:
        assert self._child is not None
        self.control.close()
        self._child.stop()

    def memory(self) -> int:
        return memory_bytes(self.pid)

    def add_port(self, name: str, socket: Path, mac: str, address: str, **more: Any) -> dict[str, Any]:
        return self.control.call("port.apply", **port(name, socket, mac, address), **more)

    def add_routes(self, prefixes: list[str], to: str) -> None:
        for first in range(0, len(prefixes), 10_000):
            self.control.call("route.apply", routes=[
                {"prefixes": prefixes[first:first + 10_000], "next_hop": {"port": to}}])

    def wait_state(self, names: list[str], state: str = "running", seconds: float = 30) -> None:
        """Waits until all of these ports are in a state."""
        deadline = time.monotonic() + seconds
        for name in names:
            while True:
                found = self.control.call("port.get", name=name)["port"]["actual"]
                if found["state"] == state:
                    break
                if time.monotonic() > deadline:
                    raise BenchError(f"port {name} is {found['state']}, not {state}: "
                                     f"{found.get('reason', '')} {found.get('last_error', '')}")
                time.sleep(0.01)

    def worker(self) -> dict[str, Any]:
        """Counters of the one worker."""
        return self.control.call("stats", sections=["workers"])["workers"][0]

    def add_fleet(self, directory: Path, prefix: str, count: int, first: int = 0) -> list[str]:
        """Ports for the virtual machines of `s32-frontend`: number i has the address 10.0.0.10 + i."""
        names = [f"{prefix}{i}" for i in range(first, first + count)]
        for i, name in zip(range(first, first + count), names):
            self.add_port(name, directory / f"{prefix}{i}.sock", *fleet_host(i))
        return names


def fleet_host(number: int) -> tuple[str, str]:
    """(MAC, address) that s32-frontend gives to a port."""
    address = number + 10
    return (f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
            f"10.0.{address >> 8}.{address & 255}")


def port(name: str, socket: Path, mac: str, address: str) -> dict[str, Any]:
    """The parameters of port.apply."""
    return {"name": name, "socket": str(socket), "mac": mac, "addresses": [address],
            "gateways": ["10.0.255.254"], "groups": ["any"]}


def address_text(value: int) -> str:
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
