# SPDX-License-Identifier: Apache-2.0
"""Starts that succeed, starts that cannot, and ends."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest
from support import until

NOBODY = 65534
IN_TIME_S = 2.0


def run(daemon, *flags, timeout_s=20, command=None):
    """Runs slash32d with its usual flags and more, to its end: (status, stderr, stdout, seconds)."""
    daemon.options = list(map(str, flags))
    begin = time.monotonic()
    done = subprocess.run(command or daemon.command(), capture_output=True, text=True,
                          timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr, done.stdout, time.monotonic() - begin


def complaint(stderr):
    """The one line that says why, without the daemon's log lines."""
    lines = [line for line in stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)]
    assert len(lines) == 1, f"not one sentence:\n{stderr}"
    assert lines[0].startswith("slash32d: ")
    return lines[0]


def config_file(daemon, text):
    path = daemon.directory / "slash32d.toml"
    path.write_text(text)
    return ["--config", path]


def listening_socket(daemon):
    path = daemon.directory / "taken.sock"
    taken = socket.socket(socket.AF_UNIX)
    taken.bind(str(path))
    taken.listen()
    daemon.keep = taken
    return ["--socket-path", path]


def regular_file(daemon):
    path = daemon.directory / "a-file"
    path.write_text("keep me")
    return ["--socket-path", path]


# The flags, and what the sentence must contain.
FAILURES = {
    "core_that_is_not_there": (lambda d: ["--workers-cores", "1023"], ["1023"]),
    "core_given_twice": (lambda d: ["--workers-cores", "0,0"], ["workers.cores"]),
    "negative_core": (lambda d: ["--workers-cores=-3"], ["workers.cores"]),
    "more_memory_than_allowed": (lambda d: ["--memory-size-mb", "100000000"], ["memory.size_mb"]),
    "no_memory": (lambda d: ["--memory-size-mb", "500000"], ["memory"]),
    "too_many_buffers_for_the_memory": (
        lambda d: ["--memory-size-mb", "64", "--memory-mbufs", "200000"], ["memory"]),
    "no_hugepages": (lambda d: ["--memory-huge", "always", "--memory-size-mb", "500000"], ["hugepages"]),
    "bad_poll": (lambda d: ["--workers-poll", "sometimes"], ["workers.poll", "busy"]),
    "bad_mac": (lambda d: ["--router-mac", "01:00:00:00:00:01"], ["router.mac"]),
    "bad_log_level": (lambda d: ["--log-level", "loud"], ["log.level", "debug"]),
    "bad_log_module": (lambda d: ["--log-levels", "kitchen=debug"], ["kitchen"]),
    "log_file_in_no_directory": (lambda d: ["--log-to", "/proc/s32/log"], ["/proc/s32"]),
    "unknown_uplink_device": (lambda d: ["--uplink", "name=up0;devargs=net_nonsense0"], ["up0"]),
    "uplink_without_devargs": (lambda d: ["--uplink", "name=up0"], ["devargs"]),
    "socket_path_too_long": (lambda d: ["--socket-path", "/tmp/" + "x" * 120], ["107"]),
    "unknown_group": (lambda d: ["--socket-group", "no-such-group"], ["no-such-group"]),
    "socket_in_use": (listening_socket, ["taken.sock", "in use"]),
    "socket_is_a_file": (regular_file, ["a-file", "not a socket"]),
    "config_that_is_not_there": (lambda d: ["--config", "/nonexistent.toml"], ["/nonexistent.toml"]),
    "config_syntax": (lambda d: config_file(d, "[daemon]\nrun_dir = \n"), ["slash32d.toml", "2"]),
    "config_unknown_option": (
        lambda d: config_file(d, "[workers]\ncores = [0]\ncolour = 1\n"), ["colour", "3"]),
    "config_unknown_section": (lambda d: config_file(d, "\n[kitchen]\na = 1\n"), ["kitchen", "2"]),
    "config_wrong_type": (lambda d: config_file(d, "[memory]\nsize_mb = \"big\"\n"), ["size_mb", "2"]),
    "config_out_of_range": (lambda d: config_file(d, "[memory]\nsize_mb = -1\n"), ["size_mb"]),
}


@pytest.mark.parametrize("case", FAILURES)
def test_start_that_cannot_succeed_says_why_in_time(make_daemon, case):
    make, words = FAILURES[case]
    daemon = make_daemon()
    status, stderr, _, seconds = run(daemon, *make(daemon))
    assert status != 0
    line = complaint(stderr)
    for word in words:
        assert word in line, line
    assert seconds < IN_TIME_S + patience(), line
    assert not daemon.socket.exists()
    if case == "socket_is_a_file":
        assert (daemon.directory / "a-file").read_text() == "keep me"


def patience():
    """More time on a machine that is busy with something else: its load beyond its cores."""
    return max(0.0, os.getloadavg()[0] / os.cpu_count() - 1)


def test_unwritable_directories(needs_root, make_daemon):
    for flag in ("--daemon-run-dir", "--daemon-state-dir", "--socket-path"):
        daemon = make_daemon()
        value = "/proc/s32" if flag != "--socket-path" else "/proc/s32.sock"
        status, stderr, _, seconds = run(daemon, flag, value)
        assert status != 0 and value in complaint(stderr)
        assert seconds < IN_TIME_S + patience()


def test_second_instance_is_refused_and_the_first_goes_on(make_daemon):
    daemon = make_daemon()
    daemon.start()
    instance = daemon.call("hello")["instance"]
    status, stderr, _, seconds = run(daemon)
    assert status != 0 and "another slash32d" in complaint(stderr)
    assert seconds < IN_TIME_S + patience()
    # The same shared memory, another directory.
    other = make_daemon()
    other.prefix = daemon.prefix
    status, stderr, _, seconds = run(other)
    assert status != 0 and daemon.prefix in complaint(stderr)
    assert seconds < IN_TIME_S + patience()
    assert daemon.call("hello")["instance"] == instance


def test_socket_left_by_a_killed_daemon_is_taken_over(make_daemon):
    daemon = make_daemon()
    daemon.start()
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.call("hello")


def test_check_config_starts_nothing(make_daemon):
    daemon = make_daemon()
    good = config_file(daemon, "[workers]\npoll = \"sleep\"\n")
    status, stderr, stdout, _ = run(daemon, "--check-config", *good)
    assert (status, stderr) == (0, "") and "good" in stdout
    bad = config_file(daemon, "[workers]\npoll = \"sleep\"\npolll = 1\n")
    status, stderr, stdout, _ = run(daemon, "--check-config", *bad)
    assert status != 0 and "polll" in complaint(stderr) and "3" in stderr
    assert sorted(os.listdir(daemon.directory)) == ["slash32d.toml"]


def test_version_is_that_of_the_socket(make_daemon):
    daemon = make_daemon()
    status, _, stdout, _ = run(daemon, command=[str(daemon.program), "--version"])
    assert status == 0
    daemon.start()
    assert stdout.strip() == f"slash32d {daemon.call('hello')['version']}"
    assert daemon.call("hello")["version"] in daemon.ctl("show", "version").stdout


def test_a_flag_wins_over_the_file(make_daemon):
    daemon = make_daemon()
    config = config_file(daemon, "[log]\nlevel = \"error\"\nlevels = [\"vhost=trace\"]\n")
    daemon.options += [str(config[0]), str(config[1]), "--log-level", "debug"]
    daemon.start()
    levels = {m["module"]: m["level"] for m in daemon.call("log.get")["modules"]}
    assert levels["vhost"] == "trace" and levels["daemon"] == "debug"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly(make_daemon, number):
    daemon = make_daemon()
    daemon.start()
    with daemon.rpc() as client:
        client.call("watch")
        daemon.call("port.apply", name="vm1", mac="52:54:00:00:00:01",
                    socket=f"{daemon.directory}/vm1.sock")
        daemon.call("port.apply", name="vm2", mac="52:54:00:00:00:02", socket_mode="server",
                    socket=f"{daemon.directory}/vm2.sock")
        until((daemon.directory / "vm2.sock").exists, "the server's socket")
        daemon.signal(number)
        assert daemon.process.wait(10) == 0
    left = {p.name for p in daemon.directory.iterdir()}
    assert not {"slash32.sock", "vm2.sock"} & left, left
    assert not [f for d in ("/dev/hugepages", "/dev/shm") if os.path.isdir(d)
                for f in os.listdir(d) if daemon.prefix in f]
    assert "error" not in daemon.log_text() and "critical" not in daemon.log_text()


def test_taps_go_with_the_daemon(lab):
    lab.machine(1, attach=False)
    assert "vm1" in lab.router.ip("-br", "link")
    assert lab.daemon.stop() == 0
    assert "vm1" not in lab.router.ip("-br", "link")


def test_it_runs_without_root(needs_root, make_daemon):
    daemon = make_daemon(uid=NOBODY)
    os.chown(daemon.directory, NOBODY, NOBODY)
    daemon.start()
    assert os.stat(f"/proc/{daemon.pid}").st_uid == NOBODY
    port = {"mac": "52:54:00:00:00:01", "socket_mode": "server",
            "socket": f"{daemon.directory}/vm1.sock"}
    assert daemon.call("port.apply", name="vm1", **port)["programmed"]
    path = daemon.directory / "vm1.sock"
    # The library binds the socket; its mode is set right after.
    until(lambda: path.exists() and path.stat().st_mode & 0o777 == 0o660, "the server's socket")
    assert path.stat().st_uid == NOBODY
    daemon.restart()
    assert daemon.port("vm1")["actual"]["stale"]
    assert daemon.stop() == 0


def test_workers_run_on_the_named_cores(make_daemon):
    cores = sorted(os.sched_getaffinity(0))[:2]
    daemon = make_daemon("--workers-cores", ",".join(map(str, cores)))
    daemon.start()
    assert [w["core"] for w in daemon.call("status")["workers"]] == cores
    assert len(daemon.call("rings")["rings"]) == len(cores)
