# SPDX-License-Identifier: Apache-2.0
"""Rows about packets: small ones through one pair, one pair among many ports, large segments."""

from __future__ import annotations

import statistics
from typing import Callable

from . import traffic
from .context import Context
from .figures import Figure
from .processes import BenchError
from .router import Router
from .traffic import Sample

SATURATED_PERCENT = 95  # a forwarder that idles more than the rest is not the bottleneck


def _interleaved(context: Context, rounds: int, first: Callable[[], Sample],
                 second: Callable[[], Sample]) -> tuple[list[Sample], list[Sample]]:
    """A-B-A-B: what drifts with the machine meets both."""
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for number in range(rounds):
        for which, take in enumerate((first, second)):
            sample = take()
            if sample.result["total"]["received"] == 0:
                raise BenchError("nothing was forwarded")
            samples[which].append(sample)
            context.say(f"round {number + 1} of {rounds}, {('testpmd', 'slash32d')[which]}: "
                        f"{sample.mpps:.2f} Mpps, {sample.gbps:.1f} Gbit/s, "
                        f"{sample.cycles:.0f} cycles/packet, busy {sample.busy_percent:.0f} %")
    return samples


def _ratios(ours: list[Sample], theirs: list[Sample], of: Callable[[Sample], float]) -> list[float]:
    return [of(a) / of(b) for a, b in zip(ours, theirs) if of(b) > 0]


def _limits(ours: list[Sample], theirs: list[Sample]) -> str:
    """Who was the bottleneck: says so when it was not the forwarder."""
    notes = []
    for name, samples in (("testpmd", theirs), ("slash32d", ours)):
        busy = statistics.median(sample.busy_percent for sample in samples)
        if busy < SATURATED_PERCENT:
            notes.append(f"{name}'s core was idle {100 - busy:.0f} % of the time")
        if any(sample.result["generator"]["bounded_by_generator"] for sample in samples):
            notes.append(f"the generator was the limit against {name}")
    if not notes:
        return ""
    return "; ".join(notes) + ": the ratio of busy cycles is the one to go by"


def forwarding(context: Context) -> list[Figure]:
    """VM to VM, 64-byte UDP both ways, 1,024 flows to 1,024 host routes, one worker."""
    rounds = context.runs(5, 2)
    theirs, ours = _interleaved(context, rounds, lambda: traffic.sample_testpmd(context, []),
                                lambda: traffic.sample_router(context, []))
    generator = statistics.median(
        sample.result["generator"]["cycles_per_packet"] for sample in ours + theirs)
    limits = _limits(ours, theirs)
    return [
        Figure("forwarding: 64 B over testpmd io, rate", "x",
               _ratios(ours, theirs, lambda sample: sample.mpps), 0.6, note=limits),
        Figure("forwarding: 64 B, testpmd io cycles over ours", "x",
               _ratios(theirs, ours, lambda sample: sample.cycles), 0.6,
               note="busy cycles a packet, the inverse ratio"),
        Figure("forwarding: 64 B, slash32d", "Mpps", [sample.mpps for sample in ours]),
        Figure("forwarding: 64 B, testpmd io", "Mpps", [sample.mpps for sample in theirs]),
        Figure("forwarding: 64 B, slash32d busy", "cycles/pkt", [sample.cycles for sample in ours]),
        Figure("forwarding: 64 B, testpmd io busy", "cycles/pkt",
               [sample.cycles for sample in theirs]),
        Figure("forwarding: 64 B, generator's ceiling", "Mpps",
               [sample.result["generator"]["ceiling_pps"] / 1e6 for sample in ours + theirs],
               note=f"{generator:.0f} cycles for each packet that it sends or receives"),
    ]


def tso(context: Context) -> list[Figure]:
    """TCP segments of 64 KB with segmentation offload, both ways."""
    rounds = context.runs(3, 1)
    options: list[object] = ["--tso", "--window", 16, "--flows", 64, "--dst-count", 64]
    theirs, ours = _interleaved(context, rounds,
                                lambda: traffic.sample_testpmd(context, options, tso=True),
                                lambda: traffic.sample_router(context, options))
    whole = []
    for sample in ours:
        total = sample.result["total"]
        whole.append(100 * total["received"] / (total["received"] + total["cut"]))
    return [
        Figure("tso: 64 KB segments that arrive as one packet", "%", whole, 100, pick="min"),
        Figure("tso: 64 KB segments over testpmd io, rate", "x",
               _ratios(ours, theirs, lambda sample: sample.gbps), note=_limits(ours, theirs)),
        Figure("tso: 64 KB segments, testpmd io cycles over ours", "x",
               _ratios(theirs, ours, lambda sample: sample.cycles)),
        Figure("tso: slash32d", "Gbit/s", [sample.gbps for sample in ours]),
        Figure("tso: testpmd io", "Gbit/s", [sample.gbps for sample in theirs]),
    ]


def scale(context: Context) -> list[Figure]:
    """The pair alone, and among 998 further connected ports, in turns."""
    rounds = context.runs(3, 2)
    others = 998
    directory = context.fresh("scale")
    alone: list[Sample] = []
    among: list[Sample] = []
    with context.children() as children:
        frontend = children.start([context.program("s32-frontend"), "--dir", directory, "--prefix",
                                   "vm", "--wait-ms", 60_000, "scale", "--count", others, "--manual"],
                                  context.other_core)
        frontend.event("listening", 30)
        router = Router(context, children, directory, poll="busy").start()
        traffic.add_pair(router, directory)

        def take() -> Sample:
            return traffic.measure(context, children, directory, [],
                                   lambda: traffic.worker_counters(router))

        for number in range(rounds):
            alone.append(take())
            names = router.add_fleet(directory, "vm", others)
            router.wait_state(names, seconds=60)
            among.append(take())
            for name in names:
                router.control.call("port.delete", name=name)
            context.say(f"round {number + 1} of {rounds}: alone {alone[-1].mpps:.2f} Mpps, "
                        f"{alone[-1].cycles:.0f} cycles/packet; among 1,000 "
                        f"{among[-1].mpps:.2f} Mpps, {among[-1].cycles:.0f} cycles/packet")
        router.stop()
    return [
        Figure("scale: a pair among 1,000 ports over it alone", "x",
               _ratios(among, alone, lambda sample: sample.mpps), 0.9),
        Figure("scale: cycles a packet alone over among 1,000", "x",
               _ratios(alone, among, lambda sample: sample.cycles)),
        Figure("scale: the pair alone", "Mpps", [sample.mpps for sample in alone]),
        Figure("scale: the pair among 1,000 ports", "Mpps", [sample.mpps for sample in among]),
    ]
