# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, and programs in them. Needs root.

Names begin with NAME_PREFIX and the pid of the test run, so that a later run finds what a killed one left.
"""

import ctypes
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from .wait import until

NAME_PREFIX = "s32e"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments, netns=None, check=True):
    """Runs ip(8). Returns its output."""
    argv = ["ip", *(["-n", netns] if netns else []), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """A namespace with lo up. close() ends the programs in it and removes it."""

    _count = 0

    def __init__(self, label):
        Namespace._count += 1
        self.label = label
        self.name = f"{NAME_PREFIX}{os.getpid()}-{Namespace._count}-{label}"
        self.path = Path("/run/netns") / self.name
        self._children = []
        ip("netns", "add", self.name)
        self.sysctl("net.ipv6.conf.all.accept_ra", 0)
        self.sysctl("net.ipv6.conf.default.accept_ra", 0)
        self.ip("link", "set", "lo", "up")

    def mac(self, device):
        """The MAC address of a device in it."""
        return self.ip("-o", "link", "show", device).split("link/ether ")[1].split()[0]

    def ip(self, *arguments, check=True):
        return ip(*arguments, netns=self.name, check=check)

    def sysctl(self, name, value):
        # /proc/sys/net is that of the namespace of the process that opens it.
        path = "/proc/sys/" + name.replace(".", "/")
        self.run("sh", "-c", f"echo {value} > {path}")

    def command(self, *argv):
        """The command line that runs argv in here."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def run(self, *argv, check=True, timeout_s=30, input_text=None):
        """Runs a program to its end. Returns subprocess.CompletedProcess with text."""
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, check=False,
                              timeout=timeout_s, input=input_text)
        if check and done.returncode != 0:
            raise AssertionError(f"in {self.label}: {' '.join(map(str, argv))} ended with "
                                 f"{done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def start(self, *argv, **options):
        """Starts a program that close() ends. Returns subprocess.Popen with text."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options}
        child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command(*argv)], **options)
        self._children.append(child)
        return child

    def inside(self, function):
        """Calls function() on a thread of this namespace, for sockets. Returns what it returns."""
        outcome = []

        def body():
            try:
                with open(self.path, "rb") as file:
                    if _libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                outcome.append((function(), None))
            except BaseException as error:  # handed to the caller
                outcome.append((None, error))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def close(self):
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
        for pid in ip("netns", "pids", self.name, check=False).split():
            # A thread of our own may be on its way out of inside().
            if int(pid) != os.getpid():
                os.kill(int(pid), signal.SIGKILL)
        ip("netns", "delete", self.name, check=False)


def sweep():
    """Removes the namespaces of test runs that were killed."""
    for name in re.findall(rf"^{NAME_PREFIX}\d+-\S+", ip("netns", "list", check=False), re.M):
        owner = int(re.match(rf"{NAME_PREFIX}(\d+)-", name).group(1))
        if not Path(f"/proc/{owner}").exists():
            ip("netns", "delete", name, check=False)


def wait_link(namespace, device):
    """Until a device of a namespace is there."""
    until(lambda: device in namespace.ip("-br", "link"), f"{device} in {namespace.label}")
