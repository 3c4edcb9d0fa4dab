#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two virtual machines and slash32 between them, step by step; `make demo` is this.

    tests/demo/demo.py [--build DIR] [--keep]
    tests/demo/demo.py --stop DIRECTORY

Both guests are in 10.0.0.0/24, and yet they share no L2 network: each has a vhost-user port of its own
on the router, which answers ARP and ND for everything and routes every packet by host routes. Exits
with 0 only if every step held. Logs are kept in DIR/demo-logs. --keep (or KEEP=1) leaves the guests and
the router running and prints what to try; --stop ends what --keep left.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from guest import Guest, GuestError, ImageError, Nic, build_image  # noqa: E402
from echo_stream import EchoStream  # noqa: E402
from firewall import Firewall  # noqa: E402
from router import Router, RouterError, stop_detached  # noqa: E402
from screen import Screen, StepFailed  # noqa: E402

GATEWAY4 = "10.0.0.1"
GATEWAY6 = "fe80::1"
SPOOFED = "10.0.0.99"
TRANSFER_BYTES = 64_000_000
SPOOFED_PACKETS = 3


class Machine:
    """One of the two virtual machines, and its port."""

    def __init__(self, number: int, directory: Path) -> None:
        self.name = f"vm{number}"
        self.mac = f"52:54:00:00:00:1{number}"
        self.address4 = f"10.0.0.1{number}"
        self.address6 = f"2001:db8::1{number}"
        self.socket = directory / f"{self.name}.sock"


class Demo:
    """The machines, the router, and the steps in their order."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.one = Machine(1, directory)
        self.two = Machine(2, directory)
        self.guests: dict[str, Guest] = {}
        self.router = Router(options.build, directory, detached=options.keep)
        self.screen = Screen(len(self.steps()))

    def steps(self) -> list[tuple[str, Callable[[], str], bool]]:
        """Title, function, and whether the steps after it need it."""
        return [
            ("Start the router", self.start_router, True),
            ("Give each virtual machine a port", self.add_ports, True),
            ("Start two virtual machines", self.start_guests, True),
            ("Ping from one to the other", self.ping4, False),
            ("Whom does vm1 believe it talks to? Its ARP entry for vm2", self.arp, False),
            ("The way from vm1 to vm2", self.trace, False),
            ("TCP, at full speed", self.transfer, False),
            ("IPv6", self.ping6, False),
            ("A packet with a source address that vm1 does not own", self.spoof, False),
            ("Ask the router: why would it let a packet through?", self.explain_allowed, False),
            ("Ask the router: why would it refuse one?", self.explain_refused, False),
            *Firewall(self).steps(),
            ("kill -9 the router under an open TCP connection", self.kill_router, False),
        ]

    def run(self) -> bool:
        for title, function, needed in self.steps():
            if not self.screen.step(title, _verdict(function)) and needed:
                self.screen.note("The steps after this one need it: not run.")
                self.screen.output(f"{self.router.log}:\n{self.router.log_tail()}", lines_max=40)
                break
        return self.screen.summary()

    # What the steps have in common.

    def ctl(self, *arguments: str) -> str:
        """Runs slash32ctl, and shows that and its output."""
        self.screen.command("", f"slash32ctl {shlex.join(arguments)}")
        text = self.router.ctl_text(*arguments)
        self.screen.output(text)
        return text

    def guest(self, machine: Machine, command: str, timeout_s: float = 30) -> str:
        """Runs a command in a guest, and shows that and its output. Its status must be 0."""
        self.screen.command(machine.name, command)
        result = self.guests[machine.name].run(command, timeout_s)
        self.screen.output(result.stdout + result.stderr)
        if not result.ok:
            raise StepFailed(f"the command ended with status {result.status}")
        return result.stdout

    # The steps.

    def start_router(self) -> str:
        self.router.write_config(config_text(self.router))
        self.screen.command("", shlex.join(["slash32d", *self.router.command_line()[1:]]))
        seconds = self.router.start()
        self.screen.note(f"Below, slash32ctl is always called with -s {self.router.control_socket}.")
        return f"it answers on its control socket after {seconds:.2f} s"

    def add_ports(self) -> str:
        self.screen.note(
            "Each port has its own gateway and host routes (/32, /128): no bridge, no L2 domain.\n"
            "`--sg any` is the built-in security group that opens the filter; without a group a\n"
            "port passes nothing but ARP, ND and DHCP. Anti-spoofing stays on: a port sends only\n"
            "from its own MAC and addresses.")
        for machine in (self.one, self.two):
            self.ctl("port", "add", machine.name, "--socket", str(machine.socket),
                     "--mac", machine.mac, "--address", f"{machine.address4}/32",
                     "--address", f"{machine.address6}/128", "--gateway", GATEWAY4,
                     "--gateway", GATEWAY6, "--sg", "any")
        states = [self.router.port_state(machine.name) for machine in (self.one, self.two)]
        if states != ["waiting", "waiting"]:
            raise StepFailed(f"the ports are {states}, but no virtual machine runs yet")
        return "two ports are accepted, and wait for their virtual machines"

    def start_guests(self) -> str:
        image = build_image(self.options.cache, progress=self.screen.note)
        start = time.monotonic()
        for machine in (self.one, self.two):
            guest = Guest(machine.name, image, self.directory, [Nic(machine.socket, machine.mac)],
                          detached=self.options.keep)
            self.guests[machine.name] = guest
            self.screen.note(f"{machine.name}: {machine.address4}/24 and {machine.address6}/64, "
                             f"{'KVM' if guest.kvm else 'emulated (no KVM here)'}")
            guest.start()
        for machine in (self.one, self.two):
            guest = self.guests[machine.name]
            guest.wait_ready()
            guest.configure("eth0", [f"{machine.address4}/24", f"{machine.address6}/64"],
                            [GATEWAY4, GATEWAY6])
        seconds = time.monotonic() - start
        self.ctl("port", "list")
        states = [self.router.port_state(machine.name) for machine in (self.one, self.two)]
        if states != ["running", "running"]:
            raise StepFailed(f"the ports are {states} and not running")
        return f"both have booted and their ports run, after {seconds:.1f} s"

    def ping4(self) -> str:
        return self.ping(self.two.address4)

    def ping6(self) -> str:
        return self.ping(self.two.address6)

    def ping(self, address: str) -> str:
        text = self.guest(self.one, f"ping -c 3 {address}")
        if "3 packets received" not in text:
            raise StepFailed("not every ping was answered")
        times = re.search(r"min/avg/max = [\d.]+/([\d.]+)/", text)
        return f"3 of 3 answered, {times.group(1) if times else '?'} ms on average"

    def arp(self) -> str:
        vm1 = self.guests[self.one.name]
        vm1.run(f"ping -c 1 -W 2 {GATEWAY4}; ping -c 1 -W 2 {self.two.address4}")
        self.guest(self.one, "ip -4 neigh show dev eth0")
        entries = {}
        for address in (GATEWAY4, self.two.address4):
            text = vm1.run(f"ip -4 neigh show dev eth0 to {address}").stdout
            match = re.search(r"lladdr (\S+)", text)
            if match is None:
                raise StepFailed(f"vm1 has no ARP entry for {address}")
            entries[address] = match.group(1)
        gateway, peer = entries[GATEWAY4], entries[self.two.address4]
        if peer == self.two.mac:
            raise StepFailed(f"it is vm2's own MAC address, {peer}: they share an L2 network")
        if peer != gateway:
            raise StepFailed(f"it is {peer}, but the gateway's MAC address is {gateway}")
        return f"it is {peer}, the gateway's MAC address, and not vm2's {self.two.mac}"

    def trace(self) -> str:
        text = self.guest(self.one, f"traceroute -n -q 1 -w 3 -m 5 {self.two.address4}", 40)
        hops = re.findall(r"^\s*\d+\s+(\S+)", text, re.MULTILINE)
        if hops != [GATEWAY4, self.two.address4]:
            raise StepFailed(f"the hops are {hops}, not the gateway and then vm2")
        return f"first the gateway {GATEWAY4}, then vm2"

    def transfer(self) -> str:
        server = self.guests[self.two.name].start_job("s32guest tcp-serve 5001")
        try:
            server.wait_for("listening")
            text = self.guest(
                self.one, f"s32guest tcp-send {self.two.address4} 5001 {TRANSFER_BYTES}", 60)
        finally:
            server.kill()
        rate = re.search(r"mbit_s=([\d.]+)", text)
        if rate is None:
            raise StepFailed("there is no rate")
        return f"{TRANSFER_BYTES // 1_000_000} MB arrived, {float(rate.group(1)):.0f} Mbit/s"

    def spoof(self) -> str:
        before = self.router.drops(self.one.name, "spoofed_source")
        watch = self.guests[self.two.name].start_job("s32guest frame-recv eth0 1000 60 0800")
        try:
            watch.wait_for("listening")
            self.screen.command("vm1", f"ip addr add {SPOOFED}/32 dev eth0")
            self.guests[self.one.name].run(f"ip addr add {SPOOFED}/32 dev eth0", check=True)
            command = f"ping -c {SPOOFED_PACKETS} -W 1 -I {SPOOFED} {self.two.address4}"
            self.screen.command("vm1", command)
            result = self.guests[self.one.name].run(command)
            self.screen.output(result.stdout)
            # An honest packet, known by its length, behind the spoofed ones: once it has been seen,
            # what came before it has been seen as well.
            self.guests[self.one.name].run(f"ping -c 1 -s 77 {self.two.address4}", check=True)
            watch.wait_for(f"^length={14 + 20 + 8 + 77} ")
        finally:
            watch.kill()
            self.guests[self.one.name].run(f"ip addr del {SPOOFED}/32 dev eth0")
        self.ctl("show", "drops", "--port", self.one.name)
        counted = self.router.drops(self.one.name, "spoofed_source") - before
        if result.ok or _address_hex(SPOOFED) in watch.output:
            raise StepFailed("a spoofed packet reached vm2")
        if counted < SPOOFED_PACKETS:
            raise StepFailed(f"the counter spoofed_source grew by {counted}, "
                             f"for {SPOOFED_PACKETS} packets")
        return f"none reached vm2, and the counter spoofed_source grew by {counted}"

    def explain_allowed(self) -> str:
        return self.explain(self.one.address4, "forward")

    def explain_refused(self) -> str:
        return self.explain(SPOOFED, "drop")

    def ask(self, source: str, dport: int) -> dict[str, Any]:
        """explain's answer about a TCP packet of vm1's to vm2, which is shown."""
        arguments = ("explain", self.one.name, "--src", source, "--dst", self.two.address4,
                     "--proto", "tcp", "--dport", str(dport))
        self.ctl(*arguments)
        return self.router.ctl_json(*arguments)

    def explain(self, source: str, expected: str) -> str:
        answer = self.ask(source, 80)
        verdict, reason, port = (answer.get(name) for name in ("verdict", "reason", "port"))
        if verdict != expected:
            raise StepFailed(f"the verdict is {verdict} and not {expected}")
        if expected == "forward":
            if port != self.two.name:
                raise StepFailed(f"it would leave through {port} and not {self.two.name}")
            return f"forwarded through {port}"
        if reason != "spoofed_source":
            raise StepFailed(f"the reason is {reason} and not spoofed_source")
        return f"dropped: {reason}"

    def kill_router(self) -> str:
        with EchoStream(self, 5002) as stream:
            self.screen.command("", f"kill -9 {self.router.pid}    # slash32d")
            self.router.kill()
            last = stream.settled()
            self.screen.note(f"The router is gone; message {last} was the last. It is started again "
                             "as before, and given no command.")
            self.screen.command("", shlex.join(["slash32d", *self.router.command_line()[1:]]))
            start = time.monotonic()
            self.router.start()
            stream.wait_for(last + 2)
            seconds = time.monotonic() - start
            stream.wait_for(last + 100)
            self.ctl("port", "list")
        return (f"the same connection goes on, {seconds:.2f} s after the start of the new router "
                "(TCP's own retransmission timer included)")

    # The end.

    def stop(self) -> None:
        """Ends everything, whatever has happened; by process id."""
        errors = []
        for thing in (*self.guests.values(), self.router):
            try:
                thing.stop()
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)  # the others are to be stopped all the same
        if errors:
            raise errors[0]

    def keep(self) -> None:
        """Lets go of everything, and says how to use and how to end it."""
        for guest in self.guests.values():
            guest.detach()
        ctl = shlex.join(self.router.ctl_command())
        python = f"PYTHONPATH={shlex.quote(os.path.relpath(HERE.parent))} /usr/bin/python3"
        directory = shlex.quote(str(self.directory))
        here = shlex.quote(os.path.relpath(__file__))
        print(f"""
Everything runs on. To try:

  the console of a virtual machine (Ctrl-] leaves it)
    {python} -m guest console {directory} vm1
  a command in one
    {python} -m guest exec {directory} vm1 ping -c 3 {self.two.address4}
  the router
    {ctl} status
    {ctl} port show vm1
    {ctl} show drops
    {ctl} explain vm1 --src {self.one.address4} --dst {self.two.address4} --proto tcp --dport 80
    {ctl} capture vm1
  its log
    {self.router.log}
  kill it and start it again
    kill -9 $(cat {directory}/slash32d.pid)
    {shlex.join(self.router.command_line())} & echo $! >{directory}/slash32d.pid

To end it all:
    /usr/bin/python3 {here} --stop {directory}""", flush=True)


def config_text(router: Router) -> str:
    """The daemon's configuration: all it touches lies in the demonstration's directory."""
    directory = router.directory
    return f"""\
# The configuration of the demonstration; what is not here has its default.
[daemon]
run_dir = "{directory}"
state_dir = "{directory}"

[memory]
prefix = "{directory.name.replace(".", "-")}"
"""


def _address_hex(address: str) -> str:
    return "".join(f"{int(part):02x}" for part in address.split("."))


def _verdict(function: Callable[[], str]) -> Callable[[], str]:
    """The step, with what goes wrong in a guest or in the router as its verdict."""

    def run() -> str:
        try:
            return function()
        except (GuestError, ImageError, RouterError, OSError) as error:
            raise StepFailed(str(error)) from error

    return run


def stop_kept(directory: Path) -> int:
    """Ends what a demonstration with --keep left running, and removes its directory."""
    if not (directory / "slash32d.toml").exists():
        print(f"demo: {directory} is not the directory of a demonstration", file=sys.stderr)
        return 1
    stop_detached(directory)
    for name in ("vm1", "vm2"):
        if (directory / f"{name}.pid").exists():
            Guest.attach(name, directory).stop()
    shutil.rmtree(directory)
    return 0


def run_demo(options: argparse.Namespace) -> int:
    directory = Path(tempfile.mkdtemp(prefix="slash32-demo."))
    logs = options.build / "demo-logs"
    good = False
    demo = None
    try:
        demo = Demo(options, directory)
        demo.screen.title("slash32 between two virtual machines of 10.0.0.0/24 that share no L2 network")
        good = demo.run()
    except RouterError as error:
        print(f"demo: {error}", file=sys.stderr)
    finally:
        kept = options.keep and bool(demo and demo.guests) and sys.exc_info()[0] is None
        if demo is not None and not kept:
            demo.stop()
        if demo is not None:
            shutil.rmtree(logs, ignore_errors=True)
            logs.mkdir(parents=True)
            for log in directory.glob("*.log"):
                shutil.copy(log, logs)
        if not kept:
            shutil.rmtree(directory)
    if demo is not None and not good:
        print(f"logs: {logs}")
    if demo is not None and kept:
        demo.keep()
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=Path("build"), type=Path, help="build directory (build)")
    parser.add_argument("--cache", type=Path, help="where the guests' kernel is kept "
                        "(build/guest-cache in the source folder)")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end",
                        default=os.environ.get("KEEP", "0") not in ("", "0"))
    parser.add_argument("--stop", type=Path, metavar="DIRECTORY", help="end what --keep left")
    options = parser.parse_args()
    if options.stop is not None:
        return stop_kept(options.stop.resolve())
    # Stopping us stops what we started: the exception unwinds through run_demo().
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    try:
        return run_demo(options)
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
