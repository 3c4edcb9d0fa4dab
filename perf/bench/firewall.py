# SPDX-License-Identifier: Apache-2.0
"""Rows about the stateful firewall: packets of connections that are there, new connections, many rules,
and what a change costs. Both ports are filtered in all of them."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from . import ovs, traffic
from .context import Context
from .control import check, frame
from .figures import Figure
from .processes import Children
from .router import Router, address_text, port
from .traffic import Sample

GROUP = "bench"
MANY_RULES = 10_000
MEMBERS = 10_000


def rules(count: int) -> list[dict[str, Any]]:
    """`count` rules, half of each direction (or one of each), the last of which lets the generator's UDP
    through: half of the others name a remote address, half a range of ports."""
    wanted: list[dict[str, Any]] = []
    for direction in ("egress", "ingress"):
        base = {"direction": direction, "ethertype": "ipv4"}
        for n in range(count // 2 - 1):
            if n % 2 == 0:
                wanted.append({**base, "protocol": "udp",
                               "remote_prefix": f"{address_text((172 << 24 | 16 << 16) + n)}/32"})
            else:
                low = 10_000 + n * 5 % 50_000
                wanted.append({**base, "protocol": "tcp", "port_min": low, "port_max": low + 3})
        wanted.append({**base, "protocol": "udp"})
    return wanted


def filtered_pair(router: Router, directory: Any, count: int) -> None:
    """The generator's two ports with a group of `count` rules a direction, and its routes. The second
    answers from the addresses that the first one asks."""
    router.control.call("sg.apply", name=GROUP, rules=rules(count))
    for name, socket, mac, address, network in zip(traffic.NAMES, traffic.sockets(directory), traffic.MACS,
                                                   traffic.SOURCES, traffic.SOURCE_NETWORKS):
        router.control.call("port.apply", **{**port(name, socket, mac, address), "groups": [GROUP],
                                             "allowed_pairs": [{"prefix": network}]})
    traffic.add_routes(router)


def filtered_router(context: Context, children: Children, directory: Path, count: int = 100,
                    flows: int = 1 << 18, **limits: object) -> Router:
    """A fresh slash32d, busy polling, with the filtered pair."""
    router = Router(context, children, directory, poll="busy", options=["--conntrack-flows", flows]).start()
    router.control.call("conntrack.config", **{
        "flows_per_port": flows, "half_open_per_port": flows, "half_open": flows, **limits})
    filtered_pair(router, directory, count)
    return router


def sample(context: Context, options: list[object], count: int = 100, flows: int = 1 << 18,
           window: float | None = None, **limits: object) -> Sample:
    """A fresh slash32d with the filtered pair, measured once."""
    directory = context.fresh("pair")
    with context.children() as children:
        router = filtered_router(context, children, directory, count, flows, **limits)
        measured = traffic.measure(context, children, directory, options,
                                   lambda: traffic.worker_counters(router), window)
        router.stop()
    return measured


def two_way(flows: int) -> list[object]:
    """`flows` connections, each with packets in both directions."""
    warmup = 1 if flows <= 100_000 else 4  # until all of them have been met
    return ["--two-way", "--flows", flows, "--dst-count", min(flows, traffic.DESTINATIONS),
            "--warmup", warmup]


def new_flows() -> list[object]:
    """Every packet is the first of a connection."""
    return ["--one-way", "--flows", 1 << 24, "--dst-count", traffic.DESTINATIONS]


def _interleaved(context: Context, rounds: int,
                 takes: dict[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """A-B-C-A-B-C: what drifts with the machine meets all."""
    samples: dict[str, list[Sample]] = {name: [] for name in takes}
    for number in range(rounds):
        for name, take in takes.items():
            measured = take()
            samples[name].append(measured)
            context.say(f"round {number + 1} of {rounds}, {name}: {measured.mpps:.2f} Mpps, "
                        f"{measured.cycles:.0f} cycles/packet, busy {measured.busy_percent:.0f} %")
    return samples


def _ratio(above: Sequence[Sample], below: Sequence[Sample]) -> list[float]:
    return [a.mpps / b.mpps for a, b in zip(above, below) if b.mpps > 0]


def _cycle_ratio(above: Sequence[Sample], below: Sequence[Sample]) -> list[float]:
    """Of the work a packet: how much faster `above` is than `below`."""
    return [b.cycles / a.cycles for a, b in zip(above, below) if a.cycles > 0]


def established(context: Context) -> list[Figure]:
    """Connections that are there, 100 rules at both ports: over testpmd io, over OVS-DPDK with
    connection tracking, and by their number."""
    million = 1_000_000
    got = _interleaved(context, context.runs(5, 2), {
        "testpmd io": lambda: traffic.sample_testpmd(context, two_way(1024)),
        "1,024 flows": lambda: sample(context, two_way(1024)),
        "100,000 flows": lambda: sample(context, two_way(100_000)),
        "1,000,000 flows": lambda: sample(context, two_way(million), flows=1 << 21),
        "OVS-DPDK": lambda: ovs.sample(context, two_way(1024), rules(100)),
    })
    ours, io = got["1,024 flows"], got["testpmd io"]
    hundred, thousand = got["100,000 flows"], got["1,000,000 flows"]
    return [
        Figure("established: 64 B, 1,024 flows, over testpmd io, rate", "x", _ratio(ours, io), 0.6),
        Figure("established: testpmd io cycles over ours", "x", _cycle_ratio(ours, io), 0.6,
               note="busy cycles a packet, the inverse ratio"),
        Figure("established: over OVS-DPDK with conntrack", "x", _ratio(ours, got["OVS-DPDK"]), 6),
        Figure("established: 100,000 flows over 1,024", "x", _ratio(hundred, ours), 0.75),
        Figure("established: 1 M flows over 100,000", "x", _ratio(thousand, hundred), 0.75),
        *(Figure(f"established: {name}", "Mpps", [one.mpps for one in samples])
          for name, samples in got.items()),
        *(Figure(f"established: {name}, busy", "cycles/pkt", [one.cycles for one in samples])
          for name, samples in got.items() if name != "OVS-DPDK"),
    ]


def many_rules(context: Context) -> list[Figure]:
    """10,000 rules at both ports over one for each direction: for connections that are there, and new
    ones."""
    room = 1 << 23
    got = _interleaved(context, context.runs(5, 2), {
        "1 rule, established": lambda: sample(context, two_way(1024), 1),
        "10,000 rules, established": lambda: sample(context, two_way(1024), MANY_RULES),
        "1 rule, new": lambda: sample(context, new_flows(), 1, room),
        "10,000 rules, new": lambda: sample(context, new_flows(), MANY_RULES, room),
    })
    return [
        Figure("rules: 10,000 over 1, established", "x",
               _ratio(got["10,000 rules, established"], got["1 rule, established"]), 0.97),
        Figure("rules: cycles with 1 over 10,000, established", "x",
               _cycle_ratio(got["10,000 rules, established"], got["1 rule, established"]), 0.97,
               note="busy cycles a packet, the inverse ratio"),
        Figure("rules: 10,000 over 1, new flows", "x",
               _ratio(got["10,000 rules, new"], got["1 rule, new"]), 0.6),
        *(Figure(f"rules: {name}", "Mpps", [one.mpps for one in samples])
          for name, samples in got.items()),
    ]


def new_connections(context: Context) -> list[Figure]:
    """Flows of one packet: into a table with room, and into a full one."""
    seconds = 10 if not context.quick else 3
    got = _interleaved(context, context.runs(5, 2), {
        "established": lambda: sample(context, two_way(1024)),
        "new, with room": lambda: sample(context, new_flows(), flows=1 << 23),
        "new, table full": lambda: sample(context, [*new_flows(), "--warmup", 2], flows=1 << 18,
                                          window=seconds),
    })
    return [
        Figure("new flows: table with room, over established", "x",
               _ratio(got["new, with room"], got["established"]), 0.3),
        Figure("new flows: table full, over established", "x",
               _ratio(got["new, table full"], got["established"]), 0.15,
               note=f"{seconds} s, each evicting an unanswered flow of its port"),
        *(Figure(f"new flows: {name}", "Mpps", [one.mpps for one in samples])
          for name, samples in got.items()),
    ]


def flow_memory(context: Context) -> list[Figure]:
    """What a table of 200,000 connections takes, which is resident from the start."""
    few, many = 1_000, 200_000
    taken: dict[int, int] = {}
    for flows in (few, many):
        directory = context.fresh("table")
        with context.children() as children:
            router = Router(context, children, directory, options=["--conntrack-flows", flows]).start()
            taken[flows] = router.memory()
            router.stop()
    return [Figure("flow table: memory a flow", "bytes", [(taken[many] - taken[few]) / (many - few)], 384,
                   at_most=True, note=f"VmRSS + HugetlbPages with room for {many:,} over {few:,}")]


def _timed(router: Router, method: str, params: dict[str, Any]) -> float:
    """Milliseconds from the first byte sent to the reply, which comes when it is enforced."""
    request = frame(method, params, 1)
    start = time.perf_counter()
    reply = router.control.call_frame(request)
    milliseconds = (time.perf_counter() - start) * 1000
    check(method, [reply])
    return milliseconds


def changes(context: Context) -> list[Figure]:
    """One member of a set of 10,000, and a policy of 10,000 rules, while the pair carries traffic."""
    members = [f"{address_text(value)}/32" for value in
               random.Random(3).sample(range(11 << 24, 12 << 24), MEMBERS + 200)]
    added, removed, policies = [], [], []
    directory = context.fresh("pair")
    with context.children() as children:
        router = Router(context, children, directory).start()
        filtered_pair(router, directory, 100)
        router.control.call("addrset.apply", name="crowd", members=members[:MEMBERS])
        router.control.call("sg.apply", name=GROUP, rules=[
            *rules(100), {"direction": "ingress", "ethertype": "ipv4", "remote_set": "crowd"}])
        generator = traffic.start_generator(context, children, directory,
                                            [*two_way(1024), "--rate", 20_000, "--seconds", 60])
        generator.event("measuring", 30)
        for member in members[MEMBERS:MEMBERS + context.runs(100, 30)]:
            added.append(_timed(router, "addrset.update", {"name": "crowd", "add": [member]}))
            removed.append(_timed(router, "addrset.update", {"name": "crowd", "remove": [member]}))
        for number in range(context.runs(10, 4)):
            policies.append(_timed(router, "sg.apply", {
                "name": GROUP, "rules": rules(MANY_RULES - 2 * number)}))
        generator.stop()
        router.stop()
    return [
        Figure("change: address into a set of 10,000, enforced", "ms", added, 2, at_most=True),
        Figure("change: address out of it, enforced", "ms", removed, 2, at_most=True),
        Figure("change: policy of 10,000 rules, enforced", "ms", policies, 50, at_most=True),
    ]
