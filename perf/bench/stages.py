# SPDX-License-Identifier: Apache-2.0
"""What it costs to know what the stages cost: established flows with cycle accounting on, over off."""

from __future__ import annotations

import time

from . import firewall, traffic
from .context import Context
from .figures import Figure, Point
from .router import Router

FLOWS = 1024
WINDOW_S = 0.1  # short: what else the machine does changes slowly beside it


def _window(router: Router, enabled: bool) -> float:
    """Busy cycles a packet."""
    router.control.call("worker.stages", enabled=enabled)
    busy, packets = traffic.worker_counters(router)
    time.sleep(WINDOW_S)
    busy_after, packets_after = traffic.worker_counters(router)
    return (busy_after - busy) / max(1, packets_after - packets)


def stages(context: Context) -> list[Figure]:
    """One slash32d and one stream, so that nothing differs but the accounting: off, on, on, off, ..."""
    rounds = context.runs(300, 100)
    cycles: dict[bool, list[float]] = {False: [], True: []}
    directory = context.fresh("pair")
    with context.children() as children:
        router = firewall.filtered_router(context, children, directory)
        generator = traffic.start_generator(
            context, children, traffic.listening(directory),
            [*firewall.two_way(FLOWS), "--seconds", 2 * rounds * WINDOW_S + 30])
        generator.event("measuring", 30)
        for number in range(rounds):
            for enabled in ((False, True), (True, False))[number % 2]:
                cycles[enabled].append(_window(router, enabled))
            context.say(f"round {number + 1} of {rounds}: {cycles[False][-1]:.1f} cycles/packet off, "
                        f"{cycles[True][-1]:.1f} on")
        measured = router.worker()["stages"]
        generator.stop()
        router.stop()
    return [
        Figure("stages: cycles with accounting on over off", "x",
               [on / off for on, off in zip(cycles[True], cycles[False])], 1.01, at_most=True,
               note="busy cycles a packet, 1,024 established flows, 100 rules at both ports"),
        Figure("stages: accounting off, busy", "cycles/pkt", cycles[False]),
        Figure("stages: accounting on, busy", "cycles/pkt", cycles[True]),
        *(Figure(f"stages: {stage['name']}", "cycles/pkt", [stage["cycles"] / stage["packets"]],
                 point=Point("stages", "in the daemon, established flows", stage["name"]))
          for stage in measured if stage["packets"]),
    ]
