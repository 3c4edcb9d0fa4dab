# SPDX-License-Identifier: Apache-2.0
"""s32-frontend as a child process, and the ports of slash32d that go with it.

Port i has the socket DIRECTORY/vm<i>.sock, the MAC 02:00:00:00:hh:ll and the address 10.0.0.0 + i + 10.
"""

import ipaddress
import json
import queue
import subprocess
import threading
import time

GATEWAY_MAC = "02:00:5e:00:01:01"
GATEWAY4 = "10.0.0.1"


def mac(i):
    return f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}"


def address4(i):
    return str(ipaddress.IPv4Address("10.0.0.10") + i)


def address6(i):
    return str(ipaddress.IPv6Address("2001:db8::10") + i)


def port_fields(daemon, i, **fields):
    """What port.apply takes for port i; fields add to it or replace."""
    return {"name": f"p{i}", "socket": str(daemon.directory / f"vm{i}.sock"), "mac": mac(i),
            "addresses": [address4(i), address6(i)], "gateways": [GATEWAY4, "fe80::1"],
            "groups": ["any"], **fields}


def add_ports(daemon, count, first=0, **fields):
    """Applies ports first to first + count - 1, all in flight at once."""
    with daemon.rpc(timeout_s=60) as client:
        numbers = [client.begin("port.apply", **port_fields(daemon, i, **fields))
                   for i in range(first, first + count)]
        for number in numbers:
            assert client.result("port.apply", number)["programmed"]


class Frontend:
    """One s32-frontend. Its output arrives as `events`; close() ends it."""

    def __init__(self, build, directory, *options):
        argv = [str(build / "tests" / "frontend" / "s32-frontend"), "--dir", str(directory),
                "--gateway-mac", GATEWAY_MAC, *map(str, options)]
        self.argv = argv
        self.events = []
        self._queue = queue.Queue()
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def send(self, command):
        """One line on its standard input; a dictionary is written as JSON."""
        text = command if isinstance(command, str) else json.dumps(command)
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def wait(self, event, timeout_s=20.0):
        """The next event of this name; those before it are dropped."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            try:
                got = self._queue.get(timeout=max(left, 0.001))
            except queue.Empty:
                raise AssertionError(f"event {event} did not come within {timeout_s:g} s; "
                                     f"there came {self.events[-5:]}") from None
            if got is None:
                self._queue.put(None)
                raise AssertionError(f"s32-frontend ended with {self.process.wait()} before event "
                                     f"{event}; there came {self.events[-5:]}")
            self.events.append(got)
            if got.get("event") == event:
                return got

    def ask(self, command, event, timeout_s=20.0):
        self.send(command)
        return self.wait(event, timeout_s)

    def finish(self, timeout_s=20.0):
        """Tells it to quit. Returns its exit status."""
        try:
            self.send("quit")
        except OSError:
            pass  # it has ended
        return self.process.wait(timeout_s)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.process.stdin.close()


def ping(build, directory, i, target, *options, count=3, timeout_s=30):
    """Port i asks for target's MAC and pings it. Returns CompletedProcess; 0: every echo came."""
    argv = [str(build / "tests" / "frontend" / "s32-frontend"), "--dir", str(directory),
            "--gateway-mac", GATEWAY_MAC, *map(str, options), "ping", "--port", str(i),
            "--target", target, "--count", str(count), "--interval-ms", "50"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s,
                          stdin=subprocess.DEVNULL)
