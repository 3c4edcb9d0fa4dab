# SPDX-License-Identifier: Apache-2.0
"""Rows about requests: routes in bulk, ports that come and go, and what all of it costs in memory
and in idle time."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

from .context import Context
from .control import check, frame
from .figures import Figure
from .processes import BenchError, Child, cpu_seconds
from .router import Router, address_text, port

FRAME = 10_000  # prefixes a frame
BULK = 100_000
MANY = 1_000_000
TO_VM: dict[str, object] = {"port": "vm0"}


def host_prefixes(count: int) -> list[str]:
    """Random host routes of 11.0.0.0/8, always the same ones."""
    values = random.Random(32).sample(range(11 << 24, 12 << 24), count)
    return [f"{address_text(value)}/32" for value in values]


def route_frames(method: str, prefixes: list[str], next_hop: dict[str, object], vrf: int = 0) -> list[bytes]:
    """Requests of FRAME prefixes each."""
    frames = []
    for first in range(0, len(prefixes), FRAME):
        entry: dict[str, object] = {"vrf": vrf, "prefixes": prefixes[first:first + FRAME]}
        if method == "route.apply":
            entry["next_hop"] = next_hop
        frames.append(frame(method, {"routes": [entry]}, first + 1))
    return frames


def send_routes(router: Router, frames: list[bytes]) -> float:
    """Seconds from the first byte sent to the last acknowledgement."""
    start = time.perf_counter()
    replies = router.control.pipeline(frames)
    seconds = time.perf_counter() - start
    for result in check("route", replies):
        if not result.get("programmed", True):
            raise BenchError("a reply came before the workers had acknowledged")
    return seconds


def _with_one_port(context: Context, directory: Path, router: Router) -> None:
    router.add_port("vm0", directory / "vm0.sock", "02:00:00:00:00:01", "10.0.0.1")


def routes(context: Context) -> list[Figure]:
    """100,000 host routes in ten pipelined frames; then a million; and the memory of each."""
    prefixes = host_prefixes(MANY)
    apply = route_frames("route.apply", prefixes[:BULK], TO_VM)
    delete = route_frames("route.delete", prefixes[:BULK], TO_VM)
    rates = []
    removals = []
    directory = context.fresh("routes")
    with context.children() as children:
        router = Router(context, children, directory).start()
        _with_one_port(context, directory, router)
        for number in range(context.runs(7, 3)):
            rates.append(BULK / send_routes(router, apply))
            removals.append(BULK / send_routes(router, delete))
            context.say(f"run {number + 1}: {rates[-1]:,.0f} routes/s, "
                        f"removed {removals[-1]:,.0f}/s")
        router.stop()

    directory = context.fresh("routes")
    with context.children() as children:
        router = Router(context, children, directory).start()
        _with_one_port(context, directory, router)
        time.sleep(1)
        before = router.memory()
        seconds = send_routes(router, route_frames("route.apply", prefixes, TO_VM))
        held = router.control.call("status")["routes"]["ipv4"] - 1  # the port's own
        for prefix in random.Random(7).sample(prefixes, 1000):
            found = router.control.call("route.get", address=prefix.partition("/")[0])["route"]
            if found["prefix"] != prefix:
                raise BenchError(f"{prefix} is answered with {found['prefix']}")
        time.sleep(2)
        used = router.memory() - before
        context.say(f"1 M routes: {MANY / seconds:,.0f}/s, {used / MANY:.0f} bytes each")
        router.stop()
    return [
        Figure("routes: 100,000 in bulk, to acknowledged", "routes/s", rates, 500_000),
        Figure("routes: removed in bulk", "routes/s", removals),
        Figure("routes: held of 1,000,000", "", [held], MANY,
               note="1,000 of them looked up, each found"),
        Figure("routes: 1,000,000 in bulk", "routes/s", [MANY / seconds]),
        Figure("memory: per host route", "bytes", [used / MANY], 128, at_most=True,
               note="growth of VmRSS + HugetlbPages over a million routes"),
    ]


def ports(context: Context) -> list[Figure]:
    """Ports added and removed while ten others carry traffic."""
    count = context.runs(100, 30)
    adds = []
    removes = []
    gaps = []
    lost = 0
    directory = context.fresh("ports")
    with context.children() as children:
        program = context.program("s32-frontend")
        router = Router(context, children, directory).start()
        names = router.add_fleet(directory, "vm", 10)
        streams = [children.start([program, "--dir", directory, "--gateway-mac", "02:00:5e:00:01:01",
                                   "stream", "--from", first, "--to", first + 1, "--rate", 500],
                                  context.other_core) for first in range(0, 10, 2)]
        # The new ports' frontends are there already: each add also makes a connection.
        waiting = children.start([program, "--dir", directory, "--prefix", "new", "scale", "--count",
                                  10, "--manual"], context.other_core)
        waiting.event("listening", 20)
        router.wait_state(names)
        time.sleep(1)
        for stream in streams:
            stream.write("mark\n")
        for number in range(count):
            which = number % 10
            request = frame("port.apply", port(
                f"new{which}", directory / f"new{which}.sock", f"02:00:00:02:00:{which:02x}",
                f"10.9.0.{which + 1}"), 1)
            adds.append(_timed(router, request))
            time.sleep(0.05)
            removes.append(_timed(router, frame("port.delete", {"name": f"new{which}"}, 2)))
            time.sleep(0.02)
        for stream in streams:
            final = _end_of_stream(stream)
            lost += final["lost"] + final["blocked"]
            gaps.append(final["longest_gap_ms"])
        context.say(f"added in {statistics.median(adds):.1f} ms, removed in "
                    f"{statistics.median(removes):.1f} ms, {lost} packets lost")
        router.stop()
    return [
        Figure("port: add, to acknowledged", "ms", adds, 10, at_most=True),
        Figure("port: add, the slowest", "ms", adds, pick="max"),
        Figure("port: remove, to acknowledged", "ms", removes, 10, at_most=True),
        Figure("port: remove, the slowest", "ms", removes, pick="max"),
        Figure("port: packets that ten others lost", "", [lost], 0, at_most=True),
        Figure("port: longest gap between their packets", "ms", gaps, pick="max",
               note="2 ms apart when sent"),
    ]


def _timed(router: Router, request: bytes) -> float:
    """Milliseconds of one request."""
    start = time.perf_counter()
    reply = router.control.call_frame(request)
    milliseconds = (time.perf_counter() - start) * 1000
    check("port", [reply])
    return milliseconds


def _end_of_stream(stream: Child) -> dict[str, float]:
    stream.write("quit\n")
    return stream.event("final", 10)


def idle(context: Context) -> list[Figure]:
    """CPU time of a daemon whose ten virtual machines are silent."""
    seconds = context.runs(10, 4)
    used = []
    directory = context.fresh("idle")
    with context.children() as children:
        children.start([context.program("s32-frontend"), "--dir", directory, "scale", "--count", 10,
                        "--manual"], context.other_core).event("listening", 20)
        router = Router(context, children, directory).start()
        router.wait_state(router.add_fleet(directory, "vm", 10))
        time.sleep(2)
        for _ in range(context.runs(3, 2)):
            start = time.monotonic()
            before = cpu_seconds(router.pid)
            time.sleep(seconds)
            used.append(100 * (cpu_seconds(router.pid) - before) / (time.monotonic() - start))
        router.stop()
    return [Figure("idle: ten connected VMs", "% of a core", used, 3, at_most=True,
                   note=f"over {seconds} s each")]


def memory(context: Context) -> list[Figure]:
    """What a daemon with the default sizes holds when it has started."""
    values = []
    for _ in range(context.runs(3, 2)):
        directory = context.fresh("memory")
        with context.children() as children:
            router = Router(context, children, directory, defaults=True).start()
            time.sleep(1)
            values.append(router.memory() / 2**20)
            router.stop()
    return [Figure("memory: at start", "MB", values, 350, at_most=True,
                   note="VmRSS + HugetlbPages, default sizes, MiB")]
