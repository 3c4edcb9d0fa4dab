#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures slash32; `make bench` is this. perf/README.md says what each row does.

    perf/bench.py [--build DIR] [--rows REGEX] [--quick] [--list]
    perf/bench.py [--build DIR] --publish

Prints one line a figure and writes the same to DIR/bench.json, as each row ends: a run that is stopped leaves
those that it measured. Exit status 0 when every row was measured, whatever it found; 1 when one could not be.
--publish measures nothing: it writes the last measurement to docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "perf"))
sys.dont_write_bytecode = True

from bench import figures, machine, plots, publish, rows  # noqa: E402
from bench.context import Context  # noqa: E402
from bench.figures import Figure  # noqa: E402
from bench.processes import BenchError  # noqa: E402

HUGEPAGES_MB = 3072


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=ROOT / "build", type=Path, help="build directory (build)")
    parser.add_argument("--rows", default="", metavar="REGEX", help="measure the rows named so")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: under 5 minutes")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.md")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    return parser.parse_args()


def say(text: str) -> None:
    """Progress: on a terminal, and apart from the table."""
    print(f"    {text}", file=sys.stderr, flush=True)


def draw_plots(measured: list[dict[str, Any]], directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    try:
        drawn = plots.draw(measured, directory)
    except ImportError:
        say("no plots: python3-matplotlib is not installed")
        return
    if drawn:
        say(f"plots of {', '.join(drawn)} in {directory}")


def publish_last(build: Path) -> int:
    try:
        measured = json.loads((build / "bench.json").read_text(encoding="utf-8"))
        on = json.loads((build / "bench-machine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"bench: nothing to publish ({error}): run `make bench` first", file=sys.stderr)
        return 1
    draw_plots(measured, build / "bench-plots")
    target = ROOT / "docs" / "performance.md"
    pictures = publish.take_plots(build / "bench-plots", ROOT / "docs" / "performance")
    target.write_text(publish.page(measured, on, pictures), encoding="utf-8")
    print(f"bench: {len(measured)} figures written to {target.relative_to(ROOT)}")
    return 0


def measure(row: rows.Row, context: Context) -> tuple[list[Figure], bool]:
    """The figures of a row, and whether it was measured."""
    print(f"\n{row.name}: {row.what}", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        found = row.measure(context)
    except (BenchError, OSError, KeyError, ValueError, IndexError, TimeoutError) as error:
        reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        say(f"not measured: {reason} (log: {context.log})")
        return [Figure(f"{row.name}: {row.what}", "", note=f"not measured: {reason}")], False
    say(f"{time.monotonic() - start:.0f} s")
    return found, True


def write(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(path)


def run(arguments: argparse.Namespace, build: Path) -> int:
    chosen = [row for row in rows.ALL if re.search(arguments.rows, row.name, re.IGNORECASE)]
    if not chosen:
        print(f"bench: no row is named {arguments.rows!r}: "
              f"{', '.join(row.name for row in rows.ALL)}", file=sys.stderr)
        return 2
    # Sockets have short paths; the stores of the daemons lie here, too.
    directory = Path(tempfile.mkdtemp(prefix="s32-bench-"))
    log = build / "bench.log"
    log.unlink(missing_ok=True)
    on = machine.describe()
    as_json: list[dict[str, Any]] = []
    complete = True
    try:
        context = Context(build, directory, log, arguments.quick, say)
        for name, value in on.items():
            print(f"{name + ':':11}{value}")
        for number, row in enumerate(chosen, 1):
            found, good = measure(row, context)
            as_json += [figure.to_json() for figure in found]
            complete = complete and good
            write(build / "bench.json", as_json)
            write(build / "bench-machine.json", {**on, "rows": f"{number} of {len(rows.ALL)}"})
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    draw_plots(as_json, build / "bench-plots")
    print()
    print(figures.line(figures.HEADER))
    for entry in as_json:
        print(figures.line(figures.cells(entry)))
        if entry["note"]:
            print(f"    ({entry['note']})")
    missed = sum(entry["reached"] is False for entry in as_json)
    reached = sum(entry["reached"] is True for entry in as_json)
    print(f"\n{reached} reached, {missed} not reached; written to {build / 'bench.json'}")
    return 0 if complete else 1


def main() -> int:
    arguments = parse_arguments()
    build = arguments.build.resolve()
    if arguments.list:
        for row in rows.ALL:
            print(f"{row.name:12}{row.what}")
        return 0
    if arguments.publish:
        return publish_last(build)
    if not build.is_dir():
        print(f"bench: there is no {build}: run `make build` first", file=sys.stderr)
        return 2
    if "S32_HUGEPAGES_MB" not in os.environ:
        # Takes the hugepages and gives them back, however this ends.
        script = ROOT / ".ci" / "hugepages.sh"
        os.execv(script, [str(script), str(HUGEPAGES_MB), sys.executable, *sys.argv])
    # Stopping us stops what we started: the exception unwinds through every `with`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        return run(arguments, build)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
