# SPDX-License-Identifier: Apache-2.0
"""Rows about the stateful firewall: packets of connections that are there, new connections, many rules,
and what a change costs. Both ports are filtered in all of them."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from . import kernel, ovs, traffic
from .compare import Comparison
from .context import Context
from .control import check, frame
from .figures import Figure, Point
from .processes import BenchError, Children
from .router import Router, address_text, port
from .traffic import Sample

GROUP = "bench"
MANY_RULES = 10_000
MEMBERS = 10_000
# New connections with room for all of them: tables are not full before the end, or what is measured is
# how one makes way for another.
ROOM = 1 << 23
ROOM_WARMUP = 0.2
ROOM_WINDOW = 0.6


def rules(count: int, protocol: str = "udp") -> list[dict[str, Any]]:
    """`count` rules, half of each direction (or one of each), the last of which lets the generator's
    protocol through: half of the others name a remote address, half a range of ports."""
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
        wanted.append({**base, "protocol": protocol})
    return wanted


def filtered_pair(router: Router, directory: Any, wanted: list[dict[str, Any]]) -> None:
    """The generator's two ports with a group of these rules, and its routes. The second answers from the
    addresses that the first one asks."""
    router.control.call("sg.apply", name=GROUP, rules=wanted)
    for name, socket, mac, address, network in zip(traffic.NAMES, traffic.sockets(directory), traffic.MACS,
                                                   traffic.SOURCES, traffic.SOURCE_NETWORKS):
        router.control.call("port.apply", **{**port(name, socket, mac, address), "groups": [GROUP],
                                             "allowed_pairs": [{"prefix": network}]})
    traffic.add_routes(router)


def filtered_router(context: Context, children: Children, directory: Path,
                    wanted: list[dict[str, Any]] | None = None, flows: int = 1 << 18) -> Router:
    """A fresh slash32d, busy polling, with the filtered pair; 100 rules if none are named."""
    router = Router(context, children, directory, poll="busy", options=["--conntrack-flows", flows]).start()
    router.control.call("conntrack.config", flows_per_port=flows, half_open_per_port=flows, half_open=flows)
    filtered_pair(router, directory, wanted or rules(100))
    return router


def sample(context: Context, options: list[object], wanted: list[dict[str, Any]] | None = None,
           flows: int = 1 << 18, window: float | None = None) -> Sample:
    """A fresh slash32d with the filtered pair, measured once."""
    directory = context.fresh("pair")
    with context.children() as children:
        router = filtered_router(context, children, directory, wanted, flows)
        measured = traffic.measure(context, children, traffic.listening(directory), options,
                                   lambda: traffic.worker_counters(router), window)
        router.stop()
    return measured


def search(context: Context, options: list[object]) -> dict[str, Any]:
    """What the generator's search finds of a fresh slash32d with the filtered pair."""
    directory = context.fresh("pair")
    with context.children() as children:
        router = filtered_router(context, children, directory)
        generator = traffic.start_generator(context, children, traffic.listening(directory), options)
        found = generator.event("result", 300)["search"]
        generator.stop()
        router.stop()
    return found


def two_way(flows: int) -> list[object]:
    """`flows` connections, each with packets in both directions."""
    warmup = 1 if flows <= 100_000 else 4  # until all of them have been met
    return ["--two-way", "--flows", flows, "--dst-count", min(flows, traffic.DESTINATIONS),
            "--warmup", warmup]


def new_flows() -> list[object]:
    """Every packet is the first of a connection."""
    return ["--one-way", "--flows", 1 << 24, "--dst-count", traffic.DESTINATIONS]


def sample_with_room(context: Context, wanted: list[dict[str, Any]] | None = None) -> Sample:
    """New connections into a table that has room for all of them."""
    directory = context.fresh("pair")
    with context.children() as children:
        router = filtered_router(context, children, directory, wanted, ROOM)
        measured = traffic.measure(context, children, traffic.listening(directory),
                                   [*new_flows(), "--warmup", ROOM_WARMUP],
                                   lambda: traffic.worker_counters(router), ROOM_WINDOW)
        flows = router.control.call("conntrack.count")["flows"]
        router.stop()
    if flows >= ROOM:
        raise BenchError(f"the table of {ROOM:,} flows was full before the end")
    return measured


def established(context: Context) -> list[Figure]:
    """Connections that are there, 100 rules at both ports: over testpmd, OVS-DPDK with connection tracking
    and the Linux kernel, and by their number."""
    million = 1_000_000
    hundred = rules(100)
    got = Comparison(context, context.runs(5, 2), {
        "testpmd io": lambda: traffic.sample_testpmd(context, two_way(1024)),
        "1,024 flows": lambda: sample(context, two_way(1024)),
        "100,000 flows": lambda: sample(context, two_way(100_000)),
        "1,000,000 flows": lambda: sample(context, two_way(million), flows=1 << 21),
        "OVS-DPDK, 1,024 flows": lambda: ovs.sample(context, two_way(1024), hundred),
        "OVS-DPDK, 100,000 flows": lambda: ovs.sample(context, two_way(100_000), hundred),
        "OVS-DPDK, 1,000,000 flows": lambda: ovs.sample(context, two_way(million), hundred),
        "Linux, 1,024 flows": lambda: kernel.sample(context, two_way(1024), hundred),
        "testpmd macswap": lambda: traffic.sample_testpmd(context, two_way(1024), mode="macswap"),
    })
    points = {f"{prefix}{number:,} flows": Point("flows", line, number)
              for line, prefix in (("slash32d", ""), ("OVS-DPDK", "OVS-DPDK, "), ("Linux", "Linux, "))
              for number in (1024, 100_000, million)}
    names = ("testpmd io", "testpmd macswap", "1,024 flows", "100,000 flows", "1,000,000 flows",
             "OVS-DPDK, 1,024 flows", "OVS-DPDK, 100,000 flows", "OVS-DPDK, 1,000,000 flows",
             "Linux, 1,024 flows")
    return [
        got.over_by_rate("established: 64 B, 1,024 flows, over testpmd io, rate", "1,024 flows",
                         "testpmd io", 0.6),
        got.over_by_cycles("established: testpmd io cycles over ours", "1,024 flows", "testpmd io", 0.6),
        got.over("established: 1,024 flows over testpmd io", "1,024 flows", "testpmd io", 0.75),
        got.over("established: over OVS-DPDK with conntrack", "1,024 flows", "OVS-DPDK, 1,024 flows", 7),
        got.over("established: the same, 100,000 flows", "100,000 flows", "OVS-DPDK, 100,000 flows", 7),
        got.over("established: the same, 1 M flows", "1,000,000 flows", "OVS-DPDK, 1,000,000 flows", 7),
        got.over("established: over Linux veth and nftables", "1,024 flows", "Linux, 1,024 flows", 10),
        got.over("established: 100,000 flows over 1,024", "100,000 flows", "1,024 flows", 0.85),
        got.over("established: 1 M flows over 100,000", "1,000,000 flows", "100,000 flows", 0.8),
        *(got.rate(f"established: {name}", name, points.get(name)) for name in names),
        *(got.cycles(f"established: {name}, busy", name) for name in names),
    ]


def many_rules(context: Context) -> list[Figure]:
    """10,000 rules at both ports over one for each direction: for connections that are there, and new
    ones."""
    got = Comparison(context, context.runs(5, 2), {
        "1 rule, established": lambda: sample(context, two_way(1024), rules(2)),
        "10,000 rules, established": lambda: sample(context, two_way(1024), rules(MANY_RULES)),
        "1 rule, new": lambda: sample_with_room(context, rules(2)),
        "10,000 rules, new": lambda: sample_with_room(context, rules(MANY_RULES)),
    })
    points = {"1 rule, established": Point("rules", "established flows", 1),
              "10,000 rules, established": Point("rules", "established flows", MANY_RULES),
              "1 rule, new": Point("rules", "new flows", 1),
              "10,000 rules, new": Point("rules", "new flows", MANY_RULES)}
    return [
        got.over("rules: 10,000 over 1, established", "10,000 rules, established",
                 "1 rule, established", 0.97),
        got.over_by_cycles("rules: cycles with 1 over 10,000, established", "10,000 rules, established",
                           "1 rule, established", 0.97),
        got.over("rules: 10,000 over 1, new flows", "10,000 rules, new", "1 rule, new", 0.6),
        *(got.rate(f"rules: {name}", name, point) for name, point in points.items()),
    ]


def new_connections(context: Context) -> list[Figure]:
    """Flows of one packet: into a table with room, and into a full one; OVS-DPDK beside it."""
    seconds = 10 if not context.quick else 3
    got = Comparison(context, context.runs(5, 2), {
        "established": lambda: sample(context, two_way(1024)),
        "new, with room": lambda: sample_with_room(context),
        "new, table full": lambda: sample(context, [*new_flows(), "--warmup", 2], flows=1 << 18,
                                          window=seconds),
        "OVS-DPDK, new": lambda: ovs.sample(context, [*new_flows(), "--warmup", ROOM_WARMUP], rules(100),
                                            ROOM_WINDOW),
    })
    full = got.over("new flows: table full, over established", "new, table full", "established", 0.15)
    full.note += f"; {seconds} s, each evicting an unanswered flow of its port"
    names = ("established", "new, with room", "new, table full", "OVS-DPDK, new")
    return [
        got.over("new flows: table with room, over established", "new, with room", "established", 0.3),
        full,
        got.over("new flows: over OVS-DPDK with conntrack", "new, with room", "OVS-DPDK, new", 5),
        *(got.rate(f"new flows: {name}", name) for name in names),
    ]


def tcp_connections(context: Context) -> list[Figure]:
    """TCP connections that are opened, answered and closed, 100 rules at both ports; OVS-DPDK beside it."""
    options: list[object] = ["--tcp", "--window", 512, "--flows", 1 << 24,
                             "--dst-count", traffic.DESTINATIONS]
    hundred = rules(100, "tcp")
    names = ("slash32d", "OVS-DPDK")
    got = Comparison(context, context.runs(5, 2), {
        "slash32d": lambda: sample(context, options, hundred, flows=ROOM),
        "OVS-DPDK": lambda: ovs.sample(context, options, hundred),
    })
    return [
        got.over("TCP connections: over OVS-DPDK with conntrack", "slash32d", "OVS-DPDK"),
        *(Figure(f"TCP connections: {name}, opened and closed", "1/s",
                 [one.result["connections"]["closed_per_second"] for one in got.samples(name)],
                 note=got.problem(name)) for name in names),
        *(got.cycles(f"TCP connections: {name}, busy", name) for name in names),
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
        filtered_pair(router, directory, rules(100))
        router.control.call("addrset.apply", name="crowd", members=members[:MEMBERS])
        router.control.call("sg.apply", name=GROUP, rules=[
            *rules(100), {"direction": "ingress", "ethertype": "ipv4", "remote_set": "crowd"}])
        generator = traffic.start_generator(context, children, traffic.listening(directory),
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
