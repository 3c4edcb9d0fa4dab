# SPDX-License-Identifier: Apache-2.0
"""DPDK's own virtio driver (testpmd on virtio_user) as the frontend of a port."""

import shutil

import pytest

from support import until
from support.frontend import GATEWAY_MAC, add_ports, address4, mac, ping
from support.testpmd import Testpmd


@pytest.fixture(scope="module")
def daemon(module_resources):
    made = module_resources.daemon("--router-mac", GATEWAY_MAC)
    made.start()
    return made


def virtio_user(daemon, port, queues, device_options):
    """testpmd with one virtio_user port that listens, as QEMU does."""
    socket = daemon.directory / f"vm{port}.sock"
    # It does not bind over the socket that one before it, killed, has left.
    socket.unlink(missing_ok=True)
    return Testpmd(daemon.directory, f"{daemon.prefix}-tp",
                   f"net_virtio_user0,path={socket},server=1,mac={mac(port)},queues={queues}{device_options}",
                   f"--rxq={queues}", f"--txq={queues}")


@pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="there is no dpdk-testpmd")
@pytest.mark.parametrize("queues,options", [
    (1, ""), (1, ",mrg_rxbuf=0,in_order=0"), (2, ",in_order=1"), (1, ",queue_size=64")])
def test_ping_a_port_of_dpdks_virtio_driver(daemon, build, queues, options):
    add_ports(daemon, 2, queues=queues)
    with virtio_user(daemon, 1, queues, options) as testpmd:
        def runs():
            if testpmd.process.poll() is not None:
                text = (daemon.directory / "testpmd.log").read_text()
                raise AssertionError(f"testpmd ended:\n{text}")
            return daemon.port("p1")["actual"]["state"] == "running"

        until(runs, "testpmd's rings are ready", 60)

        def answers(count):
            return ping(build, daemon.directory, 0, address4(1), "--queue-pairs", queues, count=count)

        # Its rings are ready before its forwarding is.
        until(lambda: answers(1).returncode == 0, "testpmd forwards")
        done = answers(20)
        assert done.returncode == 0, done.stdout
    until(lambda: daemon.port("p1")["actual"]["state"] == "waiting", "the port waits again")
