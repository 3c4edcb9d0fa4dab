# SPDX-License-Identifier: Apache-2.0
"""Rows about packets: small ones through one pair, one pair among many ports, large segments, sizes, many
routes."""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import Any

from . import firewall, ovs, traffic
from .compare import Comparison
from .context import Context
from .figures import Figure, Point
from .processes import BenchError
from .router import Router
from .traffic import Sample


def forwarding(context: Context) -> list[Figure]:
    """VM to VM, 64-byte UDP both ways, 1,024 flows to 1,024 host routes, one worker, nothing tracked."""
    got = Comparison(context, context.runs(5, 2), {
        "testpmd io": lambda: traffic.sample_testpmd(context, []),
        "slash32d": lambda: traffic.sample_router(context, []),
        "OVS-DPDK": lambda: ovs.sample(context, [], None),
    })
    names = ("slash32d", "testpmd io", "OVS-DPDK")
    both = got.samples("slash32d") + got.samples("testpmd io")
    per_packet = statistics.median(one.result["generator"]["cycles_per_packet"] for one in both)
    return [
        got.over_by_rate("forwarding: 64 B over testpmd io, rate", "slash32d", "testpmd io", 0.6),
        got.over_by_cycles("forwarding: 64 B, testpmd io cycles over ours", "slash32d", "testpmd io", 0.6),
        got.over("forwarding: 64 B over OVS-DPDK without conntrack", "slash32d", "OVS-DPDK"),
        *(got.rate(f"forwarding: 64 B, {name}", name) for name in names),
        *(got.cycles(f"forwarding: 64 B, {name} busy", name) for name in names),
        Figure("forwarding: 64 B, generator's ceiling", "Mpps",
               [one.result["generator"]["ceiling_pps"] / 1e6 for one in both],
               note=f"{per_packet:.0f} cycles for each packet that it sends or receives"),
    ]


def tso(context: Context) -> list[Figure]:
    """TCP segments of 64 KB with segmentation offload, both ways."""
    options: list[object] = ["--tso", "--window", 16, "--flows", 64, "--dst-count", 64]
    got = Comparison(context, context.runs(3, 1), {
        "testpmd io": lambda: traffic.sample_testpmd(context, options, tso=True),
        "slash32d": lambda: traffic.sample_router(context, options),
    })
    whole = []
    for one in got.samples("slash32d"):
        total = one.result["total"]
        whole.append(100 * total["received"] / (total["received"] + total["cut"]))
    return [
        Figure("tso: 64 KB segments that arrive as one packet", "%", whole, 100, pick="min"),
        got.over_by_rate("tso: 64 KB segments over testpmd io, rate", "slash32d", "testpmd io", 0.9),
        got.over_by_cycles("tso: 64 KB segments, testpmd io cycles over ours", "slash32d", "testpmd io"),
        got.gbps("tso: slash32d", "slash32d"),
        got.gbps("tso: testpmd io", "testpmd io"),
    ]


def sizes(context: Context) -> list[Figure]:
    """Frames of the sizes of RFC 2544 section 9.1, the largest as an MTU of 1,500 has it without FCS; both
    ports filtered by 100 rules; over testpmd io."""
    figures = []
    for size in (64, 128, 256, 512, 1024, 1280, 1514):
        options = [*firewall.two_way(1024), "--bytes", size]
        got = Comparison(context, context.runs(3, 1), {
            "testpmd io": lambda o=options: traffic.sample_testpmd(context, o),
            "slash32d": lambda o=options: firewall.sample(context, o),
        })
        figures += [got.over(f"sizes: {size} B over testpmd io", "slash32d", "testpmd io"),
                    got.rate(f"sizes: {size} B, slash32d", "slash32d"),
                    *(got.gbps(f"sizes: {size} B, {name}, throughput", name, Point("sizes", name, size))
                      for name in ("slash32d", "testpmd io"))]
    return figures


def micro(*argv: object) -> list[dict[str, Any]]:
    """What a program of perf/micro measured."""
    done = subprocess.run([str(word) for word in (*argv, "--benchmark_format=json")], capture_output=True,
                          text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise BenchError(f"{argv[-1]}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])["benchmarks"]


def workers(context: Context) -> list[Figure]:
    """The pipeline without devices on two cores: each worker has one direction of every flow."""
    values = [micro(context.program("workers_bench"))[0] for _ in range(context.runs(15, 3))]
    return [
        Figure("workers: cycles a packet of two over one", "x", [one["two over one"] for one in values], 1.1,
               at_most=True, note="both directions of each flow cross workers"),
        Figure("workers: one", "cycles/pkt", [one["one cycles/packet"] for one in values]),
        Figure("workers: two, the slower", "cycles/pkt", [one["two cycles/packet"] for one in values]),
    ]


def pipeline(context: Context) -> list[Figure]:
    """The pipeline without devices, stage by stage, on flows that are there with 100 rules at both ports."""
    figures = []
    for one in micro("taskset", "-c", context.worker_core, context.program("pipeline_bench"),
                      "--benchmark_filter=ipv4/established/", f"--bursts={context.runs(20_000, 5_000)}"):
        stage = one["name"].split("/")[2]
        whole = {"pipeline": "all stages", "accounted": "all stages, accounted for"}.get(stage)
        point = None if whole else Point("stages", "pipeline alone, established flows", stage)
        figures.append(Figure(f"pipeline: {whole or stage}", "cycles/pkt", [one["cycles/packet"]],
                              point=point))
    return figures


def latency(context: Context) -> list[Figure]:
    """From making a packet to having it back, at half of slash32d's own throughput, over testpmd io at the
    same rate; both ports filtered by 100 rules."""
    full = firewall.sample(context, firewall.two_way(1024))
    options = [*firewall.two_way(1024), "--latency", "--rate", full.mpps * 1e6 / 4]  # of each of two
    got = Comparison(context, context.runs(5, 2), {
        "testpmd io": lambda: traffic.sample_testpmd(context, options),
        "slash32d": lambda: firewall.sample(context, options),
    })

    def microseconds(name: str, percentile: str) -> list[float]:
        return [one.result["latency_ns"][percentile] / 1000 for one in got.samples(name)]

    added = [a - b for a, b in zip(microseconds("slash32d", "p50"), microseconds("testpmd io", "p50"))]
    percentiles = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}
    return [
        Figure("latency: median added over testpmd io", "µs", added, 2, at_most=True,
               note=f"at {full.mpps / 2:.2f} Mpps, half of what slash32d forwards"),
        *(Figure(f"latency: {name}, {percentile}", "µs", microseconds(name, percentile),
                 point=Point("latency", name, x))
          for name in ("testpmd io", "slash32d") for percentile, x in percentiles.items()),
    ]


def search(context: Context) -> list[Figure]:
    """RFC 2544's throughput and the rate at a loss of 0.5 %, both ports filtered by 100 rules."""
    figures = []
    for kind, what in (("throughput", "without loss"), ("pdr", "with a loss of 0.5 %")):
        found = []
        for _ in range(context.runs(3, 1)):
            one = firewall.search(context, [*firewall.two_way(1024), "--search", kind,
                                            "--trial-seconds", 0.3, "--search-trials", 3])
            context.say(f"{kind}: {one['holds_pps'] / 1e6:.2f} Mpps after {one['trials']} trials")
            found.append(one)
        bounded = any(one["bounded_by_generator"] for one in found)
        figures.append(Figure(f"search: highest rate {what}", "Mpps",
                              [one["holds_pps"] / 1e6 for one in found],
                              note="bounded by the generator" if bounded else ""))
    return figures


def many_routes(context: Context) -> list[Figure]:
    """A million host routes, all of them met, over one; the ports are open, so that each packet is looked
    up."""
    million = 1_000_000
    got = Comparison(context, context.runs(3, 1), {
        "one route": lambda: traffic.sample_routes(context, 1),
        "1,000,000 routes": lambda: traffic.sample_routes(context, million),
    })
    return [
        got.over("many-routes: 1,000,000 host routes over one route", "1,000,000 routes", "one route", 0.75),
        got.rate("many-routes: one route", "one route"),
        got.rate("many-routes: 1,000,000 host routes", "1,000,000 routes"),
        got.cycles("many-routes: one route, busy", "one route"),
        got.cycles("many-routes: 1,000,000 host routes, busy", "1,000,000 routes"),
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
            return traffic.measure(context, children, traffic.listening(directory), [],
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
               [a.mpps / b.mpps for a, b in zip(among, alone)], 0.9),
        Figure("scale: cycles a packet alone over among 1,000", "x",
               [b.cycles / a.cycles for a, b in zip(among, alone)]),
        Figure("scale: the pair alone", "Mpps", [sample.mpps for sample in alone]),
        Figure("scale: the pair among 1,000 ports", "Mpps", [sample.mpps for sample in among]),
    ]
