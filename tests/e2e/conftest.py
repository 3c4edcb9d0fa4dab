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

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import support  # noqa: E402
from support.resources import DPDK_RUN_DIR, Resources  # noqa: E402



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


def shown_daemons(session):
    """Those whose logs are part of the report of a test that fails."""
    if not hasattr(session, "s32_daemons"):
        session.s32_daemons = []
    return session.s32_daemons


@pytest.fixture
def resources(request, build):
    made = Resources(build, shown_daemons(request.session))
    yield made
    made.close()


@pytest.fixture(scope="module")
def module_resources(request, build):
    made = Resources(build, shown_daemons(request.session))
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
