# SPDX-License-Identifier: Apache-2.0
"""The generator's pair of ports, and what forwards between them: slash32d, or testpmd in io mode,
which does no work at all and is the ceiling."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from .context import Context, find_testpmd
from .processes import Child, Children
from .router import ROUTER_MAC, Router, address_text

DESTINATIONS = 1024
MACS = ("02:00:00:01:00:01", "02:00:00:01:00:02")
SOURCES = ("10.254.255.1", "10.253.255.1")
FIRST_DESTINATIONS = ("10.253.0.0", "10.254.0.0")  # of the first, of the second port's packets
SOURCE_NETWORKS = ("10.254.0.0/16", "10.253.0.0/16")  # of the first, of the second port's packets
NAMES = ("a", "b")


@dataclasses.dataclass
class Sample:
    """One measurement."""

    mpps: float
    gbps: float
    cycles: float        # busy cycles a packet, of the forwarder
    busy_percent: float  # of the forwarder
    result: dict[str, Any]  # the generator's own words


def sockets(directory: Path) -> list[Path]:
    return [directory / "a.sock", directory / "b.sock"]


def add_pair(router: Router, directory: Path) -> None:
    """The generator's two ports, and its routes."""
    for name, socket, mac, address in zip(NAMES, sockets(directory), MACS, SOURCES):
        router.add_port(name, socket, mac, address)
    add_routes(router)


def addresses_behind() -> list[list[str]]:
    """The generator's destinations behind the first and behind the second port."""
    return [[address_text(base + n) for n in range(DESTINATIONS)]
            for base in (10 << 24 | 254 << 16, 10 << 24 | 253 << 16)]


def add_routes(router: Router) -> None:
    """A host route for each of the generator's destinations."""
    for to, addresses in zip(NAMES, addresses_behind()):
        router.add_routes([f"{address}/32" for address in addresses], to)


def start_generator(context: Context, children: Children, devices: Sequence[str],
                    options: list[object], window: float | None = None,
                    prefix: Sequence[object] = ()) -> Child:
    """`devices` as the generator's options name them; `prefix`: a command that runs it."""
    if "--flows" not in options:
        options = [*options, "--flows", DESTINATIONS, "--dst-count", DESTINATIONS]
    for name, value in (("--warmup", 1), ("--seconds", window or context.window),
                        ("--dst-ip", ",".join(FIRST_DESTINATIONS))):
        if name not in options:
            options = [*options, name, value]
    argv: list[object] = [*prefix, context.program("s32-pktgen"), "--core", context.other_core,
                          "--connect", 15, "--dst-mac", ROUTER_MAC, "--src-mac", ",".join(MACS),
                          "--src-ip", ",".join(SOURCES), *options]
    for device in devices:
        argv += ["--device", device]
    if context.huge:
        argv.append("--huge")
    return children.start(argv)


def listening(directory: Path) -> list[str]:
    """The generator as two VMs: on vhost-user sockets that the forwarder connects to."""
    return [f"listen:{path}" for path in sockets(directory)]


def measure(context: Context, children: Children, devices: Sequence[str], options: list[object],
            counters: Callable[[], tuple[int, int]], window: float | None = None,
            prefix: Sequence[object] = ()) -> Sample:
    """Runs the generator once. `counters` gives (busy cycles, packets) of the forwarder so far."""
    seconds_wanted = window or context.window
    generator = start_generator(context, children, devices, options, window, prefix)
    try:
        generator.event("measuring", 30)
        start = time.monotonic()
        busy, packets = counters()
        time.sleep(seconds_wanted * 0.8)
        busy_after, packets_after = counters()
        seconds = time.monotonic() - start
        result = generator.event("result", seconds_wanted + 15)
        generator.process.wait(10)
    finally:
        generator.stop()
    cycles = busy_after - busy
    handled = packets_after - packets
    return Sample(mpps=result["total"]["received_pps"] / 1e6,
                  gbps=result["total"]["received_gbps"],
                  cycles=cycles / handled if handled else 0.0,
                  busy_percent=100 * cycles / (seconds * result["generator"]["hz"]),
                  result=result)


def worker_counters(router: Router) -> tuple[int, int]:
    worker = router.worker()
    return worker["busy_cycles"], worker["rx_packets"]


def sample_router(context: Context, options: list[object]) -> Sample:
    """A fresh slash32d, busy polling, with the pair and nothing else."""
    directory = context.fresh("pair")
    with context.children() as children:
        router = Router(context, children, directory, poll="busy").start()
        add_pair(router, directory)
        sample = measure(context, children, listening(directory), options, lambda: worker_counters(router))
        router.stop()
    return sample


def sample_routes(context: Context, routes: int) -> Sample:
    """The first port sends to a million addresses behind the second, which have a host route each, or one
    prefix. Nothing is tracked."""
    directory = context.fresh("pair")
    million = 1_000_000
    options: list[object] = ["--one-way", "--flows", million, "--dst-count", million, "--warmup", 2,
                             "--dst-ip", "20.0.0.0,30.0.0.0"]
    with context.children() as children:
        router = Router(context, children, directory, poll="busy").start()
        for name, socket, mac, address in zip(NAMES, sockets(directory), MACS, SOURCES):
            router.add_port(name, socket, mac, address)
        if routes == 1:
            router.add_routes(["20.0.0.0/8"], "b")
        else:
            step = 10_000
            for first in range(20 << 24, (20 << 24) + routes, step):
                router.add_routes([f"{address_text(first + n)}/32" for n in range(step)], "b")
        sample = measure(context, children, listening(directory), options,
                         lambda: worker_counters(router))
        router.stop()
    return sample


class Testpmd:
    """testpmd with two vhost ports and one forwarding core; as a client like slash32d."""

    PROMPT = b"testpmd> "

    def __init__(self, context: Context, children: Children, directory: Path, tso: bool,
                 mode: str) -> None:
        # Line by line, or what it prints comes after the prompt that ends it.
        argv: list[object] = ["stdbuf", "-oL", find_testpmd(),
                              "--lcores", f"0@{context.other_core},1@{context.worker_core}",
                              "--no-pci", "--no-telemetry", "--single-file-segments",
                              "--file-prefix", "s32-bench-testpmd", "--log-level", "error"]
        argv += ["--in-memory", "--socket-mem=512"] if context.huge \
            else ["--no-huge", "--no-shconf", "-m", "512"]
        for number, path in enumerate(sockets(directory)):
            # With offloads, the flags are left as they came, so that io mode passes them on.
            argv.append(f"--vdev=net_vhost{number},iface={path},client=1,"
                        f"tso={int(tso)},legacy-ol-flags=1")
        argv += ["--", "-i", f"--forward-mode={mode}", "--total-num-mbufs=65536", "--record-core-cycles"]
        self._child = children.start(argv)
        self._child.read_until(self.PROMPT, 60)
        self.command("start")

    def command(self, text: str) -> str:
        self._child.write(text + "\n")
        return self._child.read_until(self.PROMPT, 20).decode(errors="replace")

    def counters(self) -> tuple[int, int]:
        """(busy cycles, packets received) since the start."""
        text = self.command("show fwd stats all")
        found = re.search(r"total cycles=(\d+) / total \w+ packets=(\d+)", text)
        return (int(found[1]), int(found[2])) if found else (0, 0)


def sample_testpmd(context: Context, options: list[object], tso: bool = False, mode: str = "io") -> Sample:
    """A fresh testpmd; mode "io" does no work at all, "macswap" looks at every packet."""
    directory = context.fresh("pair")
    with context.children() as children:
        testpmd = Testpmd(context, children, directory, tso, mode)
        return measure(context, children, listening(directory), options, testpmd.counters)
