# SPDX-License-Identifier: Apache-2.0
"""What a row is given: the programs, a directory, how long to measure, and ways to start things."""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Callable

from . import machine
from .processes import BenchError, Children


# The cores are near where they are at most so many times as far apart as in the nearest tenth of all looks.
NEAR = 1.5
LOOKS = 50  # in the first five seconds, to know what is near


def find_program(build: Path, name: str) -> Path:
    """A program of ours in the build directory."""
    for folder in ("ctrl/daemon", "ctrl/cli", "ctrl", "perf/pktgen", "perf/micro", "perf/distance",
                   "tests/frontend", "."):
        program = build / folder / name
        if program.is_file() and os.access(program, os.X_OK):
            return program.resolve()
    raise BenchError(f"there is no {name} in {build}: build it first (make build)")


def find_testpmd() -> str:
    for name in ("dpdk-testpmd", "testpmd"):
        if path := shutil.which(name):
            return path
    raise BenchError("dpdk-testpmd is not installed (package dpdk-dev)")


@dataclasses.dataclass
class Context:
    build: Path
    directory: Path  # for sockets and stores; emptied between rows
    log: Path
    quick: bool
    say: Callable[[str], None]  # progress
    _distances: list[float] = dataclasses.field(default_factory=list)  # of the cores, ns

    def __post_init__(self) -> None:
        self.worker_core, self.other_core = machine.cores()
        self.huge = machine.hugepages_mb() >= 2048

    def program(self, name: str) -> Path:
        return find_program(self.build, name)

    def children(self) -> Children:
        return Children(self.log)

    def fresh(self, name: str) -> Path:
        """An empty directory, its path short enough for sockets."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def runs(self, usual: int, quick: int) -> int:
        return quick if self.quick else usual

    def cores_are_near(self, seconds: float = 0) -> bool:
        """Whether the two cores are now about as near to each other as they come in this run. The host of a
        virtual machine moves them, and then each line that both write takes several times as long. Waits so
        many seconds for it."""
        program = self.program("core_distance")
        if not self._distances:
            for _ in range(LOOKS):
                self._distances.append(machine.core_distance(program))
                time.sleep(0.1)
        deadline = time.monotonic() + seconds
        while True:
            self._distances.append(machine.core_distance(program))
            near = self._distances[-1] <= NEAR * statistics.quantiles(self._distances, n=10)[0]
            if near or time.monotonic() >= deadline:
                return near
            time.sleep(0.5)

    @property
    def window(self) -> float:
        """Seconds of one measurement of traffic."""
        return 1.0 if self.quick else 3.0
