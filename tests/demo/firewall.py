# SPDX-License-Identifier: Apache-2.0
"""The demonstration's chapter on security groups: one port opened, the next refused and explained, and
a live connection cut by taking its rule away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable

from echo_stream import EchoStream
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
        opened, closed = (demo.ask(demo.one.address4, port) for port in (OPEN, CLOSED))
        rule = f"(ingress ipv4 tcp {OPEN})"
        if not any(rule in step.get("detail", "") for step in opened["steps"]):
            raise StepFailed("the rule that lets it through is not named")
        verdicts = [opened["verdict"], closed["verdict"], closed.get("reason")]
        if verdicts != ["forward", "drop", "denied_ingress"]:
            raise StepFailed(f"the answers are {verdicts}")
        return f"port {OPEN} by the group's rule; for {CLOSED} there is none"

    def revoke(self) -> str:
        demo = self._demo
        try:
            with EchoStream(demo, OPEN) as stream:
                demo.ctl("sg", "apply", GROUP, *EGRESS)
                last = stream.settled()
                time.sleep(1)
                if stream.settled() != last:
                    raise StepFailed("the connection goes on without its rule")
                demo.screen.note(f"Message {last} was the last.")
                demo.ctl("sg", "apply", GROUP, *EGRESS, *INGRESS)
                stream.wait_for(last + 50, 30)
        finally:
            demo.ctl("port", "set", demo.two.name, "--sg", "any")
        return f"cut after message {last}, and alive again with the rule"
