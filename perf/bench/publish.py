# SPDX-License-Identifier: Apache-2.0
"""build/bench.json into docs/performance.md."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .figures import cells

INTRODUCTION = """# Performance

Measured by `make bench` and written by `make bench-publish`: nothing in this table was typed. Figures
drift with the machine and its neighbours, so compare within one table only;
[perf/README.md](../perf/README.md) says what each row does and how to run it again. The figure is the
median of its runs where nothing else is said.
"""


def take_plots(drawn: Path, into: Path) -> list[str]:
    """Copies the plots of the last measurement in place of earlier ones; returns their file names."""
    shutil.rmtree(into, ignore_errors=True)
    names = sorted(path.name for path in drawn.glob("*.svg"))
    if names:
        into.mkdir()
    for name in names:
        shutil.copy(drawn / name, into / name)
    return names


def page(rows: list[dict[str, Any]], machine: dict[str, str], pictures: list[str]) -> str:
    """The document."""
    lines = [INTRODUCTION, "## The machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    if pictures:
        lines += ["", "## Plots", ""]
        lines += [f"![{Path(name).stem}](performance/{name})" for name in pictures]
    lines += ["", "## The figures", "",
              "| name | measured | asked | reached | runs | spread |", "|---|---|---|---|---|---|"]
    notes = []
    for row in rows:
        words = cells(row)
        if row["note"]:
            notes.append(row["note"])
            words[0] += f" [{len(notes)}]"
        lines.append("| " + " | ".join(words) + " |")
    if notes:
        lines += ["", "Notes:"]
        lines += [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join(lines) + "\n"
