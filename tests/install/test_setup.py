# SPDX-License-Identifier: Apache-2.0
"""What the Makefile's targets stand on: packages and hugepages."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("S32_SOURCE", Path(__file__).resolve().parents[2]))
DEPS = ROOT / ".ci" / "deps.sh"
HUGEPAGES = ROOT / ".ci" / "hugepages.sh"
COUNT = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


def run(*argv, **options):
    return subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, check=False, timeout=120, **options)


def test_nothing_is_installed_twice():
    listed = run(DEPS, "--list", "all").stdout.split()
    assert len(listed) == len(set(listed)) and "libdpdk-dev" in listed
    done = run(DEPS, "--dry-run", "build")
    assert done.returncode == 0 and "are installed" in done.stdout, done.stdout + done.stderr


def test_unknown_group_is_refused():
    done = run(DEPS, "bogus")
    assert done.returncode == 2 and "bogus" in done.stderr


def test_without_hugepages_the_command_runs_all_the_same():
    done = run(HUGEPAGES, "99999999", "sh", "-c", "echo mb=$S32_HUGEPAGES_MB; exit 7")
    assert "carrying on without" in done.stdout
    assert "mb=0" in done.stdout and done.returncode == 7


@pytest.fixture
def counted():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not COUNT.exists():
        pytest.skip("the kernel offers no hugepages")
    yield COUNT.read_text(encoding="ascii")


def test_hugepages_are_given_back(counted):
    free = int(COUNT.with_name("free_hugepages").read_text(encoding="ascii"))
    done = run(HUGEPAGES, str(2 * free + 8), "cat", COUNT)
    if "carrying on without" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
    assert int(done.stdout.splitlines()[1]) == int(counted) + 4
    assert COUNT.read_text(encoding="ascii") == counted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_hugepages_are_given_back_on_a_signal(counted, number):
    free = int(COUNT.with_name("free_hugepages").read_text(encoding="ascii"))
    # Whoever runs the tests may ignore a signal (nohup), and a shell cannot trap it then.
    with subprocess.Popen(["env", f"--default-signal={number.name.removeprefix('SIG')}", str(HUGEPAGES),
                           str(2 * free + 8), "sh", "-c", "echo started; exec sleep 60"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        first = child.stdout.readline()
        if "carrying on without" in first:
            child.kill()
            pytest.skip(first.strip())
        assert "started" in child.stdout.readline()
        started = time.monotonic()
        child.send_signal(number)
        assert child.wait(20) != 0
        assert time.monotonic() - started < 15
    assert COUNT.read_text(encoding="ascii") == counted


def test_hugepages_of_a_killed_run_are_given_back_by_the_next(counted):
    free = int(COUNT.with_name("free_hugepages").read_text(encoding="ascii"))
    with subprocess.Popen([str(HUGEPAGES), str(2 * free + 8), "sh", "-c", "echo started; exec sleep 2"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        first = child.stdout.readline()
        assert "started" in child.stdout.readline()
        child.kill()
    if "carrying on without" in first:
        pytest.skip(first.strip())
    run(HUGEPAGES, "2", "true")
    assert COUNT.read_text(encoding="ascii") == counted


def test_make_without_a_target_is_help():
    done = run("make", "-C", ROOT, "--no-print-directory")
    assert done.returncode == 0
    for target in ("deps", "build", "demo", "test", "lint", "bench", "install"):
        assert f"make {target} " in done.stdout
