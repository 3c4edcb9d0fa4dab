# SPDX-License-Identifier: Apache-2.0
"""slash32d as a child process of a test."""

import json
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from .rpc import RpcClient
from .wait import until


class StartFailure(Exception):
    """The daemon ended instead of starting: status, stderr, and the seconds it took."""

    def __init__(self, status, stderr, seconds):
        super().__init__(f"slash32d ended with {status} after {seconds:.2f} s:\n{stderr}")
        self.status = status
        self.stderr = stderr
        self.seconds = seconds


class Daemon:
    """One slash32d. Its socket, store and log lie in `directory`; it never takes hugepages.

    The process dies with the test run. start() after kill() or stop() is a restart with the same store.
    """

    def __init__(self, build, directory, prefix, *options, netns=None, uid=None):
        """options: further flags of slash32d. netns: the Namespace it runs in. uid: not as root."""
        self.build = Path(build)
        self.program = self.build / "ctrl" / "daemon" / "slash32d"
        self.ctl_program = self.build / "ctrl" / "cli" / "slash32ctl"
        self.directory = Path(directory)
        self.prefix = prefix
        self.options = list(map(str, options))
        self.netns = netns
        self.uid = uid
        self.state_directory = self.directory / "state"
        self.socket = self.directory / "slash32.sock"
        self.log = self.directory / "slash32d.log"
        self.process = None
        self._client = None

    def command(self):
        """The command line without what surrounds it (namespace, user)."""
        flags = {"--daemon-run-dir": self.directory, "--daemon-state-dir": self.state_directory,
                 "--memory-huge": "never", "--memory-prefix": self.prefix}
        argv = [str(self.program)]
        for flag, value in flags.items():
            if flag not in self.options:  # a flag is given once
                argv += [flag, str(value)]
        return [*argv, *self.options]

    def spawn(self, stderr=None):
        """Starts the process and does not wait for it to answer."""
        around = ["setpriv", "--pdeathsig", "KILL"]
        if self.uid is not None:
            around += ["--reuid", str(self.uid), "--regid", str(self.uid), "--clear-groups"]
        argv = [*around, *self.command()]
        if self.netns is not None:
            argv = self.netns.command(*argv)
        environment = dict(os.environ)
        if self.uid is not None:
            # Where DPDK puts its own files for who is not root; else in a folder that others use too.
            environment["XDG_RUNTIME_DIR"] = str(self.directory)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=stderr or log, start_new_session=True,
                                            env=environment)
        return self.process

    def start(self, timeout_s=30.0):
        """Starts it and waits until its control socket answers. Returns the seconds this took."""
        begin = time.monotonic()
        log_from = self.log.stat().st_size if self.log.exists() else 0
        self.spawn()
        while True:
            status = self.process.poll()
            if status is not None:
                raise StartFailure(status, self.log_text()[log_from:], time.monotonic() - begin)
            try:
                with RpcClient(self.socket, 5) as client:
                    client.call("hello")
                    return time.monotonic() - begin
            except OSError:
                pass  # not there yet, or left by one that was killed
            if time.monotonic() - begin > timeout_s:
                raise AssertionError(f"slash32d did not answer in {timeout_s:g} s:\n{self.log_text()}")
            time.sleep(0.01)

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """SIGKILL: the daemon has no chance to tidy up."""
        self._drop_client()
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s=10.0):
        """SIGTERM. Returns the exit status. Harmless if it does not run."""
        self._drop_client()
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
                raise AssertionError(f"SIGTERM did not end slash32d in {timeout_s:g} s") from None
        return self.process.returncode

    def end_holder(self):
        """Ends the process that keeps the host's interfaces open, if there is one. REQUIRES: stopped."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
            try:
                asked.connect(str(self.directory / "holder.sock"))
            except OSError:
                return
            credentials = asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        os.kill(struct.unpack("3i", credentials)[0], signal.SIGKILL)

    def restart(self):
        """After a kill -9: the same daemon, given no other command. Returns seconds as start()."""
        self.kill()
        return self.start()

    # Its control socket.

    def rpc(self, **options):
        """A connection of its own; close it."""
        return RpcClient(self.socket, **options)

    @property
    def client(self):
        """A connection for calls that need none of their own."""
        if self._client is None:
            self._client = self.rpc()
        return self._client

    def call(self, method, **params):
        return self.client.call(method, **params)

    def _drop_client(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    def ctl(self, *arguments, check=True, input_text=None, timeout_s=30):
        """slash32ctl. Returns subprocess.CompletedProcess with text; check: its status must be 0."""
        argv = [str(self.ctl_program), "-s", str(self.socket), *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s,
                              stdin=None if input_text is not None else subprocess.DEVNULL,
                              input=input_text)
        if check and done.returncode != 0:
            raise AssertionError(f"slash32ctl {' '.join(map(str, arguments))} ended with "
                                 f"{done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def start_ctl(self, *arguments):
        """slash32ctl that goes on. Returns subprocess.Popen with text; it dies with the test run."""
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", self.ctl_program, "-s", self.socket,
                                 *map(str, arguments)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def start_capture(self, path, *words):
        """slash32ctl capture to a file, once it has begun."""
        child = self.start_ctl("capture", *words, "-w", path)

        def begun():
            assert child.poll() is None, child.communicate()[1]
            return path.exists() and path.stat().st_size > 0

        until(begun, "the capture")
        return child

    def ctl_json(self, *arguments):
        return json.loads(self.ctl(*arguments, "--json").stdout)

    # Shorthands.

    def port(self, name):
        """A port as port.get has it."""
        return self.call("port.get", name=name)["port"]

    def port_stats(self, name):
        """The counters of a port as stats has them."""
        return self.call("stats", sections=["ports"], port=name)["ports"][0]

    def drops(self, name):
        """{reason: packets} of a port."""
        return self.port_stats(name)["drops"]

    def log_text(self):
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
