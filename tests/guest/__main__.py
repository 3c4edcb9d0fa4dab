# SPDX-License-Identifier: Apache-2.0
"""Test guests by hand. Run in tests/, as /usr/bin/python3 -m guest:

  build                     builds the image, prints its paths
  smoke                     two guests, DPDK's testpmd between them: does the library work here?
  exec DIRECTORY NAME ...   runs a command in a guest that was left running, with its status
  console DIRECTORY NAME    the guest's console; Ctrl-] leaves it
  stop DIRECTORY [NAME...]  ends guests that were left running
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty
from pathlib import Path

from .guest import Guest, GuestError, Nic
from .image import ImageError, build_image


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _build(options: argparse.Namespace) -> int:
    image = build_image(options.cache, progress=_say)
    print(f"{image.kernel}\n{image.initramfs}")
    return 0


def _smoke(options: argparse.Namespace) -> int:
    image = build_image(options.cache, progress=_say)
    with tempfile.TemporaryDirectory(prefix="guest-smoke.") as name:
        directory = Path(name)
        sockets = [directory / "vm1.sock", directory / "vm2.sock"]
        command = [
            "dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--lcores", "0,1",
            *(f"--vdev=net_vhost{i},iface={path},client=1" for i, path in enumerate(sockets)),
            "--", "--auto-start", "--forward-mode=io", "--total-num-mbufs=8192",
        ]
        with open(directory / "testpmd.log", "wb") as log:
            # Its stdin stays open, or it would end.
            backend = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command],
                                       stdin=subprocess.PIPE, stdout=log, stderr=log)
        time.sleep(0.5)
        try:
            if backend.poll() is not None:
                raise GuestError(f"testpmd (package dpdk-dev) ended with {backend.returncode}")
            with (Guest("vm1", image, directory, [Nic(sockets[0], "52:54:00:00:00:11")]) as one,
                  Guest("vm2", image, directory, [Nic(sockets[1], "52:54:00:00:00:12")]) as two):
                _smoke_guests(one, two)
        except GuestError:
            _say((directory / "testpmd.log").read_text(errors="replace")[-2000:])
            raise
        finally:
            backend.kill()
            backend.wait()
    return 0


def _smoke_guests(one: Guest, two: Guest) -> None:
    start = time.monotonic()
    for guest in (one, two):
        guest.wait_ready()
    _say(f"both guests run after {time.monotonic() - start:.1f} s (KVM: {one.kvm})")
    for number, guest in ((1, one), (2, two)):
        guest.configure("eth0", [f"10.0.0.1{number}/24", f"2001:db8::1{number}/64"])
    for address in ("10.0.0.12", "2001:db8::12"):
        _say(one.run(f"ping -c 3 {address}", check=True).stdout.strip())
    if two.run("ping -c 1 -W 1 -I 10.0.0.99 10.0.0.11").ok:
        raise GuestError("a ping from an address that the guest has not was answered")
    server = two.start_job("s32guest tcp-serve 5001")
    server.wait_for("listening")
    _say(one.run("s32guest tcp-send 10.0.0.12 5001 20000000", check=True).stdout.strip())
    stream = one.start_job("s32guest tcp-stream 2001:db8::12 5001 10")
    _say(stream.wait_for("^message=50 .*$").group())
    udp = two.start_job("s32guest udp-serve 5002 1")
    udp.wait_for("listening")
    _say(one.run("s32guest udp-send 10.0.0.12 5002 100 500 500", check=True).stdout.strip())
    _say(udp.wait().stdout.strip())
    frames = two.start_job("s32guest frame-recv eth0 1 10 88b5")
    frames.wait_for("listening")
    one.run("s32guest frame-send eth0 1 ffffffffffff52540000001188b5" + "55" * 50, check=True)
    _say(frames.wait().stdout.strip())
    blob = os.urandom(40000)
    one.put_file("/tmp/blob", blob)
    if bytes.fromhex(one.run("xxd -p /tmp/blob", check=True).stdout) != blob:
        raise GuestError("a file did not come back as it was written")
    one.qmp("stop")
    if one.qmp("query-status")["status"] != "paused":
        raise GuestError("QMP could not pause the guest")
    one.qmp("cont")
    try:
        one.run("sleep 60", timeout_s=0.5)
        raise GuestError("a command outlived its time limit")
    except GuestError as error:
        if "had not ended" not in str(error):
            raise
    if stream.done or one.run("exit 3").status != 3 or one.run("kill -9 $$").status != 137:
        raise GuestError("a command's status is wrong")
    stream.kill()
    stream.wait()
    _say("the guests work")


def _exec(options: argparse.Namespace) -> int:
    guest = Guest.attach(options.name, options.directory)
    guest.wait_ready(5)
    job = guest.start_job(" ".join(options.command))
    shown = 0
    try:
        while not job.done or shown < len(job.output):
            text = job.output
            sys.stdout.write(text[shown:])
            sys.stdout.flush()
            shown = len(text)
            time.sleep(0.05)
            if not guest.alive():
                raise GuestError(f"{guest.name} has ended")
    except KeyboardInterrupt:
        job.kill()
    result = job.wait()
    sys.stderr.write(result.stderr)
    guest.detach()
    return result.status


def _console(options: argparse.Namespace) -> int:
    guest = Guest.attach(options.name, options.directory)
    console = socket.socket(socket.AF_UNIX)
    console.connect(str(guest.console_socket))
    terminal = sys.stdin.fileno()
    saved = termios.tcgetattr(terminal)
    _say("The guest's console. Ctrl-] leaves it.")
    try:
        tty.setraw(terminal)
        console.sendall(b"\r")
        while True:
            readable, _, _ = select.select([terminal, console], [], [])
            if console in readable:
                data = console.recv(4096)
                if not data:
                    return 0
                os.write(sys.stdout.fileno(), data)
            if terminal in readable:
                data = os.read(terminal, 4096)
                if not data or b"\x1d" in data:
                    return 0
                console.sendall(data)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, saved)
        print()


def _stop(options: argparse.Namespace) -> int:
    names = options.names or [path.stem for path in options.directory.glob("*.pid")
                              if path.with_suffix(".agent").exists()]
    for name in names:
        Guest.attach(name, options.directory).stop()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m guest")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function in (("build", _build), ("smoke", _smoke)):
        command = commands.add_parser(name)
        command.add_argument("--cache", type=Path, help="where downloads and images are kept")
        command.set_defaults(function=function)
    for name, function in (("exec", _exec), ("console", _console)):
        command = commands.add_parser(name)
        command.add_argument("directory", type=Path)
        command.add_argument("name")
        if name == "exec":
            command.add_argument("command", nargs=argparse.REMAINDER)
        command.set_defaults(function=function)
    command = commands.add_parser("stop")
    command.add_argument("directory", type=Path)
    command.add_argument("names", nargs="*")
    command.set_defaults(function=_stop)
    options = parser.parse_args()
    try:
        return int(options.function(options))
    except (GuestError, ImageError, OSError) as error:
        _say(f"guest: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
