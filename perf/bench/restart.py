# SPDX-License-Identifier: Apache-2.0
"""Rows about coming back: a daemon that was killed, and a frontend that was away."""

from __future__ import annotations

import time

from .context import Context
from .figures import Figure
from .processes import BenchError, Child
from .router import ROUTER_MAC, Router, address_text


def _kill_and_probe(context: Context, router: Router, fleet: Child, ports: int) -> tuple[float, float]:
    """(first packet, every port's packet) in ms after exec of the next daemon."""
    router.kill()
    time.sleep(0.2)
    fleet.drop_output()
    fleet.write("probe\n")
    router.launch()
    found = fleet.event("probe", 60)
    if not found["ok"]:
        raise BenchError(f"{found['served']} of {ports} ports were served: "
                         f"not {found['unserved']}")
    started = router.started_ns
    router.connect()
    return (found["first_ns"] - started) / 1e6, (found["last_ns"] - started) / 1e6


def _restarts(context: Context, ports: int, routes: int, runs: int) -> list[tuple[float, float]]:
    times = []
    directory = context.fresh("restart")
    with context.children() as children:
        fleet = children.start([context.program("s32-frontend"), "--dir", directory,
                                "--gateway-mac", ROUTER_MAC, "--wait-ms", 40_000,
                                "scale", "--count", ports, "--manual"], context.other_core)
        fleet.event("listening", 30)
        router = Router(context, children, directory).start()
        router.wait_state(router.add_fleet(directory, "vm", ports), seconds=60)
        if routes:
            router.add_routes([f"{address_text((11 << 24) + 3 * n)}/32" for n in range(routes)],
                              "vm0")
        fleet.write("go\n")
        if not fleet.event("round", 60)["ok"]:
            raise BenchError("packets were lost before anything was killed")
        for number in range(runs):
            times.append(_kill_and_probe(context, router, fleet, ports))
            context.say(f"{ports} ports, run {number + 1}: first packet after {times[-1][0]:.0f} ms, "
                        f"all ports after {times[-1][1]:.0f} ms")
            time.sleep(0.5)
        router.stop()
    return times


def restart(context: Context) -> list[Figure]:
    """SIGKILL, exec, and how long until packets pass again."""
    few = _restarts(context, 100, 10_000, context.runs(7, 3))
    many = _restarts(context, 1000, 0, context.runs(3, 1))
    granularity = "each port sends every 20 ms"
    return [
        Figure("restart: first packet, 100 ports, 10,000 routes", "s",
               [first / 1000 for first, _ in few], 1, at_most=True, note=f"aim 0.3 s; {granularity}"),
        Figure("restart: all of 100 ports", "s", [last / 1000 for _, last in few],
               note=granularity),
        Figure("restart: all of 1,000 ports", "s", [last / 1000 for _, last in many], 5,
               at_most=True, note=granularity),
    ]


def frontend(context: Context) -> list[Figure]:
    """From the socket's appearance to the first packet that arrived."""
    times = []
    directory = context.fresh("frontend")
    with context.children() as children:
        router = Router(context, children, directory).start()
        router.add_fleet(directory, "vm", 2)
        for _ in range(context.runs(20, 6)):
            # Away for longer than a moment: the router must not be lucky in its retries.
            time.sleep(0.7)
            stream = children.start([context.program("s32-frontend"), "--dir", directory,
                                     "--gateway-mac", ROUTER_MAC, "stream", "--from", 0, "--to", 1,
                                     "--rate", 1000], context.other_core)
            listening = stream.event("listening", 10)["mono_ns"]
            served = stream.event("served", 20)["mono_ns"]
            times.append((served - listening) / 1e6)
            stream.kill()
        router.stop()
    return [
        Figure("frontend: back to first packet", "ms", times, 200, at_most=True,
               note="both ends of the pair come back"),
        Figure("frontend: back to first packet, the slowest", "ms", times, 200, at_most=True,
               pick="max"),
    ]
