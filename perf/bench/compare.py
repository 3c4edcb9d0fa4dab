# SPDX-License-Identifier: Apache-2.0
"""Several forwarders under the same traffic, in turns, and what one is over another."""

from __future__ import annotations

import statistics
import time
from typing import Callable, Mapping

from .context import Context
from .figures import Figure, Point
from .processes import BenchError
from .traffic import Sample

# A forwarder whose core polls in vain for more than the rest was not the bottleneck.
SATURATED_PERCENT = 95
# A sample that was taken while the host had the two cores far apart is taken again, so often at most.
TRIES = 5
PATIENCE = 20.0  # seconds that a sample waits for the cores to come together
BUDGET = 120.0   # seconds that the waiting and the samples taken in vain may cost one comparison


class Comparison:
    """A-B-C-A-B-C: what drifts with the machine meets all. One that cannot run is left out of the further
    rounds, and its figures say why."""

    def __init__(self, context: Context, rounds: int, takes: Mapping[str, Callable[[], Sample]]) -> None:
        self._samples: dict[str, list[Sample]] = {name: [] for name in takes}
        self._problems: dict[str, str] = {}
        self._far = 0  # samples that were kept all the same
        self._budget = BUDGET
        for number in range(rounds):
            for name, take in takes.items():
                if name not in self._problems:
                    self._take(context, f"round {number + 1} of {rounds}, {name}", name, take)

    def _take(self, context: Context, title: str, name: str, take: Callable[[], Sample]) -> None:
        try:
            sample = self._take_near(context, title, take)
            if sample.result["total"]["received"] == 0:
                raise BenchError("nothing was forwarded")
        except (BenchError, OSError, KeyError, ValueError, TimeoutError) as error:
            reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            self._problems[name] = f"{name} was not measured: {reason}"
            context.say(f"{title}: {self._problems[name]}")
            return
        self._samples[name].append(sample)
        context.say(f"{title}: {sample.mpps:.2f} Mpps, {sample.gbps:.1f} Gbit/s, "
                    f"{sample.cycles:.0f} cycles/packet, busy {sample.busy_percent:.0f} %")

    def _take_near(self, context: Context, title: str, take: Callable[[], Sample]) -> Sample:
        """With the two cores near to each other before and after it; the last one if they never were."""
        for _ in range(TRIES):
            start = time.monotonic()
            before = context.cores_are_near(max(0.0, min(PATIENCE, self._budget)))
            waited = time.monotonic() - start
            sample = take()
            if context.cores_are_near() and before:
                self._budget -= waited
                return sample
            self._budget -= time.monotonic() - start
            context.say(f"{title}: the host had moved the cores apart ({sample.cycles:.0f} cycles/packet)")
            if self._budget <= 0:
                break
        self._far += 1
        return sample

    def _how(self, text: str) -> str:
        return text + (f"; {self._far} samples of the row with the cores apart" if self._far else "")

    def samples(self, name: str) -> list[Sample]:
        """None of one that could not run."""
        return [] if name in self._problems else self._samples[name]

    def problem(self, *names: str) -> str:
        """Why those of `names` that could not run could not; "" for nothing."""
        return "; ".join(self._problems[name] for name in names if name in self._problems)

    def rate(self, title: str, name: str, point: Point | None = None) -> Figure:
        return Figure(title, "Mpps", [one.mpps for one in self.samples(name)], note=self.problem(name),
                      point=point)

    def gbps(self, title: str, name: str, point: Point | None = None) -> Figure:
        return Figure(title, "Gbit/s", [one.gbps for one in self.samples(name)], note=self.problem(name),
                      point=point)

    def cycles(self, title: str, name: str) -> Figure:
        """Busy cycles a packet."""
        return Figure(title, "cycles/pkt", [one.cycles for one in self.samples(name)],
                      note=self.problem(name))

    def over(self, title: str, ours: str, theirs: str, asked: float | None = None) -> Figure:
        """How much faster `ours` is than `theirs`: by rate where both cores were saturated, else by busy
        cycles a packet, since a rate that something else limited says nothing of the forwarder."""
        pairs = list(zip(self.samples(ours), self.samples(theirs)))
        if not pairs:
            return Figure(title, "x", asked=asked, note=self.problem(ours, theirs))
        idle = [f"{name} {100 - busy:.0f} %" for name, busy in
                ((name, statistics.median(one.busy_percent for one in self.samples(name)))
                 for name in (ours, theirs)) if busy < SATURATED_PERCENT]
        if not idle:
            return Figure(title, "x", [a.mpps / b.mpps for a, b in pairs], asked, note=self._how("by rate"))
        return Figure(title, "x", [b.cycles / a.cycles for a, b in pairs], asked,
                      note=self._how(f"by busy cycles a packet: idle was {', '.join(idle)}"))

    def over_by_cycles(self, title: str, ours: str, theirs: str, asked: float | None = None) -> Figure:
        pairs = zip(self.samples(ours), self.samples(theirs))
        return Figure(title, "x", [b.cycles / a.cycles for a, b in pairs], asked,
                      note=self.problem(ours, theirs) or self._how("by busy cycles a packet"))

    def over_by_rate(self, title: str, ours: str, theirs: str, asked: float | None = None) -> Figure:
        pairs = zip(self.samples(ours), self.samples(theirs))
        return Figure(title, "x", [a.gbps / b.gbps for a, b in pairs], asked,
                      note=self.problem(ours, theirs) or self._how("by rate"))
