# SPDX-License-Identifier: Apache-2.0
"""The Linux kernel as a peer: veth pairs, host routes, nftables with connection tracking, in namespaces of
this benchmark's own. It does what slash32d does: checks sources, holds new connections against the rules of
both ports, routes.

Receive steering puts all forwarding on the worker's core, and what comes back on the generator's: without
it the kernel forwards a packet on the core that sends it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from . import traffic
from .context import Context
from .processes import BenchError
from .router import ROUTER_MAC
from .traffic import Sample

PORTS = ("vm1", "vm2")
TICKS = os.sysconf("SC_CLK_TCK")


def run(*argv: object, text: str | None = None) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, input=text, text=True, capture_output=True, check=False, timeout=60)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(words[:6])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _match(rule: dict[str, Any]) -> str:
    """A rule as nftables writes it."""
    words = []
    if "remote_prefix" in rule:
        words.append(f"ip {'daddr' if rule['direction'] == 'egress' else 'saddr'} {rule['remote_prefix']}")
    if "port_min" in rule:
        words.append(f"{rule['protocol']} dport {rule['port_min']}-{rule['port_max']}")
    else:
        words.append(f"meta l4proto {rule['protocol']}")
    return " ".join(words)


def _ruleset(rules: list[dict[str, Any]]) -> str:
    """Both ports filtered by `rules`: a chain for what a port sends, one for what it receives."""
    lines = ["table inet bench {", "chain receive {"]
    lines += [f"{_match(rule)} accept" for rule in rules if rule["direction"] == "ingress"]
    lines += ["drop", "}", "chain send {"]
    lines += [f"{_match(rule)} goto receive" for rule in rules if rule["direction"] == "egress"]
    lines += ["drop", "}", "chain forward {", "type filter hook forward priority filter; policy drop;"]
    for port, network in zip(PORTS, traffic.SOURCE_NETWORKS):
        lines.append(f'iifname "{port}" ip saddr != {network} drop')
    lines += ["ct state established,related accept", "ct state new goto send", "}", "}"]
    return "\n".join(lines) + "\n"


class Kernel:
    """Two namespaces: the router with a port for each of two VMs, the generator with their other ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.router = f"s32-bench-router-{os.getpid()}"
        self.generator = f"s32-bench-generator-{os.getpid()}"
        mhz = re.search(r"cpu MHz\s*: ([\d.]+)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
        self._hz = float(mhz[1]) * 1e6 if mhz else 1e9

    def __enter__(self) -> Kernel:
        for tool in ("ip", "nft"):
            if shutil.which(tool) is None:
                raise BenchError(f"{tool} is not installed (packages iproute2, nftables)")
        if os.geteuid() != 0:
            raise BenchError("needs root for network namespaces")
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in (self.router, self.generator):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def set_up(self, rules: list[dict[str, Any]]) -> None:
        for namespace in (self.router, self.generator):
            run("ip", "netns", "add", namespace)
        self._in_router("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.default.disable_ipv6=1",
                        "net.ipv6.conf.all.disable_ipv6=1")
        batch = []
        ports = zip(PORTS, traffic.MACS, traffic.SOURCES, traffic.addresses_behind())
        for port, mac, source, behind in ports:
            run("ip", "-n", self.router, "link", "add", port, "address", ROUTER_MAC, "type", "veth", "peer",
                 "name", port, "netns", self.generator, "address", mac)
            run("ip", "-n", self.generator, "link", "set", port, "up")
            batch += [f"link set {port} up", f"addr add 169.254.0.1/32 dev {port}",
                      f"route add {source}/32 dev {port}",
                      f"neigh add {source} lladdr {mac} nud permanent dev {port}"]
            batch += [f"route add {host}/32 via {source} dev {port} onlink" for host in behind]
        run("ip", "-n", self.router, "-batch", "-", text="\n".join(batch) + "\n")
        self._in_router("nft", "-f", "-", text=_ruleset(rules))
        for port in PORTS:
            self._steer(self.router, port, self._context.worker_core)
            self._steer(self.generator, port, self._context.other_core)

    def counters(self) -> tuple[int, int]:
        """(busy cycles of the worker's core, packets that the router received) so far."""
        stat = Path("/proc/stat").read_text(encoding="ascii")
        line = re.search(rf"^cpu{self._context.worker_core} (.*)$", stat, re.MULTILINE)
        if line is None:
            raise BenchError("/proc/stat does not tell of the worker's core")
        user, nice, system, _, _, irq, softirq, *_ = (int(word) for word in line[1].split())
        files = [f"/sys/class/net/{port}/statistics/rx_packets" for port in PORTS]
        packets = sum(int(word) for word in self._in_router("cat", *files).split())
        return int((user + nice + system + irq + softirq) / TICKS * self._hz), packets

    def devices(self) -> list[str]:
        return [f"net_af_packet{number},iface={port}" for number, port in enumerate(PORTS)]

    def _in_router(self, *argv: object, text: str | None = None) -> str:
        return run("ip", "netns", "exec", self.router, *argv, text=text)

    @staticmethod
    def _steer(namespace: str, port: str, core: int) -> None:
        run("ip", "netns", "exec", namespace, "sh", "-c",
             f"echo {1 << core:x} > /sys/class/net/{port}/queues/rx-0/rps_cpus")


def sample(context: Context, options: list[object], rules: list[dict[str, Any]]) -> Sample:
    """The kernel in fresh namespaces, both ports filtered by `rules`, measured once."""
    with Kernel(context) as kernel, context.children() as children:
        kernel.set_up(rules)
        return traffic.measure(context, children, kernel.devices(), options, kernel.counters,
                               prefix=["ip", "netns", "exec", kernel.generator])
