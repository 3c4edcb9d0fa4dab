#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions that the packet path takes for a packet, which no neighbour on the machine can
change, and compares them with what is committed (perf/micro/instructions.json).

    perf/instructions.py [--build DIR] [--write]

Exit status 1 when an input takes over 2 % more than the baseline says. --write makes what was counted the
new baseline: for a change that is worth it, or one that made the path shorter.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "perf" / "micro" / "instructions.json"
TRAFFIC = ["open", "established", "new", "into_tunnel", "from_wire", "from_tunnel"]
INPUTS = [f"{family}/{traffic}" for traffic in TRAFFIC for family in ("ipv4", "ipv6")]
BURSTS = 200
BURST_SIZE = 32
TOLERANCE = 0.02


class CountError(Exception):
    """Nothing could be counted; says why."""


def count(build: Path, name: str) -> float:
    """Instructions a packet of one input."""
    program = build / "perf" / "micro" / "pipeline_bench"
    if not program.exists():
        raise CountError(f"there is no {program}: build it first (make build)")
    if shutil.which("valgrind") is None:
        raise CountError("valgrind is not installed")
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out",
             "--collect-atstart=no", "--toggle-collect=*run_measured*", str(program),
             f"--benchmark_filter=^{name}/pipeline", f"--bursts={BURSTS}"],
            capture_output=True, text=True, check=False, timeout=300)
    said = done.stdout + done.stderr
    collected = re.search(r"Collected\s*:\s*(\d+)", said)
    if done.returncode != 0 or collected is None or int(collected[1]) == 0 or "ERROR" in done.stdout:
        raise CountError(f"{name} was not counted: {said[-2000:]}")
    return int(collected[1]) / (BURSTS * BURST_SIZE)


def read_baseline() -> dict[str, float]:
    return json.loads(BASELINE.read_text(encoding="utf-8"))


def complaint(name: str, counted: float, baseline: dict[str, float]) -> str:
    """What is wrong with a count; "" for nothing."""
    if name not in baseline:
        return f"{name} has no baseline"
    more = counted / baseline[name] - 1
    if more <= TOLERANCE:
        return ""
    return f"{name} takes {100 * more:.1f} % more instructions a packet: {counted:.1f}, was {baseline[name]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=ROOT / "build", type=Path, help="build directory (build)")
    parser.add_argument("--write", action="store_true", help="make this the baseline")
    arguments = parser.parse_args()
    baseline = read_baseline() if BASELINE.exists() else {}
    counted: dict[str, float] = {}
    worse = 0
    print(f"{'input':24} {'counted':>10} {'baseline':>10}")
    for name in INPUTS:
        try:
            counted[name] = round(count(arguments.build, name), 1)
        except (CountError, subprocess.TimeoutExpired) as error:
            print(f"instructions: {error}", file=sys.stderr)
            return 1
        print(f"{name:24} {counted[name]:10} {baseline.get(name, '-'):>10}")
        worse += complaint(name, counted[name], baseline) != ""
    if arguments.write:
        BASELINE.write_text(json.dumps(counted, indent=4) + "\n", encoding="utf-8")
        print(f"instructions: written to {BASELINE.relative_to(ROOT)}")
        return 0
    if worse:
        print(f"instructions: {worse} of {len(INPUTS)} are over the baseline by more than "
              f"{100 * TOLERANCE:.0f} %", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
