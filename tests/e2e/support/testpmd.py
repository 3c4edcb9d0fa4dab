# SPDX-License-Identifier: Apache-2.0
"""DPDK's testpmd with one device, which answers ARP and echo for any address."""

import os
import subprocess

CORE = min(os.sched_getaffinity(0))


class Testpmd:
    """Runs until close(). What it says is in testpmd.log of the directory."""

    __test__ = False  # no test case, whatever its name

    def __init__(self, directory, prefix, device, *options):
        self.log = open(directory / "testpmd.log", "w+", encoding="utf-8")
        # testpmd ends when its standard input does.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci",
             "--no-telemetry", "--lcores", f"0@{CORE},1@{CORE}", "--file-prefix", prefix, "--vdev", device, "--",
             "--forward-mode=icmpecho", "--total-num-mbufs=8192", "--auto-start", "--stats-period=1000", *options],
            stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
