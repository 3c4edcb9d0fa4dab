# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests.

    build           the Meson build directory: --build, else S32_BUILD, else build/
    run_dir         a new short directory (socket paths have 107 bytes), removed after the test
    make_daemon     make_daemon(*flags, directory=, netns=, uid=) -> Daemon, not started; stopped after the test
    daemon          a started Daemon with default options and no ports
    make_namespace  make_namespace(label) -> Namespace, removed after the test
    lab             a Lab: a daemon in a namespace, and machines on its TAP ports; module_lab: one for a file

A daemon is a child that dies with the test run; a namespace of a run that was killed is removed by the next.
"""

import itertools
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import support  # noqa: E402

DPDK_RUN_DIR = Path("/var/run/dpdk")  # root's
_numbers = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption("--build", default=None, help="Meson build directory (S32_BUILD, or build)")


def pytest_configure(config):
    # So that fixtures clean up when the test run is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def pytest_sessionstart(session):
    if os.geteuid() == 0:
        support.sweep()
        for left in DPDK_RUN_DIR.glob("s32e*-*"):
            if not Path(f"/proc/{left.name[4:].split('-')[0]}").exists():
                shutil.rmtree(left, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the daemons' logs to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in getattr(item.session, "s32_daemons", []):
            text = daemon.log_text()[-4000:]
            if text:
                report.sections.append((f"log of {daemon.prefix}", text))


@pytest.fixture(scope="session")
def build(request):
    path = request.config.getoption("--build") or os.environ.get("S32_BUILD") or \
        HERE.parents[1] / "build"
    path = Path(path).resolve()
    for program in ("ctrl/daemon/slash32d", "ctrl/cli/slash32ctl"):
        assert (path / program).is_file(), f"{path / program} is not built"
    return path


@pytest.fixture(scope="session")
def needs_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def needs_tap(needs_root):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("there is no /dev/net/tun")


class Resources:
    """What tests started, and its end."""

    def __init__(self, session, build):
        self.session = session
        self.build = build
        self.daemons = []
        self.namespaces = []
        self.directories = []
        if not hasattr(session, "s32_daemons"):
            session.s32_daemons = []

    def directory(self):
        path = Path(tempfile.mkdtemp(prefix="s32e-"))
        path.chmod(0o755)
        self.directories.append(path)
        return path

    def daemon(self, *options, directory=None, netns=None, uid=None):
        directory = Path(directory) if directory else self.directory()
        prefix = f"s32e{os.getpid()}-{next(_numbers)}"
        made = support.Daemon(self.build, directory, prefix, *options, netns=netns, uid=uid)
        self.daemons.append(made)
        self.session.s32_daemons.append(made)
        return made

    def namespace(self, label):
        made = support.Namespace(label)
        self.namespaces.append(made)
        return made

    def close(self):
        failures = []
        for daemon in self.daemons:
            try:
                daemon.stop()
            except AssertionError as failure:
                failures.append(str(failure))
            self.session.s32_daemons.remove(daemon)
            # DPDK leaves some megabytes there, which the next start with the same prefix would take.
            shutil.rmtree(DPDK_RUN_DIR / daemon.prefix, ignore_errors=True)
        for namespace in self.namespaces:
            namespace.close()
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)
        assert not failures, "\n".join(failures)


@pytest.fixture
def resources(request, build):
    made = Resources(request.session, build)
    yield made
    made.close()


@pytest.fixture(scope="module")
def module_resources(request, build):
    made = Resources(request.session, build)
    yield made
    made.close()


@pytest.fixture
def run_dir(resources):
    return resources.directory()


@pytest.fixture
def make_daemon(resources):
    return resources.daemon


@pytest.fixture
def make_namespace(needs_root, resources):
    return resources.namespace


@pytest.fixture
def daemon(resources):
    made = resources.daemon()
    made.start()
    return made


@pytest.fixture
def lab(needs_tap, resources):
    """A Lab of this test alone."""
    return support.Lab(resources)


@pytest.fixture(scope="module")
def module_lab(needs_tap, module_resources):
    """A Lab that the tests of a file share."""
    return support.Lab(module_resources)
