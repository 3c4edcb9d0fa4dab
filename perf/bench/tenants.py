# SPDX-License-Identifier: Apache-2.0
"""Rows about tenants: VRFs by the thousand, encapsulation rules, and a gateway that is lost."""

from __future__ import annotations

import select
import socket
import statistics
import struct
import threading
import time
from typing import Any

from .context import Context
from .control import check, frame
from .control_rows import BULK, host_prefixes, route_frames, send_routes
from .figures import Figure
from .forwarding import micro
from .processes import BenchError
from .router import Router
from .uplinks import FAR, RATE, Site, attach

VRFS, ROUTES = 4096, 250  # VRF 0 is one of them
SRV6: list[object] = ["--srv6-locator", "fc00:0:1::/48", "--srv6-locators", "fc00::/32"]
TENANT, OTHER = 7, {"segments": ["fc00:0:2:7::"]}


def _make_vrfs(router: Router, numbers: range) -> None:
    check("vrf.apply", router.control.pipeline([frame("vrf.apply", {"vrf": n}, n) for n in numbers]))


def vrfs(context: Context) -> list[Figure]:
    """4,096 VRFs with 250 routes each: what they hold in memory, and lookups in them over one VRF with all routes."""
    directory = context.fresh("vrfs")
    prefixes = host_prefixes(ROUTES)
    with context.children() as children:
        router = Router(context, children, directory).start()
        time.sleep(1)
        before = router.memory()
        _make_vrfs(router, range(1, VRFS))
        start = time.perf_counter()
        for first in range(0, VRFS, 40):
            entries = [{"vrf": vrf, "prefixes": prefixes, "next_hop": {"blackhole": True}}
                       for vrf in range(first, min(first + 40, VRFS))]
            router.control.call("route.apply", routes=entries)
        seconds = time.perf_counter() - start
        time.sleep(2)
        used = (router.memory() - before) / 2**20
        held = router.control.call("status")["routes"]["ipv4"]
        context.say(f"{held:,} routes of {VRFS:,} VRFs in {seconds:.1f} s, {used:.0f} MB")
        router.stop()
    ratios: dict[str, list[float]] = {"ipv4": [], "ipv6": []}
    for _ in range(context.runs(15, 2)):
        for family, values in ratios.items():
            one, many = (found["items_per_second"] for found in micro(
                "taskset", "-c", context.worker_core, context.program("fib_bench"),
                f"--benchmark_filter=^{family}/vrf_lookup_bulk"))
            values.append(one / many)
    return [
        Figure(f"vrfs: routes held, {ROUTES} in each of {VRFS:,}", "", [held], VRFS * ROUTES),
        Figure("vrfs: memory of all", "MB", [used], 512, at_most=True, note="growth of VmRSS + HugetlbPages, MiB"),
        *(Figure(f"vrfs: a lookup in one of {VRFS:,} over one VRF of all routes, {family}", "x", values, 1.15,
                 at_most=True) for family, values in ratios.items()),
    ]


def encapsulations(context: Context) -> list[Figure]:
    """Routes into a tunnel: one, to acknowledged by the worker, and 100,000 in ten pipelined frames."""
    directory = context.fresh("encaps")
    prefixes = host_prefixes(BULK)
    apply = route_frames("route.apply", prefixes, OTHER, TENANT)
    delete = route_frames("route.delete", prefixes, OTHER, TENANT)
    single, rates = [], []
    with context.children() as children:
        router = Router(context, children, directory, options=SRV6).start()
        _make_vrfs(router, range(TENANT, TENANT + 1))
        for number in range(context.runs(200, 50)):
            request = frame("route.apply", {"routes": [
                {"vrf": TENANT, "prefixes": [f"10.9.0.{number}/32"], "next_hop": OTHER}]}, number + 1)
            start = time.perf_counter()
            reply = router.control.call_frame(request)
            single.append((time.perf_counter() - start) * 1000)
            check("route.apply", [reply])
        for number in range(context.runs(7, 3)):
            rates.append(BULK / send_routes(router, apply))
            send_routes(router, delete)
        context.say(f"one in {statistics.median(single):.2f} ms, {rates[-1]:,.0f}/s in bulk")
        router.stop()
    return [
        Figure("encapsulations: one, to forwarding", "ms", single, 1, at_most=True),
        Figure("encapsulations: 100,000 in bulk, to acknowledged", "routes/s", rates, 500_000),
    ]


class _Wires:
    """What arrives at the two peers in tunnels: by the packet's number, when and at which."""

    NUMBER_AT = 14 + 40 + 20 + 8

    def __init__(self, site: Site) -> None:
        self.arrived: dict[int, tuple[float, int]] = {}
        self._sockets = []
        for i in (0, 1):
            made = site.socket("peer", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd))
            made.bind((f"peer{i}", 0x86dd))
            self._sockets.append(made)
        self._ending = False
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._ending:
            for ready in select.select(self._sockets, [], [], 0.05)[0]:
                data = ready.recv(256)
                if len(data) == self.NUMBER_AT + 4 and data[20] == socket.IPPROTO_IPIP:
                    number = struct.unpack(">I", data[self.NUMBER_AT:])[0]
                    self.arrived[number] = time.monotonic(), self._sockets.index(ready)

    def end(self) -> None:
        self._ending = True
        self._thread.join()
        for one in self._sockets:
            one.close()


def _tenant(site: Site, router: Router) -> None:
    """A VM whose default route leads to two gateways, each behind an uplink."""
    _make_vrfs(router, range(TENANT, TENANT + 1))
    attach(site, router, vrf=TENANT)
    for i in (0, 1):
        mac = site.inside("peer", "cat", f"/sys/class/net/peer{i}/address").strip()
        router.control.call("neighbor.apply", port=f"up{i}", address=f"2001:db8:f{i}::1", mac=mac)
        router.control.call("route.apply", routes=[_way(i)])
    router.control.call("route.apply", routes=[{"vrf": TENANT, "prefixes": ["0.0.0.0/0"], "next_hop": {
        "paths": [{"segments": [f"fc00:0:{8 + i}:7::"]} for i in (0, 1)]}}])


def _way(gateway: int) -> dict[str, Any]:
    """The underlay's route to a gateway."""
    return {"prefixes": [f"fc00:0:{8 + gateway}::/48"],
            "next_hop": {"port": f"up{gateway}", "via": f"2001:db8:f{gateway}::1"}}


def _lose_gateway(router: Router, wires: _Wires, sender: socket.socket) -> tuple[float, int]:
    """(ms from the withdrawal of the gateway's route to the first packet at the other, packets lost)."""
    wires.arrived.clear()
    ending = threading.Event()
    sent = [0]

    def send() -> None:
        begin = time.monotonic()
        while not ending.is_set():
            sender.send(struct.pack(">I", sent[0]))
            sent[0] += 1
            time.sleep(max(0.0, begin + sent[0] / RATE - time.monotonic()))

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.3)
    used = next(reversed(wires.arrived.values()))[1] if wires.arrived else None
    try:
        if used is None:
            raise BenchError("nothing arrives at the gateways")
        withdrawn = time.monotonic()
        router.control.call("route.delete", routes=[{"prefixes": _way(used)["prefixes"]}])
        time.sleep(0.2)
    finally:
        complete = sent[0]
        time.sleep(0.2)
        ending.set()
        thread.join()
    router.control.call("route.apply", routes=[_way(used)])
    moved = [when for when, at in wires.arrived.values() if at != used and when > withdrawn]
    if not moved:
        raise BenchError("the other gateway gets nothing")
    return (min(moved) - withdrawn) * 1000, sum(number not in wires.arrived for number in range(complete))


def gateway_loss(context: Context) -> list[Figure]:
    """A flow of a VM whose default route leads to two gateways; the route to the one that it goes by is withdrawn."""
    moved, lost = [], []
    with Site(context) as site, context.children() as children:
        router = site.router(children, context.fresh("gateways"), options=SRV6).start()
        site.configure()
        _tenant(site, router)
        wires = _Wires(site)
        for number in range(context.runs(20, 5)):
            sender = site.socket("vm")
            sender.bind(("10.0.0.1", 3000 + number))
            sender.connect((FAR, 4000))
            milliseconds, packets = _lose_gateway(router, wires, sender)
            moved.append(milliseconds)
            lost.append(packets)
            sender.close()
        context.say(f"moved within {max(moved):.1f} ms, {sum(lost)} packets lost")
        wires.end()
        router.kill()
    return [
        Figure("gateway-loss: from a withdrawn route to traffic on the other", "ms", moved, 10, at_most=True,
               note=f"{RATE:,} packets a second"),
        Figure("gateway-loss: the slowest", "ms", moved, pick="max"),
        Figure("gateway-loss: packets lost", "", lost, pick="max"),
    ]
