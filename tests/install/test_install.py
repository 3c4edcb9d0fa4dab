# SPDX-License-Identifier: Apache-2.0
"""`make install` puts everything in its place, and what it installs works from there."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("S32_SOURCE", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("S32_BUILD", ROOT / "build"))


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, check=False, timeout=240, **options)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An installed prefix: what `make install PREFIX=...` does, on the build that is there."""
    prefix = tmp_path_factory.mktemp("installed") / "usr"
    options = json.loads(run("meson", "introspect", "--buildoptions", BUILD).stdout)
    before = {option["name"]: option["value"] for option in options}
    try:
        done = run("make", "install", f"BUILD={BUILD}", f"PREFIX={prefix}", cwd=ROOT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        yield prefix
    finally:
        run("meson", "configure", BUILD, f"-Dprefix={before['prefix']}",
            f"-Dsysconfdir={before['sysconfdir']}")


def test_everything_is_there(prefix):
    expected = [
        "bin/slash32d", "bin/slash32ctl", "include/slash32/client.h", "etc/slash32/slash32.toml",
        "lib/systemd/system/slash32d.service", "lib/sysusers.d/slash32.conf",
        "share/man/man8/slash32d.8", "share/man/man5/slash32.toml.5", "share/man/man1/slash32ctl.1",
        "share/bash-completion/completions/slash32ctl",
    ]
    missing = [name for name in expected if not (prefix / name).exists()]
    assert not missing
    assert list(prefix.rglob("slash32.pc")) and list(prefix.rglob("libslash32.so"))


def test_unit_is_one_that_systemd_understands(prefix):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = prefix / "lib/systemd/system/slash32d.service"
    text = unit.read_text(encoding="utf-8")
    assert f"ExecStart={prefix}/bin/slash32d --config {prefix}/etc/slash32/slash32.toml" in text
    for line in ("Type=notify", "WatchdogSec=", "Restart=always", "RuntimeDirectoryPreserve=yes"):
        assert line in text
    said = run("systemd-analyze", "verify", "--man=no", unit).stderr
    ours = [line for line in said.splitlines() if "slash32d.service" in line]
    assert not ours, "\n".join(ours)


@pytest.mark.parametrize("page", ["man8/slash32d.8", "man5/slash32.toml.5", "man1/slash32ctl.1"])
def test_manual_page_has_no_warnings(prefix, page):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    path = prefix / "share/man" / page
    done = run("man", "--warnings", "-l", path, env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80",
                                                    "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "SEE ALSO" in done.stdout


def test_pkg_config_file_builds_a_client(prefix, tmp_path):
    folder = next(prefix.rglob("slash32.pc")).parent
    environment = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    flags = run("pkg-config", "--cflags", "--libs", "slash32", env=environment)
    assert flags.returncode == 0, flags.stderr
    source = tmp_path / "client.cc"
    source.write_text("#include <slash32/client.h>\n"
                      "int main() { return slash32::client::Client::connect().has_value() ? 0 : 3; }\n")
    library = next(prefix.rglob("libslash32.so")).parent
    built = run("c++", "-std=c++20", source, "-o", tmp_path / "client", *flags.stdout.split(),
                f"-Wl,-rpath,{library}")
    assert built.returncode == 0, built.stderr


def test_default_configuration_is_checked_clean(prefix):
    done = run(prefix / "bin/slash32d", "--config", prefix / "etc/slash32/slash32.toml", "--check-config")
    assert done.returncode == 0, done.stderr


def test_default_configuration_starts_without_a_nic(prefix, tmp_path):
    """As the unit starts it: readiness is told over NOTIFY_SOCKET, and SIGTERM ends it with 0.

    Only what would meet another daemon on this machine is moved: its directories and its memory's name.
    """
    notify_path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(notify_path))
        notify.settimeout(30)
        with open(tmp_path / "log", "w", encoding="utf-8") as log:
            daemon = subprocess.Popen(
                [prefix / "bin/slash32d", "--config", prefix / "etc/slash32/slash32.toml",
                 "--daemon-run-dir", tmp_path, "--daemon-state-dir", tmp_path / "state",
                 "--memory-prefix", f"install-{os.getpid()}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(notify_path), "WATCHDOG_USEC": "4000000"})
        try:
            told = wait_for(notify, "READY=1")
            assert told, (tmp_path / "log").read_text(encoding="utf-8")
            assert wait_for(notify, "WATCHDOG=1"), "no watchdog message in 30 s"
            status = run(prefix / "bin/slash32ctl", "--socket", tmp_path / "slash32.sock", "status")
            assert status.returncode == 0, status.stderr
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                ended = daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                ended = daemon.wait()
    assert ended == 0, (tmp_path / "log").read_text(encoding="utf-8")


def wait_for(notify, word):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if word in notify.recv(4096).decode().split("\n"):
                return True
        except TimeoutError:
            break
    return False
