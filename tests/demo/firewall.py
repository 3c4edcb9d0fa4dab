# SPDX-License-Identifier: Apache-2.0
"""The demonstration's chapter on security groups: one port opened, the next refused and explained, and
a live connection cut by taking its rule away."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Callable

from screen import StepFailed

if TYPE_CHECKING:
    from demo import Demo

GROUP = "web"
OPEN = 5001
CLOSED = 5002
EGRESS = ("--rule", "egress ipv4", "--rule", "egress ipv6")
INGRESS = ("--rule", f"ingress tcp {OPEN}")


class Firewall:
    """Steps between vm1, which has the group `any`, and vm2, which gets one of its own."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo

    def steps(self) -> list[tuple[str, Callable[[], str], bool]]:
        return [
            ("A security group: vm2 answers on TCP port 5001 and on nothing else", self.open_one, False),
            ("Why was the other port refused?", self.explain, False),
            ("Take the rule away under an open connection, and give it back", self.revoke, False),
        ]

    def open_one(self) -> str:
        demo = self._demo
        demo.ctl("sg", "apply", GROUP, *EGRESS, *INGRESS)
        demo.ctl("port", "set", demo.two.name, "--sg", GROUP)
        vm2 = demo.guests[demo.two.name]
        servers = [vm2.start_job(f"s32guest tcp-serve {port}") for port in (OPEN, CLOSED)]
        try:
            for server in servers:
                server.wait_for("listening")
            demo.guest(demo.one, f"s32guest tcp-send {demo.two.address4} {OPEN} 1000000")
            before = demo.router.drops(demo.one.name, "denied_ingress")
            command = f"timeout 4 s32guest tcp-send {demo.two.address4} {CLOSED} 1000000"
            demo.screen.command(demo.one.name, command)
            result = demo.guests[demo.one.name].run(command)
            demo.screen.output(result.stdout + result.stderr)
        finally:
            for server in servers:
                server.kill()
        demo.ctl("show", "drops", "--port", demo.one.name)
        counted = demo.router.drops(demo.one.name, "denied_ingress") - before
        if result.ok:
            raise StepFailed(f"port {CLOSED} was reached")
        if counted == 0:
            raise StepFailed("the counter denied_ingress did not grow")
        return f"port {OPEN} answers; of {CLOSED} {counted} packets were dropped: denied_ingress"

    def explain(self) -> str:
        demo = self._demo
        reasons = []
        for port in (OPEN, CLOSED):
            arguments = ("explain", demo.one.name, "--src", demo.one.address4,
                         "--dst", demo.two.address4, "--proto", "tcp", "--dport", str(port))
            text = demo.ctl(*arguments)
            answer = demo.router.ctl_json(*arguments)
            reasons.append(answer.get("reason") or answer["verdict"])
            if port == OPEN and f"(ingress ipv4 tcp {OPEN})" not in " ".join(text.replace("|", " ").split()):
                raise StepFailed("the rule that lets it through is not named")
        if reasons != ["forward", "denied_ingress"]:
            raise StepFailed(f"the answers are {reasons}")
        return f"port {OPEN} by the group's rule; for {CLOSED} there is none"

    def revoke(self) -> str:
        demo = self._demo
        server = demo.guests[demo.two.name].start_job(f"s32guest tcp-serve {OPEN}")
        stream = None
        try:
            server.wait_for("listening")
            command = f"s32guest tcp-stream {demo.two.address4} {OPEN} 20"
            demo.screen.command(demo.one.name, command)
            stream = demo.guests[demo.one.name].start_job(command)
            port = stream.wait_for(r"^message=25 .*local_port=(\d+)$").group(1)
            demo.screen.note(f"A numbered message each 20 ms comes back as an echo, over vm1's port {port}.")
            demo.ctl("sg", "apply", GROUP, *EGRESS)
            time.sleep(0.3)  # what was under way has arrived
            last = self._last(stream)
            time.sleep(1)
            if self._last(stream) != last:
                raise StepFailed("the connection goes on without its rule")
            demo.screen.note(f"Message {last} was the last.")
            demo.ctl("sg", "apply", GROUP, *EGRESS, *INGRESS)
            line = stream.wait_for(rf"^message={last + 50} .*$", 30).group()
            demo.screen.output(line)
            if f"local_port={port}" not in line or stream.done:
                raise StepFailed("it is another connection")
        finally:
            server.kill()
            if stream is not None:
                stream.kill()
            demo.ctl("port", "set", demo.two.name, "--sg", "any")
        return f"cut after message {last}, and alive again with the rule"

    @staticmethod
    def _last(stream: object) -> int:
        return int(re.findall(r"^message=(\d+) ", stream.output, re.MULTILINE)[-1])  # type: ignore
