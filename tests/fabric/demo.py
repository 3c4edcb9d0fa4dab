#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two hypervisors in a fabric of BGP routers, step by step; `make demo-fabric` is this.

    tests/fabric/demo.py [--build DIR] [--bgp frr|bird]

                 spine
                /     \\
            tor0       tor1        BGP routers, a namespace each
            |   \\     /   |
            |     \\ /     |        routed links, no L2, no bond
            |     / \\     |
          hypervisor0  hypervisor1    a slash32d and a BGP daemon each
             vm1          vm2         10.0.0.11, 10.0.0.12: namespaces on TAP ports

Each hypervisor announces a /32 and a /128 for each of its machines and has two equal ways to the rest. Exits
with 0 only if every step held.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "demo"), str(HERE.parent / "protocol")]

from screen import StepFailed  # noqa: E402
from steps import Steps, main  # noqa: E402
from support import Stream, until  # noqa: E402
from support.fabric import FAR4, TOR6, BgpFabric  # noqa: E402

RATE_S = 0.001  # between two packets of a stream
TRANSFER_S = 4
STALL_MS = 200


class Demo(Steps):
    """The fabric, and the steps in their order."""

    NAME = "demo-fabric"
    TITLE = "Two hypervisors, and between them nothing but routers"

    def steps(self) -> list[tuple[str, Callable[[], str], bool]]:
        """Title, function, and whether the steps after it need it."""
        return [
            ("Build two hypervisors, two top-of-rack routers and a spine", self.build, True),
            ("Give each hypervisor a machine", self.add_machines, True),
            ("What the fabric has learnt of vm1", self.routes, False),
            ("vm1 talks to vm2, over the fabric", self.ping, False),
            ("The way from vm1 to vm2", self.trace, False),
            ("Cut a link under a TCP transfer", self.cut_link, False),
            ("Move vm1 to the other hypervisor under traffic", self.move, False),
            ("Kill slash32d, and start it again", self.kill_router, False),
        ]

    def build(self) -> str:
        self.fabric = BgpFabric(self.resources, self.kind, hypervisors=2)
        self.here, self.there = self.fabric.hypervisors
        self.screen.output(self.here.host.ip("route", "show", FAR4))
        return f"{sum(s.sessions() for s in self.fabric.speakers)} ends of BGP sessions are established"

    def add_machines(self) -> str:
        self.vm1, self.vm2 = self.here.lab.machine(1), self.there.lab.machine(2)
        start = time.monotonic()
        for machine in (self.vm1, self.vm2):
            self.fabric.reaches(machine)
        return f"the spine has both machines, {time.monotonic() - start:.1f} s later at the most"

    def routes(self) -> str:
        self.screen.command("hypervisor0", "ip route show proto 132")
        self.screen.output(self.here.host.ip("route", "show", "proto", 132))
        self.screen.command("spine", f"ip route show {self.vm1.ip4}")
        ways = self.fabric.spine_bgp.route(self.vm1.ip4)
        self.screen.output(ways)
        if ways.count("nexthop") != 2:
            raise StepFailed("the spine has not two ways to it")
        return "a host route in the kernel, two equal ways in the fabric"

    def ping(self) -> str:
        for address in (self.vm2.ip4, self.vm2.ip6, FAR4):
            self.screen.command("vm1", f"ping -c 3 {address}")
            done = self.vm1.run("ping", "-n", "-c", 3, "-i", 0.1, "-W", 3, address)
            self.screen.output("\n".join(done.stdout.splitlines()[-2:]))
        return "by IPv4 and IPv6, and beyond the fabric"

    def trace(self) -> str:
        """Hop limits of 1, 2, ...: who answers."""
        seen = []
        for ttl in range(1, 6):
            done = self.vm1.run("ping", "-n", "-c", 1, "-W", 2, "-t", ttl, self.vm2.ip4, check=False)
            lines = [line for line in done.stdout.splitlines() if "rom " in line]
            seen.append(f"{ttl}  {lines[0] if lines else '*'}")
            if "bytes from" in seen[-1]:
                break
        self.screen.output("\n".join(seen))
        if "bytes from" not in seen[-1]:
            raise StepFailed("vm2 was not reached")
        return f"{len(seen) - 1} routers between two machines of one prefix"

    def cut_link(self) -> str:
        server = self.vm2.start("iperf3", "-s", "-1")
        time.sleep(0.5)
        client = self.vm1.start("iperf3", "-c", self.vm2.ip4, "-t", TRANSFER_S, "-i", 0.1, "-b", "200M", "-J",
                                stdout=-1)
        time.sleep(TRANSFER_S / 2)
        before = [self.sent(i) for i in (0, 1)]
        time.sleep(0.2)
        used = max((0, 1), key=lambda i: self.sent(i) - before[i])
        self.screen.command(f"tor{used}", f"ip link set {self.here.device} down   # where the transfer passes")
        self.fabric.tors[used].ip("link", "set", self.here.device, "down")
        report = json.loads(client.communicate(timeout=30)[0])
        server.wait()
        if "error" in report:
            raise StepFailed(report["error"])
        intervals = [(i["sum"]["seconds"], i["sum"]["bytes"]) for i in report["intervals"]]
        stall, longest = 0.0, 0.0
        for seconds, count in intervals:
            stall = 0.0 if count else stall + seconds
            longest = max(longest, stall)
        moved = report["end"]["sum_sent"]["bytes"] / 1e6
        self.put_link_back(used)
        if longest * 1000 > STALL_MS:
            raise StepFailed(f"no progress for {longest * 1000:.0f} ms")
        return f"{moved:.0f} MB went on; without progress for {longest * 1000:.0f} ms, in steps of 100 ms"

    def sent(self, i: int) -> int:
        return self.here.lab.daemon.port(f"up{i}")["counters"]["tx_packets"]

    def put_link_back(self, i: int) -> None:
        tor = self.fabric.tors[i]
        tor.ip("link", "set", self.here.device, "up")
        tor.ip("address", "replace", f"{TOR6[i]}/127", "dev", self.here.device, "nodad")
        self.fabric.tor_bgp[i].kill()
        self.fabric.tor_bgp[i].start()
        self.fabric.settle()
        for machine in (self.vm1, self.vm2):
            self.fabric.reaches(machine)

    def move(self) -> str:
        with Stream(self.fabric.spine, self.vm1, self.vm1.ip4, interval_s=RATE_S) as stream:
            self.screen.command("hypervisor0", "slash32ctl port delete vm1")
            start = time.monotonic()
            self.here.lab.daemon.call("port.delete", name=self.vm1.port)
            self.vm1.lab = self.there.lab
            self.screen.command("hypervisor1", f"slash32ctl port add vm1 --mac {self.vm1.mac} --address {self.vm1.ip4}")
            self.there.lab.apply(self.vm1)
            self.vm1.attach()
            there_after = time.monotonic() - start
            stream.pass_packets(200)
            until(lambda: "dev" in self.fabric.spine_bgp.route(self.vm1.ip4), "the route", 10)
            stream.pass_packets(200)
            lost = stream.stop()
        self.vm2.ping(self.vm1.ip4)
        return f"the same MAC and address; {there_after:.2f} s to move its interface, {lost} packets of 1 a ms lost"

    def kill_router(self) -> str:
        daemon = self.there.lab.daemon
        before = self.there.bgp.marks()
        self.screen.command("hypervisor1", "kill -9 $(pidof slash32d)")
        daemon.kill()
        start = time.monotonic()
        daemon.start()
        back = time.monotonic() - start
        for machine in (self.vm1, self.vm2):
            machine.attach()
        self.vm1.ping(FAR4, 2)
        if self.there.bgp.marks() != before:
            raise StepFailed("a BGP session was lost")
        return f"serving again after {back:.2f} s; no BGP session was lost, no route withdrawn"


if __name__ == "__main__":
    sys.exit(main(Demo, __doc__ or ""))
