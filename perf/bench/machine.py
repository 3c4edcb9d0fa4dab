# SPDX-License-Identifier: Apache-2.0
"""The machine that is measured, and how its cores are shared out."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def cores() -> tuple[int, int]:
    """(the router's worker, everything else). The same core twice where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


def core_distance(program: Path) -> float:
    """The nanoseconds that a cache line takes from one of the two cores to the other, now; 0 where there is
    one core."""
    worker, other = cores()
    if worker == other:
        return 0.0
    done = subprocess.run([program, str(worker), str(other)], capture_output=True, text=True, timeout=30,
                          check=True)
    return float(done.stdout)


def hugepages_mb() -> int:
    """How much memory in hugepages this run may use (.ci/hugepages.sh says so)."""
    return int(os.environ.get("S32_HUGEPAGES_MB", "0"))


def _cpuinfo(key: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _memory_gb() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) / 1024 / 1024
    return 0.0


def _system() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()


def describe() -> dict[str, str]:
    """What a reader needs to judge the figures."""
    worker, other = cores()
    flags = _cpuinfo("flags").split()
    huge = hugepages_mb()
    return {
        "CPU": _cpuinfo("model name"),
        "cores": f"{len(os.sched_getaffinity(0))}"
                 + (" (a virtual machine)" if "hypervisor" in flags else ""),
        "pinning": f"worker on core {worker}; control thread, generator and everything else on core {other}",
        "memory": f"{_memory_gb():.0f} GB",
        "hugepages": f"{huge} MB of 2 MB pages" if huge else "none (--no-huge)",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _system(),
    }
