# SPDX-License-Identifier: Apache-2.0
"""Rows about uplinks: the kernel's routes in bulk, a link that is cut, and a daemon that is killed.

    vm (a TAP port in a namespace) - slash32d -+- up0 (veth) - peer0    both peers are one namespace,
                                               +- up1 (veth) - peer1    which counts what arrives"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

from . import firewall, traffic
from .compare import Comparison
from .context import Context
from .figures import Figure
from .kernel import run
from .processes import BenchError, Children
from .router import ROUTER_MAC, Router

PREFIXES4, PREFIXES6 = 800_000, 200_000
CHUNK = 500  # routes a datagram
BACKLOG = 50_000
FAR = "198.51.100.1"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
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

    def router(self, children: Children, directory: Path, poll: str = "sleep", options: list[object] | None = None,
               ) -> Router:
        uplinks = [word for i in (0, 1)
                   for word in ("--uplink", f"name=up{i};devargs=net_af_packet{i},iface=wire{i};damping=false")]
        return Router(self._context, children, directory, poll, options=[*uplinks, *(options or [])],
                      prefix=["ip", "netns", "exec", self.names["router"]])

    def configure(self) -> None:
        for i in (0, 1):
            self.ip("router", "link", "set", f"up{i}", "up")
            self.ip("router", "address", "replace", f"192.0.2.{2 * i}/31", "dev", f"up{i}")

    def socket(self, where: str, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM,
               protocol: int = 0) -> socket.socket:
        """Of a namespace: made by a thread that enters it."""
        made: list[socket.socket] = []

        def make() -> None:
            with open(f"/run/netns/{self.names[where]}", "rb") as file:
                if _libc.setns(file.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket(family, kind, protocol))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not made:
            raise BenchError(f"cannot enter the namespace {self.names[where]}")
        return made[0]


def wait(what: str, condition: Callable[[], bool], seconds: float, pause: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def _route(family: int, length: int, prefix: bytes, via: bytes, interface: int) -> bytes:
    """RTM_NEWROUTE, without a wish for an answer (rtnetlink(7))."""
    rtmsg = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 3, 0, 1, 0)
    body = rtmsg + _attribute(1, prefix) + _attribute(5, via) + _attribute(4, struct.pack("=i", interface))
    create_exclusive = 0x1 | 0x400 | 0x200
    return struct.pack("=IHHII", 16 + len(body), 24, create_exclusive, 0, 0) + body


def _chunks(interfaces: list[int]) -> list[bytes]:
    """The routes of both families over two next hops, some hundreds a datagram."""
    messages = []
    vias4 = [socket.inet_aton(f"192.0.2.{2 * i + 1}") for i in (0, 1)]
    vias6 = [socket.inet_pton(socket.AF_INET6, f"fe80::{i + 1}") for i in (0, 1)]
    for n in range(PREFIXES4):
        prefix = struct.pack(">I", (11 << 24) + (n << 8))
        messages.append(_route(socket.AF_INET, 24, prefix, vias4[n % 2], interfaces[n % 2]))
    for n in range(PREFIXES6):
        prefix = struct.pack(">HHH", 0x2001, n >> 16, n & 65535) + bytes(10)
        messages.append(_route(socket.AF_INET6, 48, prefix, vias6[n % 2], interfaces[n % 2]))
    return [b"".join(messages[first:first + CHUNK]) for first in range(0, len(messages), CHUNK)]


def _send(context: Context, netlink: socket.socket, chunks: list[bytes]) -> float:
    """Seconds until the kernel has taken them all. On the worker's core, which is idle: control has the other."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {context.worker_core})
    try:
        start = time.monotonic()
        for chunk in chunks:
            netlink.send(chunk)
        return time.monotonic() - start
    finally:
        os.sched_setaffinity(0, before)


def _alone(context: Context) -> float:
    """Routes a second that the kernel takes while nobody listens."""
    with Site(context) as site:
        for i in (0, 1):
            site.ip("router", "address", "add", f"192.0.2.{2 * i}/31", "dev", f"wire{i}")
        indexes = [int(site.inside("router", "cat", f"/sys/class/net/wire{i}/ifindex")) for i in (0, 1)]
        netlink = site.socket("router", socket.AF_NETLINK, socket.SOCK_RAW, 0)
        rate = (PREFIXES4 + PREFIXES6) / _send(context, netlink, _chunks(indexes))
        netlink.close()
    return rate


def kernel_routes(context: Context) -> list[Figure]:
    """From the first route's addition to the last one's presence in the forwarding tables; a backlog of
    notifications alone; a daemon that finds all routes there."""
    count = PREFIXES4 + PREFIXES6
    directory = context.fresh("routes")
    followed, caught_up, read, alone = [], [], [], []
    for _ in range(context.runs(3, 1)):
        alone.append(_alone(context))
        with Site(context) as site, context.children() as children:
            router = site.router(children, directory).start()
            site.configure()

            def prefixes() -> int:
                return router.control.call("host.status")["kernel"]["prefixes"]

            indexes = [int(site.inside("router", "cat", f"/sys/class/net/up{i}/ifindex")) for i in (0, 1)]
            chunks = _chunks(indexes)
            netlink = site.socket("router", socket.AF_NETLINK, socket.SOCK_RAW, 0)
            known = prefixes()
            # What the socket has room for, while the daemon stands still.
            os.kill(router.pid, signal.SIGSTOP)
            backlog = chunks[:BACKLOG // CHUNK]
            _send(context, netlink, backlog)
            os.kill(router.pid, signal.SIGCONT)
            start = time.monotonic()
            wait("the backlog", lambda: prefixes() >= known + BACKLOG, 60, 0.001)
            caught_up.append(BACKLOG / (time.monotonic() - start))
            start = time.monotonic()
            _send(context, netlink, chunks[len(backlog):])
            wait("all routes in the tables", lambda: prefixes() >= known + count, 120)
            followed.append((count - BACKLOG) / (time.monotonic() - start))
            state = router.control.call("host.status")["kernel"]
            if state["overruns"] or state["failed"]:
                raise BenchError(f"{state['overruns']} overruns, {state['failed']} routes without room")
            context.say(f"{followed[-1]:,.0f} routes/s followed, {caught_up[-1]:,.0f} caught up with; "
                        f"the kernel alone takes {alone[-1]:,.0f}")
            netlink.close()
            router.kill()
            router.launch()
            router.connect(60)
            start = time.monotonic()
            wait("all routes read", lambda: prefixes() >= count, 120)
            read.append(count / (time.monotonic() - start))
            router.kill()
    return [
        Figure("kernel-routes: followed while 1 M are added", "routes/s", followed, 200_000,
               note="800,000 IPv4 and 200,000 IPv6 prefixes, from the first message to the last in the tables; "
                    "as fast as the kernel takes them"),
        Figure("kernel-routes: the kernel alone, nobody listening", "routes/s", alone),
        Figure(f"kernel-routes: a backlog of {BACKLOG:,} caught up with", "routes/s", caught_up, 200_000),
        Figure("kernel-routes: 1 M read at a start", "routes/s", read, 200_000),
    ]


def measure_behind_wire(context: Context, children: Children, router: Router, set_up: Callable[[], None],
                        wire: Path, devices: list[str], options: list[object]) -> traffic.Sample:
    """Of a router whose uplink is DPDK's virtio device on the vhost-user socket `wire` of the generator's, which
    therefore comes first. `set_up` is called once the router runs."""
    ready, ending = threading.Event(), threading.Event()

    def start() -> None:
        wait("the generator's socket", wire.exists, 15)
        router.start()
        set_up()
        ready.set()
        ending.wait()  # the router ends with the thread that started it

    def counters() -> tuple[int, int]:
        if not ready.wait(15):
            raise BenchError("slash32d was not ready within 15 s")
        return traffic.worker_counters(router)

    threading.Thread(target=start, daemon=True).start()
    sample = traffic.measure(context, children, devices, options, counters)
    router.stop()
    ending.set()
    return sample


def _sample_uplink(context: Context) -> traffic.Sample:
    """A fresh slash32d whose first port is an uplink."""
    directory = context.fresh("pair")
    wire, vm = traffic.sockets(directory)
    with context.children() as children:
        device = f"net_virtio_user0,path={wire},queue_size=1024,mac={ROUTER_MAC}"
        router = Router(context, children, directory, "busy",
                        options=["--uplink", f"name=wire;devargs={device};address=192.0.2.0"])

        def set_up() -> None:
            router.add_port("b", vm, traffic.MACS[1], traffic.SOURCES[1])
            router.control.call("neighbor.apply", port="wire", address="192.0.2.1", mac=traffic.MACS[0])
            behind_wire, behind_vm = traffic.addresses_behind()
            for addresses, to in ((behind_wire, {"port": "wire", "via": "192.0.2.1"}), (behind_vm, {"port": "b"})):
                router.control.call("route.apply", routes=[
                    {"prefixes": [f"{address}/32" for address in addresses], "next_hop": to}])

        return measure_behind_wire(context, children, router, set_up, wire,
                                   [f"net_vhost0,iface={wire}", f"listen:{vm}"], [])


def uplink(context: Context) -> list[Figure]:
    """64-byte UDP both ways between a VM and an uplink, over the same between two VMs; nothing tracked."""
    got = Comparison(context, context.runs(5, 2), {
        "VM and VM": lambda: traffic.sample_router(context, []),
        "VM and uplink": lambda: _sample_uplink(context),
    })
    return [
        got.over_by_cycles("uplink: VM and uplink over VM and VM, by cycles", "VM and uplink", "VM and VM", 0.9),
        *(got.cycles(f"uplink: {name}, busy", name) for name in ("VM and VM", "VM and uplink")),
    ]


def _loading(context: Context, flows: int) -> tuple[float, float, float]:
    """(cycles a packet while it is quiet, while routes come in, routes a second) of one fresh router."""
    directory = context.fresh("pair")
    with Site(context) as site, context.children() as children:
        table = 1 << 18
        router = site.router(children, directory, "busy", ["--conntrack-flows", table]).start()
        site.configure()
        router.control.call("conntrack.config", flows_per_port=table, half_open_per_port=table, half_open=table)
        firewall.filtered_pair(router, directory, firewall.rules(100))

        def take() -> traffic.Sample:
            return traffic.measure(context, children, traffic.listening(directory), firewall.two_way(flows),
                                   lambda: traffic.worker_counters(router))

        quiet = take().cycles
        indexes = [int(site.inside("router", "cat", f"/sys/class/net/up{i}/ifindex")) for i in (0, 1)]
        chunks = _chunks(indexes)
        netlink = site.socket("router", socket.AF_NETLINK, socket.SOCK_RAW, 0)
        ending = threading.Event()

        def load() -> None:
            # This thread alone; the worker's core must be its own.
            os.sched_setaffinity(0, {context.other_core})
            for chunk in chunks:
                if ending.is_set():
                    return
                netlink.send(chunk)

        before = router.control.call("host.status")["kernel"]["prefixes"]
        loader = threading.Thread(target=load)
        start = time.monotonic()
        loader.start()
        busy = take().cycles
        ending.set()
        loader.join()
        rate = (router.control.call("host.status")["kernel"]["prefixes"] - before) / (time.monotonic() - start)
        netlink.close()
        router.kill()
    return quiet, busy, rate


def loading(context: Context) -> list[Figure]:
    """Cycles a packet of established flows, 100 rules at both ports, quiet over while routes come in. The routes,
    control and the generator share the other core, so the rate of packets is the generator's."""
    figures = []
    for flows in (1024, 100_000):
        taken = [_loading(context, flows) for _ in range(context.runs(3, 1))]
        for quiet, busy, rate in taken:
            context.say(f"{flows:,} flows: {quiet:.0f} cycles/packet quiet, {busy:.0f} with {rate:,.0f} routes/s")
        figures.append(Figure(f"loading: {flows:,} flows while routes load, over quiet, by cycles", "x",
                              [quiet / busy for quiet, busy, _ in taken], 0.7,
                              note=f"{min(rate for *_, rate in taken):,.0f} routes/s meanwhile"))
    return figures


class Flow:
    """Numbered UDP packets from the VM to the far address; when each arrived."""

    def __init__(self, site: Site, port: int) -> None:
        self.out, self.back = site.socket("vm"), site.socket("peer")
        self.back.bind((FAR, port))
        self.back.setblocking(False)
        self.out.connect((FAR, port))
        self.arrived: dict[int, float] = {}
        self.sent = 0
        self._complete = 0  # sent so long ago that they have arrived, if at all
        self._end = 0.0
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
        self._complete = self.sent
        self._end = time.monotonic()
        time.sleep(0.2)  # for these to arrive
        self._ending = True
        for thread in self._threads:
            thread.join()
        self.out.close()
        self.back.close()

    def lost(self) -> int:
        """REQUIRES: it has ended."""
        return sum(number not in self.arrived for number in range(self._complete))

    def longest_gap(self) -> float:
        """The one up to the end included."""
        times = sorted([*self.arrived.values(), self._end])
        return max(b - a for a, b in zip(times, times[1:]))


def attach(site: Site, router: Router, **more: Any) -> None:
    """The VM at a TAP port of the router's; `more`: further parameters of port.apply."""
    router.control.call("port.apply", name="vm", kind="tap", mac="52:54:00:00:00:01", addresses=["10.0.0.1/24"],
                        gateways=["10.0.0.254"], groups=["any"], **more)
    site.ip("router", "link", "set", "vm", "netns", site.names["vm"])
    site.ip("vm", "link", "set", "vm", "up")
    site.ip("vm", "address", "replace", "10.0.0.1/24", "dev", "vm")
    site.ip("vm", "route", "replace", "default", "via", "10.0.0.254")


class Transfer:
    """A TCP connection from the VM to the far address, some MB/s; when something of it arrived."""

    def __init__(self, site: Site, port: int) -> None:
        with site.socket("peer", kind=socket.SOCK_STREAM) as listener:
            listener.bind((FAR, port))
            listener.listen(1)
            self.out = site.socket("vm", kind=socket.SOCK_STREAM)
            self.out.settimeout(10)
            self.out.connect((FAR, port))
            self.back = listener.accept()[0]
        self.back.settimeout(0.05)
        self.times: list[float] = []
        self._ending = False
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._ending:
            self.out.sendall(bytes(1000))
            time.sleep(1 / RATE)

    def _receive(self) -> None:
        while not self._ending:
            try:
                self.back.recv(1 << 16)
            except TimeoutError:
                continue
            self.times.append(time.monotonic())

    def end(self) -> None:
        self.times.append(time.monotonic())
        self._ending = True
        for thread in self._threads:
            thread.join()
        self.out.close()
        self.back.close()

    def longest_gap(self) -> float:
        """The one up to the end included."""
        times = sorted(self.times)
        return max(b - a for a, b in zip(times, times[1:]))


def _cut(site: Site, router: Router, begin: Callable[[], Flow | Transfer]) -> float:
    """Cuts the link by which traffic goes. Returns its longest gap in ms, once the link is up again."""
    def received() -> list[int]:
        return [int(site.inside("peer", "cat", f"/sys/class/net/peer{i}/statistics/rx_packets")) for i in (0, 1)]

    site.ip("peer", "route", "replace", "10.0.0.0/24", "nexthop", "via", "192.0.2.0", "nexthop", "via", "192.0.2.2")
    under_way = begin()
    time.sleep(0.5)
    before = received()
    time.sleep(0.2)
    grown = [b - a for a, b in zip(before, received())]
    used = 0 if grown[0] > grown[1] else 1
    site.ip("peer", "link", "set", f"peer{used}", "down")
    time.sleep(0.5)
    under_way.end()
    site.ip("peer", "link", "set", f"peer{used}", "up")
    site.ip("peer", "address", "replace", f"192.0.2.{2 * used + 1}/31", "dev", f"peer{used}")
    wait("the link up", lambda: router.control.call("port.get", name=f"up{used}")
          ["port"]["actual"]["state"] == "running", 10)
    return under_way.longest_gap() * 1000


def _reload(site: Site, router: Router, file: Path, port: int) -> float:
    """Changes the configuration ten times under traffic. Returns the packets lost."""
    flow = Flow(site, port)
    for seconds in range(60, 70):
        file.write_text(f'[conntrack]\ntimeouts = ["udp_timeout={seconds}"]\n')
        os.kill(router.pid, signal.SIGHUP)
        wait("the new timeout", lambda s=seconds: router.control.call("conntrack.config")
              ["timeouts"]["udp_timeout"] == s, 5)
    flow.end()
    return float(flow.lost())


def _kill(site: Site, router: Router, port: int) -> float:
    """Kills slash32d under traffic and starts it. Returns the outage in seconds."""
    flow = Flow(site, port)
    time.sleep(0.3)
    router.kill()
    router.launch()
    router.connect()
    site.ip("router", "link", "set", "vm", "netns", site.names["vm"])
    site.ip("vm", "link", "set", "vm", "up")
    site.ip("vm", "address", "replace", "10.0.0.1/24", "dev", "vm")
    site.ip("vm", "route", "replace", "default", "via", "10.0.0.254")
    before = flow.sent
    wait("packets again", lambda: any(number > before for number in list(flow.arrived)), 10)
    flow.end()
    return flow.longest_gap()


def link(context: Context) -> list[Figure]:
    """What the traffic of a VM sees of a link that is cut, of a daemon that is killed, and of a configuration that
    changes."""
    with Site(context) as site, context.children() as children:
        directory = context.fresh("link")
        file = directory / "slash32.toml"
        file.write_text("")
        router = site.router(children, directory, options=["--config", file]).start()
        site.configure()
        site.ip("router", "route", "add", "default", "nexthop", "via", "192.0.2.1", "nexthop", "via", "192.0.2.3")
        attach(site, router)
        cut = [_cut(site, router, lambda n=n: Flow(site, 7000 + n)) for n in range(context.runs(12, 4))]
        stall = [_cut(site, router, lambda n=n: Transfer(site, 7300 + n)) for n in range(context.runs(12, 4))]
        lost = [_reload(site, router, file, 7200 + n) for n in range(context.runs(5, 2))]
        killed = [_kill(site, router, 7100 + n) for n in range(context.runs(5, 2))]
        router.stop()
    note = f"longest gap in a flow of {RATE} packets/s"
    return [
        Figure("link: cut, to the flow's first packet by the other", "ms", cut, 10, at_most=True, note=note),
        Figure("link: cut under a TCP transfer, longest time without progress", "ms", stall, 200, at_most=True),
        Figure("link: packets lost while the configuration is read again", "packets", lost, 0, at_most=True,
               note=f"ten times under {RATE} packets/s"),
        Figure("link: kill -9 and start of slash32d, outage", "s", killed, 1, at_most=True, note=note),
    ]


def announce(context: Context) -> list[Figure]:
    """From the connection of a vhost-user frontend to the /32 in the kernel of a top-of-rack router, by FRR with
    its defaults but for an advertisement interval of 0; in the fabric of the end-to-end tests."""
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(root / "tests" / folder) for folder in ("e2e", "protocol")]
    try:
        # pylint: disable=import-outside-toplevel
        from support.fabric import BgpFabric
        from support.frontend import Frontend, address4, port_fields
        from support.resources import Resources
        from support.routing import Frr
    except ImportError as error:
        raise BenchError(f"the end-to-end tests cannot run here: {error}") from error
    if not Path(Frr.FOLDER).is_dir():
        raise BenchError("FRR is not installed (package frr)")
    resources = Resources(context.build)
    took = []
    try:
        fabric = BgpFabric(resources, Frr)
        daemon, tor = fabric.lab.daemon, fabric.tor_bgp[0]
        for number in range(40, 40 + context.runs(10, 3)):
            daemon.call("port.apply", **port_fields(daemon, number))
            with Frontend(context.build, daemon.directory, "echo", "--port", number):
                name = f"p{number}"
                wait("the frontend", lambda n=name: daemon.port(n)["actual"]["state"] in ("connected", "running"), 10,
                      0.001)
                start = time.monotonic()
                wait("the route", lambda n=number: tor.has(address4(n)), 10, 0.001)
                took.append((time.monotonic() - start) * 1000)
            daemon.call("port.delete", name=name)
    except AssertionError as error:
        raise BenchError(str(error)) from error
    finally:
        resources.close()
    return [Figure("announce: VM connected to its /32 at the neighbour", "ms", took, 300, at_most=True,
                   note="FRR 8.4, in the kernel's table of the neighbour")]
