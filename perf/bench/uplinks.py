# SPDX-License-Identifier: Apache-2.0
"""Rows about uplinks: the kernel's routes in bulk, a link that is cut, and a daemon that is killed.

    vm (a TAP port in a namespace) - slash32d -+- up0 (veth) - peer0    both peers are one namespace,
                                               +- up1 (veth) - peer1    which counts what arrives"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable

from .context import Context
from .figures import Figure
from .kernel import run
from .processes import BenchError, Children
from .router import Router

PREFIXES4, PREFIXES6 = 800_000, 200_000
FAR = "198.51.100.1"
RATE = 2000  # packets a second of a flow


class Site:
    """Namespaces of a router with two uplinks and of its neighbour."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.names = {name: f"s32-bench-{name}-{os.getpid()}" for name in ("router", "peer", "vm")}

    def __enter__(self) -> Site:
        if os.geteuid() != 0:
            raise BenchError("needs root for network namespaces")
        for name in self.names.values():
            run("ip", "netns", "add", name)
        self.ip("peer", "link", "set", "lo", "up")
        self.ip("peer", "address", "add", f"{FAR}/32", "dev", "lo")
        for i in (0, 1):
            self.ip("router", "link", "add", f"wire{i}", "type", "veth", "peer", "name", f"peer{i}", "netns",
                    self.names["peer"])
            self.inside("router", "sysctl", "-qw", f"net.ipv6.conf.wire{i}.disable_ipv6=1")
            self.inside("router", "nft", f"add table netdev w{i}; add chain netdev w{i} c "
                        f"{{ type filter hook ingress device wire{i} priority 0; policy drop; }}")
            self.ip("router", "link", "set", f"wire{i}", "up")
            self.inside("peer", "ethtool", "-K", f"peer{i}", "tx", "off")
            self.inside("peer", "sysctl", "-qw", f"net.ipv4.conf.peer{i}.rp_filter=0")
            self.ip("peer", "link", "set", f"peer{i}", "up")
            self.ip("peer", "address", "add", f"192.0.2.{2 * i + 1}/31", "dev", f"peer{i}")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def ip(self, where: str, *argv: object, text: str | None = None) -> str:
        return run("ip", "-n", self.names[where], *argv, text=text)

    def inside(self, where: str, *argv: object) -> str:
        return run("ip", "netns", "exec", self.names[where], *argv)

    def router(self, children: Children, directory: Path) -> Router:
        options = [word for i in (0, 1)
                   for word in ("--uplink", f"name=up{i};devargs=net_af_packet{i},iface=wire{i}")]
        return Router(self._context, children, directory, options=options,
                      prefix=["ip", "netns", "exec", self.names["router"]])

    def configure(self) -> None:
        for i in (0, 1):
            self.ip("router", "link", "set", f"up{i}", "up")
            self.ip("router", "address", "replace", f"192.0.2.{2 * i}/31", "dev", f"up{i}")

    def socket(self, where: str) -> socket.socket:
        """A UDP socket in a namespace; this thread is in its own again afterwards."""
        made: list[socket.socket] = []

        def make() -> None:
            os.setns(os.open(f"/run/netns/{self.names[where]}", os.O_RDONLY), 0x40000000)  # CLONE_NEWNET
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


def _wait(what: str, condition: Callable[[], bool], seconds: float, pause: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def _batch() -> tuple[str, str]:
    """Routes of both families over two next hops, as ip(8) reads them."""
    four = []
    for n in range(PREFIXES4):
        via = 2 * (n % 2) + 1
        four.append(f"route add {11 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24 via 192.0.2.{via}")
    six = []
    for n in range(PREFIXES6):
        six.append(f"route add 2001:{n >> 16:x}:{n & 65535:x}::/48 via fe80::{n % 2 + 1:x} dev up{n % 2}")
    return "\n".join(four) + "\n", "\n".join(six) + "\n"


def kernel_routes(context: Context) -> list[Figure]:
    """From the first route's addition to the last one's presence in the forwarding tables; then a daemon that
    finds them all there."""
    count = PREFIXES4 + PREFIXES6
    directory = context.fresh("routes")
    batches = []
    for name, text in zip(("four", "six"), _batch()):
        batches.append(directory / name)
        batches[-1].write_text(text, encoding="ascii")
    followed, added, read = [], [], []
    for _ in range(context.runs(3, 1)):
        with Site(context) as site, context.children() as children:
            router = site.router(children, directory).start()
            site.configure()

            def kernel() -> dict[str, Any]:
                return router.control.call("host.status")["kernel"]

            before = kernel()["prefixes"]
            start = time.monotonic()
            for batch, family in zip(batches, ("-4", "-6")):
                # On the worker's core, which is idle: control has the other.
                subprocess.run(["taskset", "-c", str(context.worker_core), "ip", "-n", site.names["router"], family,
                                "-batch", str(batch)], check=True)
            added.append(count / (time.monotonic() - start))
            _wait("all routes in the tables", lambda: kernel()["prefixes"] >= before + count, 120)
            followed.append(count / (time.monotonic() - start))
            state = kernel()
            context.say(f"{followed[-1]:,.0f} routes/s of {added[-1]:,.0f} that ip added, {state['overruns']} "
                        f"overruns, {state['failed']} without room")
            router.kill()
            router.launch()
            router.connect(60)
            start = time.monotonic()
            _wait("all routes read", lambda: kernel()["prefixes"] >= count, 120)
            read.append(time.monotonic() - start)
            router.kill()
    return [
        Figure("kernel-routes: 800,000 IPv4 and 200,000 IPv6 prefixes", "routes/s", followed, 200_000,
               note=f"from ip's start to the last route in the tables; ip itself: {max(added):,.0f}/s at best"),
        Figure("kernel-routes: the same read at a start", "s", read, note="after the control socket's first answer"),
    ]


class Flow:
    """Numbered UDP packets from the VM to the far address; when each arrived."""

    def __init__(self, site: Site, port: int) -> None:
        self.out, self.back = site.socket("vm"), site.socket("peer")
        self.back.bind((FAR, port))
        self.back.setblocking(False)
        self.out.connect((FAR, port))
        self.arrived: dict[int, float] = {}
        self.sent = 0
        self._ending = False
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        begin = time.monotonic()
        while not self._ending:
            try:
                self.out.send(struct.pack(">I", self.sent))
            except OSError:
                pass  # an ICMP error about one before
            self.sent += 1
            time.sleep(max(0.0, begin + self.sent / RATE - time.monotonic()))

    def _receive(self) -> None:
        while not self._ending:
            if select.select([self.back], [], [], 0.05)[0]:
                data = self.back.recv(64)
                self.arrived[struct.unpack(">I", data)[0]] = time.monotonic()

    def end(self) -> None:
        time.sleep(0.2)
        self._ending = True
        for thread in self._threads:
            thread.join()
        self.out.close()
        self.back.close()

    def longest_gap(self) -> float:
        times = sorted(self.arrived.values())
        return max(b - a for a, b in zip(times, times[1:]))


def _attach(site: Site, router: Router) -> None:
    router.control.call("port.apply", name="vm", kind="tap", mac="52:54:00:00:00:01", addresses=["10.0.0.1/24"],
                        gateways=["10.0.0.254"], groups=["any"])
    site.ip("router", "link", "set", "vm", "netns", site.names["vm"])
    site.ip("vm", "link", "set", "vm", "up")
    site.ip("vm", "address", "replace", "10.0.0.1/24", "dev", "vm")
    site.ip("vm", "route", "replace", "default", "via", "10.0.0.254")


def link(context: Context) -> list[Figure]:
    """The longest time without a packet of a flow, whose link is cut, or whose router is killed and started."""
    cut, killed = [], []
    with Site(context) as site, context.children() as children:
        router = site.router(children, context.fresh("link")).start()
        site.configure()
        ways = ["nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.2.3"]
        site.ip("router", "route", "add", "default", *ways)
        _attach(site, router)
        for number in range(context.runs(12, 4)):
            flow = Flow(site, 7000 + number)
            time.sleep(0.5)
            sent = [int(site.inside("peer", "cat", f"/sys/class/net/peer{i}/statistics/rx_packets")) for i in (0, 1)]
            time.sleep(0.2)
            now = [int(site.inside("peer", "cat", f"/sys/class/net/peer{i}/statistics/rx_packets")) for i in (0, 1)]
            used = 0 if now[0] - sent[0] > now[1] - sent[1] else 1
            site.ip("peer", "link", "set", f"peer{used}", "down")
            time.sleep(0.5)
            flow.end()
            cut.append(flow.longest_gap() * 1000)
            site.ip("peer", "link", "set", f"peer{used}", "up")
            site.ip("peer", "address", "replace", f"192.0.2.{2 * used + 1}/31", "dev", f"peer{used}")
            _wait("the link up", lambda u=used: router.control.call("port.get", name=f"up{u}")
                  ["port"]["actual"]["state"] == "running", 10)
        for number in range(context.runs(5, 2)):
            flow = Flow(site, 7100 + number)
            time.sleep(0.3)
            router.kill()
            router.launch()
            router.connect()
            site.ip("router", "link", "set", "vm", "netns", site.names["vm"])
            site.ip("vm", "link", "set", "vm", "up")
            site.ip("vm", "address", "replace", "10.0.0.1/24", "dev", "vm")
            site.ip("vm", "route", "replace", "default", "via", "10.0.0.254")
            time.sleep(0.7)
            flow.end()
            killed.append(flow.longest_gap())
        router.stop()
    note = f"longest gap in a flow of {RATE} packets/s"
    return [
        Figure("link: cut, to the flow's first packet by the other", "ms", cut, 10, at_most=True, note=note),
        Figure("link: kill -9 and start of slash32d, outage", "s", killed, 1, at_most=True, note=note),
    ]
