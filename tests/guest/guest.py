# SPDX-License-Identifier: Apache-2.0
"""A QEMU guest with vhost-user NICs, and commands run in it.

    with Guest("vm1", image, directory, [Nic(directory / "vm1.sock", "52:54:00:00:00:11")]) as vm:
        vm.wait_ready()          # the backend of each NIC must be there: see start()
        vm.configure("eth0", ["10.0.0.11/24"])
        assert vm.run("ping -c 1 10.0.0.12").ok
        server = vm.start_job("nc -l -p 80")   # in the background
        server.kill()

Everything a guest leaves behind lies in its directory: NAME.console.log, NAME.qemu.log, and the
sockets. A guest ends with its `with` block, and, unless it is detached, with the thread that started
it at the latest. Different threads may use one guest; start() and stop() belong to one of them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Iterable, Mapping

from .image import Image

SOCKET_PATH_BYTES_MAX = 107  # sun_path, with its final zero
KVM = ("-accel", "kvm", "-cpu", "host")


class GuestError(Exception):
    """A guest or a command in it did not do what was asked; the message holds what it printed."""


@dataclasses.dataclass(frozen=True)
class Nic:
    """A virtio-net device whose rings a vhost-user backend serves."""

    socket: Path | str
    mac: str
    queues: int = 1  # queue pairs; above 1 the guest has to enable them: `s32guest queues eth0 N`
    mtu: int | None = None  # offered to the guest, in bytes
    server: bool = True  # True: QEMU listens and the backend connects. False: the other way round.
    ring_entries: int | None = None  # of each receive and transmit ring, a power of two up to 1024
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)  # e.g. {"packed": "on"}


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended."""

    command: str
    status: int  # of its shell; 128 + n if signal n ended it, 125 if it could not be started
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def __str__(self) -> str:
        return f"`{self.command}` ended with {self.status}\n{self.stdout}{self.stderr}".rstrip()


class Job:
    """A command that runs in the guest. Made by Guest.start_job()."""

    def __init__(self, guest: "Guest", number: int, command: str) -> None:
        self._guest = guest
        self._changed = threading.Condition()
        self._out = bytearray()
        self._err = bytearray()
        self._status: int | None = None
        self.number = number
        self.command = command

    # Called by the thread that reads the channel.
    def _receive(self, kind: str, value: str) -> None:
        with self._changed:
            if kind == "exit":
                self._status = int(value)
            else:
                (self._out if kind == "out" else self._err).extend(bytes.fromhex(value))
            self._changed.notify_all()

    @property
    def done(self) -> bool:
        return self._status is not None

    @property
    def output(self) -> str:
        """What it has printed on stdout up to now."""
        with self._changed:
            return self._out.decode(errors="replace")

    @property
    def result(self) -> Result:
        """How it ended; only once it is done."""
        with self._changed:
            if self._status is None:
                raise GuestError(f"{self._guest.name}: `{self.command}` is still running")
            return Result(self.command, self._status, self._out.decode(errors="replace"),
                          self._err.decode(errors="replace"))

    def wait(self, timeout_s: float = 30) -> Result:
        """Waits for its end. A command that takes longer is killed, and GuestError raised."""
        if not self._wait_until(lambda: self.done, timeout_s):
            self.kill(signal.SIGKILL)
            self._wait_until(lambda: self.done, 2)
            raise GuestError(f"{self._guest.name}: `{self.command}` had not ended after {timeout_s:g} s"
                             f"; it printed:\n{self.output}{self._err.decode(errors='replace')}")
        return self.result

    def wait_for(self, pattern: str, timeout_s: float = 30) -> re.Match[str]:
        """Waits until stdout matches the regular expression (multi-line) and returns the match."""
        found: re.Match[str] | None = None

        def matches() -> bool:
            nonlocal found
            found = re.search(pattern, self._out.decode(errors="replace"), re.MULTILINE)
            return found is not None or self.done

        self._wait_until(matches, timeout_s)
        if found is None:
            how = f"ended with {self._status}" if self.done else f"ran for {timeout_s:g} s"
            raise GuestError(f"{self._guest.name}: `{self.command}` {how} and did not print "
                             f"{pattern!r}, but:\n{self.output}"
                             f"{self._err.decode(errors='replace')}")
        return found

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to the command and all it started. Does nothing once it is done."""
        if not self.done:
            self._guest._send(f"kill {self.number} {int(number)}")

    def _wait_until(self, condition: Any, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                # Short waits, because nothing wakes us when QEMU dies.
                self._changed.wait(min(left, 0.5))
                self._guest._check_alive()
        return True


class Guest:
    """One virtual machine."""

    def __init__(self, name: str, image: Image | None, directory: Path | str,
                 nics: Iterable[Nic] = (), *, memory_mib: int = 256, cpus: int = 1,
                 kvm: bool | None = None, detached: bool = False,
                 kernel_arguments: str = "") -> None:
        """Starts nothing yet.

        directory: exists; holds the guest's sockets and logs. Paths in it must stay short enough for
        Unix sockets.
        kvm: None means where it works.
        detached: the guest outlives this process. Guest.attach() finds it again.
        """
        self.name = name
        self.image = image
        self.directory = Path(directory)
        self.nics = tuple(nics)
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.kvm = image is not None and kvm_works(image.kernel) if kvm is None else kvm
        self.detached = detached
        self.kernel_arguments = kernel_arguments
        self.pid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._send_lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._ready = threading.Condition()
        self._ready_numbers: set[int] = set()
        # Another client of the same guest may have used low numbers.
        self._numbers = itertools.count(random.randrange(1, 1 << 30))

    @classmethod
    def attach(cls, name: str, directory: Path | str) -> "Guest":
        """A detached guest that runs already. wait_ready() connects to it."""
        guest = cls(name, None, directory, detached=True)
        guest.pid = int(guest._path("pid").read_text(encoding="ascii"))
        return guest

    def __enter__(self) -> "Guest":
        if self.pid is None:
            self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _path(self, suffix: str) -> Path:
        return self.directory / f"{self.name}.{suffix}"

    @property
    def console_socket(self) -> Path:
        """A serial console with a shell, for people: see `python3 -m guest console`."""
        return self._path("console")

    @property
    def console_log(self) -> Path:
        return self._path("console.log")

    def command_line(self) -> list[str]:
        """How QEMU is called."""
        if self.image is None:
            raise GuestError(f"{self.name}: a guest without an image cannot be started")
        arguments = f"console=ttyS0 quiet panic=-1 mitigations=off GUEST_NAME={self.name}"
        argv = [
            "qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config", "-nographic",
            "-no-reboot", "-machine", "q35,memory-backend=mem",
            "-object", f"memory-backend-memfd,id=mem,size={self.memory_mib}M,share=on",
            "-m", str(self.memory_mib), "-smp", str(self.cpus),
            *(KVM if self.kvm else ("-accel", "tcg", "-cpu", "max")),
            "-kernel", str(self.image.kernel), "-initrd", str(self.image.initramfs),
            "-append", f"{arguments} {self.kernel_arguments}".strip(),
            "-chardev", f"socket,id=console,path={self.console_socket},server=on,wait=off,"
                        f"logfile={self.console_log}",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,path={self._path('agent')},server=on,wait=off",
            "-serial", "chardev:agent",
            "-chardev", f"socket,id=qmp,path={self._path('qmp')},server=on,wait=off",
            "-mon", "chardev=qmp,mode=control",
        ]
        for index, nic in enumerate(self.nics):
            # Without KVM, QEMU 7.2 reads through a null pointer when a guest enables the MSI-X
            # vectors of a vhost-user device. Without vectors it uses the pin interrupt.
            device = {"mac": nic.mac, "romfile": "", **({} if self.kvm else {"vectors": "0"})}
            if nic.queues > 1:
                device["mq"] = "on"
                if self.kvm:
                    device["vectors"] = str(2 * nic.queues + 2)
            if nic.mtu is not None:
                device["host_mtu"] = str(nic.mtu)
            if nic.ring_entries is not None:
                device["rx_queue_size"] = device["tx_queue_size"] = str(nic.ring_entries)
            device.update(nic.properties)
            mode = "server=on" if nic.server else "server=off,reconnect=1"
            argv += [
                "-chardev", f"socket,id=nic{index},path={nic.socket},{mode}",
                "-netdev", f"vhost-user,id=net{index},chardev=nic{index},queues={nic.queues}",
                "-device", ",".join([f"virtio-net-pci,netdev=net{index}",
                                     *(f"{key}={value}" for key, value in device.items())]),
            ]
        return argv

    def start(self) -> None:
        """Starts QEMU and returns at once.

        QEMU itself waits for the backend of each NIC, in turn, before the guest's processor runs. The
        backend may start before it or after it.
        """
        if self.pid is not None:
            raise GuestError(f"{self.name} runs already")
        paths = [self.console_socket, self._path("agent"), self._path("qmp")]
        for path in (*paths, *(Path(nic.socket) for nic in self.nics)):
            if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
                raise GuestError(f"{self.name}: the path of the socket is longer than "
                                 f"{SOCKET_PATH_BYTES_MAX} bytes: {path}")
        for path in (*paths, self.console_log):
            path.unlink(missing_ok=True)
        argv = self.command_line()
        if not self.detached:
            # Whatever becomes of this process, the guest does not outlive it.
            argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        with open(self._path("qemu.log"), "wb") as log:
            log.write(f"{shlex.join(argv)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             start_new_session=True)
        self.pid = self._process.pid
        self._path("pid").write_text(f"{self.pid}\n", encoding="ascii")

    def wait_ready(self, timeout_s: float = 90) -> float:
        """Waits until the guest runs commands. Returns the seconds that it took."""
        start = time.monotonic()
        self._connect(start + timeout_s)
        while True:
            number = next(self._numbers)
            self._send(f"hello {number}")
            with self._ready:
                if self._ready.wait_for(lambda: number in self._ready_numbers, 1):
                    return time.monotonic() - start
            self._check_alive()
            if time.monotonic() - start > timeout_s:
                raise GuestError(f"{self.name} was not ready after {timeout_s:g} s; {self._why()}")

    def start_job(self, command: str) -> Job:
        """Starts a shell command in the guest. Many can run at once (the agent's limit is 32)."""
        job = Job(self, next(self._numbers), command)
        self._jobs[job.number] = job
        self._send(f"run {job.number} {command.encode().hex()}")
        return job

    def run(self, command: str, timeout_s: float = 30, check: bool = False) -> Result:
        """Runs a shell command to its end. With `check`, a status other than 0 is an error."""
        result = self.start_job(command).wait(timeout_s)
        if check and not result.ok:
            raise GuestError(f"{self.name}: {result}")
        return result

    def configure(self, interface: str, addresses: Iterable[str] = (),
                  gateways: Iterable[str] = (), mtu: int | None = None) -> None:
        """Gives an interface its addresses ("10.0.0.11/24", "2001:db8::11/64") and default routes,
        and returns when every address can be used (duplicate address detection takes a second)."""
        lines = ["set -e", f"ip link set {interface} {f'mtu {mtu}' if mtu else ''} up"]
        lines += [f"ip addr add {address} dev {interface}" for address in addresses]
        lines += [f"ip {'-6' if ':' in gateway else '-4'} route add default via {gateway} "
                  f"dev {interface}" for gateway in gateways]
        lines += [f"while ip -6 addr show dev {interface} | grep -q tentative; do usleep 100000; done",
                  f"! ip -6 addr show dev {interface} | grep dadfailed"]
        self.run("\n".join(lines), check=True)

    def put_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Writes a file in the guest."""
        quoted = shlex.quote(path)
        self.run(f"true > {quoted} && chmod {mode:o} {quoted}", check=True)
        for at in range(0, len(data), 16384):
            chunk = data[at:at + 16384].hex()
            self.run(f"echo {chunk} | xxd -r -p >> {quoted}", check=True)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Runs one command of QEMU's machine protocol, such as qmp("stop"), and returns its answer."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(10)
            try:
                channel.connect(str(self._path("qmp")))
                with channel.makefile("rw", encoding="utf-8") as lines:
                    lines.readline()  # the greeting
                    for request in ({"execute": "qmp_capabilities"},
                                    {"execute": command, "arguments": arguments}):
                        lines.write(json.dumps(request) + "\n")
                        lines.flush()
                        answer: dict[str, Any] = {"event": ""}
                        while "event" in answer:
                            answer = json.loads(lines.readline())
            except (OSError, ValueError) as error:
                raise GuestError(f"{self.name}: QMP {command}: {error}") from error
        if "error" in answer:
            raise GuestError(f"{self.name}: QMP {command}: {answer['error'].get('desc')}")
        return answer.get("return")

    def detach(self) -> None:
        """Lets go of a detached guest, which runs on; another client can then run commands in it."""
        if self._channel is not None:
            try:
                self._channel.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # QEMU has closed it
            self._channel.close()
            self._channel = None

    def stop(self) -> None:
        """Ends QEMU, whatever state it is in. May be called again."""
        self.detach()
        if self.pid is None:
            return
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        elif self._is_qemu():
            os.kill(self.pid, signal.SIGKILL)
            while self._is_qemu():
                time.sleep(0.02)
        self.pid = None
        self._process = None
        for suffix in ("agent", "console", "qmp", "pid"):
            self._path(suffix).unlink(missing_ok=True)

    def alive(self) -> bool:
        """Whether QEMU runs."""
        if self._process is not None:
            return self._process.poll() is None
        return self.pid is not None and self._is_qemu()

    def _is_qemu(self) -> bool:
        """Whether our pid is still this guest's QEMU: the number may have gone to another process."""
        try:
            argv = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return any(os.fsencode(self._path("agent")) in argument for argument in argv)

    def _check_alive(self) -> None:
        if not self.alive():
            raise GuestError(f"{self.name}: QEMU has ended; {self._why()}")

    def _why(self) -> str:
        """The ends of the logs, for an error."""
        text = ""
        for suffix in ("qemu.log", "console.log"):
            try:
                tail = self._path(suffix).read_text(encoding="utf-8", errors="replace")[-2000:]
            except OSError:
                tail = "(no file)"
            text += f"\n--- {self._path(suffix)}\n{tail.strip()}"
        return f"its logs end with:{text}"

    def _connect(self, deadline: float) -> None:
        self.detach()
        while True:
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(str(self._path("agent")))
                break
            except OSError as error:
                channel.close()
                self._check_alive()
                if time.monotonic() > deadline:
                    raise GuestError(f"{self.name}: cannot connect to {self._path('agent')}: "
                                     f"{error.strerror}; {self._why()}") from error
                time.sleep(0.02)
        self._channel = channel
        threading.Thread(target=self._read_channel, args=(channel,), daemon=True,
                         name=f"{self.name} channel").start()

    def _send(self, line: str) -> None:
        # The leading newline ends whatever a client before us left unfinished.
        try:
            with self._send_lock:
                if self._channel is None:
                    raise GuestError(f"{self.name} is not connected: call wait_ready() first")
                self._channel.sendall(f"\n{line}\n".encode("ascii"))
        except OSError as error:
            self._check_alive()
            raise GuestError(f"{self.name}: the channel is closed: {error.strerror}") from error

    def _read_channel(self, channel: socket.socket) -> None:
        pending = b""
        while True:
            try:
                data = channel.recv(65536)
            except OSError:
                return
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._handle(line.decode("ascii", errors="replace").split(" "))

    def _handle(self, fields: list[str]) -> None:
        try:
            if fields[0] == "ready":
                with self._ready:
                    self._ready_numbers.add(int(fields[1]))
                    self._ready.notify_all()
            elif fields[0] in ("out", "err", "exit"):
                job = self._jobs.get(int(fields[1]))
                if job is not None:  # else it belongs to a client before us
                    job._receive(fields[0], fields[2])
                    if fields[0] == "exit":
                        del self._jobs[job.number]
        except (IndexError, ValueError):
            pass  # the end of a line whose start went to a client before us


@functools.cache
def kvm_works(kernel: Path, device: str = "/dev/kvm", timeout_s: float = 15) -> bool:
    """Whether hardware virtualisation boots this kernel. A device that is there may still not run a
    guest (in a virtual machine, often), so one is booted: without a root it panics, and ends."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-machine", "q35", "-m", "256", *KVM,
            "-kernel", str(kernel), "-append", "panic=-1 quiet"]
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=timeout_s).returncode == 0
    except subprocess.TimeoutExpired:
        return False
