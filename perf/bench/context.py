# SPDX-License-Identifier: Apache-2.0
"""What a row is given: the programs, a directory, how long to measure, and ways to start things."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Callable

from . import machine
from .processes import BenchError, Children


def find_program(build: Path, name: str) -> Path:
    """A program of ours in the build directory."""
    for folder in ("ctrl/daemon", "ctrl/cli", "ctrl", "perf/pktgen", "perf/micro", "tests/frontend", "."):
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

    @property
    def window(self) -> float:
        """Seconds of one measurement of traffic."""
        return 1.0 if self.quick else 3.0
