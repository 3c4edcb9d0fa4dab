#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses over a fabric of BGP routers, step by step; `make demo-overlay` is this.

    tests/fabric/overlay.py [--build DIR] [--bgp frr|bird]

                    spine - a3, b3     a Linux kernel with seg6, the third node
                   /     \\
               tor0       tor1         BGP routers that know IPv6 alone
               |   \\     /   |
               |    \\   /    |
          hypervisor0  hypervisor1     a slash32d each
           a1, b1         a2, b2       machines of tenant a (VRF 7) and tenant b (VRF 8)

Machine N of either tenant is 10.7.0.N. Exits with 0 only if every step held.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "demo"), str(HERE.parent / "protocol")]

from scapy.layers.inet import ICMP  # noqa: E402
from screen import StepFailed  # noqa: E402
from steps import Steps, main  # noqa: E402
from support import until  # noqa: E402
from support.overlay import Overlay, address, sid  # noqa: E402


class Demo(Steps):
    """The fabric, and the steps in their order."""

    NAME = "demo-overlay"
    TITLE = "Two tenants with the same addresses, and a fabric that knows neither"

    def steps(self) -> list[tuple[str, Callable[[], str], bool]]:
        """Title, function, and whether the steps after it need it."""
        return [
            ("Build the fabric, two hypervisors, and two tenants on each", self.build, True),
            ("What a hypervisor knows of tenant a", self.routes, False),
            ("a1 talks to a2, b1 to b2: the same addresses", self.ping, False),
            ("Nothing of one tenant is seen by the other", self.apart, False),
            ("a1 talks to a3, behind a Linux kernel", self.linux, False),
            ("A packet of a1 in the fabric", self.dissect, False),
            ("What has come for each segment", self.count, False),
        ]

    def build(self) -> str:
        self.overlay = Overlay(self.resources, self.kind)
        self.here, self.there = self.overlay.hypervisors
        self.screen.command("hypervisor0", "ip -6 route show | grep fc00")
        routes = self.here.host.ip("-6", "route", "show").splitlines()
        self.screen.output("\n".join(route for route in routes if route.startswith("fc00")))
        return "every node's locator is known everywhere, by BGP"

    def routes(self) -> str:
        for words in (("vrf", "list"), ("route", "list", "--vrf", "7")):
            self.screen.command("hypervisor0", "slash32ctl " + " ".join(words))
            self.screen.output(self.here.lab.daemon.ctl(*words).stdout)
        return "a route of the VRF leads to a segment of the machine's hypervisor"

    def ping(self) -> str:
        for tenant in ("a", "b"):
            self.screen.command(f"{tenant}1", f"ping -c 3 {address(2)}")
            done = self.overlay.machines[tenant, 1].run("ping", "-n", "-c", 3, "-i", 0.1, "-W", 3, address(2))
            self.screen.output("\n".join(done.stdout.splitlines()[-2:]))
        return f"both are {address(1)}, and both reach {address(2)}"

    def apart(self) -> str:
        machines = self.overlay.machines
        with machines["a", 2].wire() as mine, machines["b", 2].wire() as others:
            machines["a", 1].ping(address(2), 5)
            seen = [self.pings(wire) for wire in (mine, others)]
        if seen != [5, 0]:
            raise StepFailed(f"a2 saw {seen[0]} pings, b2 {seen[1]}")
        return "a2 saw five pings of a1, b2 none"

    @staticmethod
    def pings(wire: object) -> int:
        count = 0
        while wire.receive(lambda p: p.haslayer(ICMP) and p[ICMP].type == 8, 0.3):  # type: ignore[attr-defined]
            count += 1
        return count

    def linux(self) -> str:
        for tenant in ("a", "b"):
            self.overlay.machines[tenant, 1].run("ping", "-n", "-c", 3, "-i", 0.1, "-W", 3, address(3))
        self.screen.command("spine", "ip -6 route show | grep seg6local")
        routes = self.overlay.spine.ip("-6", "route", "show").splitlines()
        self.screen.output("\n".join(route for route in routes if "seg6local" in route))
        return "End.DX4 of the kernel there, End.DT46 of slash32 here"

    def dissect(self) -> str:
        capture = self.resources.directory() / "fabric.pcap"
        tcpdump = self.there.lab.router.start("tcpdump", "-i", "wire0", "-U", "-w", capture, "ip6 proto 4",
                                              stderr=subprocess.PIPE, text=True)
        other = self.there.lab.router.start("tcpdump", "-i", "wire1", "-U", "-w", f"{capture}.1", "ip6 proto 4",
                                            stderr=subprocess.PIPE, text=True)
        try:
            for one in (tcpdump, other):
                assert one.stderr is not None and "listening" in one.stderr.readline()
            self.overlay.machines["a", 1].ping(address(2), 2)
            captured = [Path(str(capture) + end) for end in ("", ".1")]
            until(lambda: any(one.stat().st_size > 100 for one in captured), "a packet in the fabric", 5)
        finally:
            for one in (tcpdump, other):
                one.terminate()
                one.wait()
        text = "".join(subprocess.run(["tshark", "-r", one, "-c", "1", "-O", "ipv6,ip,icmp"], capture_output=True,
                                      text=True, check=False).stdout for one in captured)
        wanted = ("Internet Protocol", "Traffic Class", "Flow Label", "Next Header", "Source Address",
                  "Destination Address", "Type:")
        self.screen.command("fabric", "tcpdump, dissected by tshark")
        self.screen.output("\n".join(line for line in text.splitlines() if any(word in line for word in wanted)))
        if sid(2, "a") not in text and sid(1, "a") not in text:
            raise StepFailed("no packet to a segment of tenant a")
        return "IPv4 in IPv6, 40 bytes more: a reduced tunnel of one segment has no routing header"

    def count(self) -> str:
        self.screen.command("hypervisor1", "slash32ctl show segments")
        shown = self.there.lab.daemon.ctl("show", "segments").stdout
        self.screen.output(shown)
        counts = {one["prefix"]: one["packets"] for one in self.there.lab.daemon.call("sid.list")["sids"]}
        if not all(counts[f"{sid(2, tenant)}/128"] > 0 for tenant in ("a", "b")):
            raise StepFailed("a segment has seen no packet")
        return "packets and bytes by segment, so by tenant"


if __name__ == "__main__":
    sys.exit(main(Demo, __doc__ or ""))
