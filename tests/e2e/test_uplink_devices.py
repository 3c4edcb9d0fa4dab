# SPDX-License-Identifier: Apache-2.0
"""Uplinks on DPDK devices whose other end is another DPDK program: testpmd, which answers ARP and echo for any
address. Those on the kernel's devices are in test_uplink.py and others."""

import shutil

import pytest
from support import Lab, until
from support.testpmd import Testpmd

DEVICES = {
    "virtio_user": ("net_virtio_user0,path={0}/link.sock", "net_vhost0,iface={0}/link.sock"),
    "memif": ("net_memif0,role=client,socket={0}/link.sock,socket-abstract=no",
              "net_memif0,role=server,socket={0}/link.sock,socket-abstract=no"),
}


@pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="there is no dpdk-testpmd")
@pytest.mark.parametrize("kind", DEVICES)
def test_host_and_machine_reach_the_other_end(needs_tap, resources, kind):
    directory = resources.directory()
    ours, theirs = (text.format(directory) for text in DEVICES[kind])
    # Before the router, which connects to it.
    resources.keep(Testpmd(directory, f"s32-{directory.name}", theirs))
    until((directory / "link.sock").exists, "testpmd's socket", 30)
    lab = Lab(resources, "--uplink", f"name=up0;devargs={ours}", start=False)
    lab.daemon.start()
    lab.router.ip("address", "add", "192.0.2.0/31", "dev", "up0")
    lab.router.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.1")
    until(lambda: lab.daemon.port("up0")["actual"]["state"] == "running", "the link", 20)
    until(lambda: lab.router.run("ping", "-n", "-c", 1, "-W", 1, "192.0.2.1", check=False).returncode == 0, "echo", 20)
    lab.machine(1).ping("198.51.100.7", 5)
