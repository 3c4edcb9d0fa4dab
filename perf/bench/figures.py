# SPDX-License-Identifier: Apache-2.0
"""A row of the table: what was measured, what was asked, how often, and how far apart."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any, NamedTuple, Sequence


class Point(NamedTuple):
    """Of a line in a plot (plots.py)."""

    plot: str
    line: str
    x: float | str


@dataclasses.dataclass
class Figure:
    """One printed row. `values` are those of its runs; the figure is their median, or what `pick`
    names where the worst or the best is meant."""

    name: str
    unit: str
    values: Sequence[float] = ()
    asked: float | None = None
    at_most: bool = False  # asked is an upper bound
    pick: str = "median"   # or "max", "min"
    note: str = ""
    point: Point | None = None  # where it stands in a plot

    @property
    def value(self) -> float | None:
        if not self.values:
            return None
        return {"median": statistics.median, "max": max, "min": min}[self.pick](self.values)

    @property
    def reached(self) -> bool | None:
        if self.asked is None or self.value is None:
            return None
        return self.value <= self.asked if self.at_most else self.value >= self.asked

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "unit": self.unit, "asked": self.asked,
                "at_most": self.at_most, "reached": self.reached, "runs": len(self.values),
                "min": min(self.values, default=None), "max": max(self.values, default=None),
                "pick": self.pick, "note": self.note, "point": self.point}


def number(value: float | None) -> str:
    """Three digits that matter, thousands in groups."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def cells(row: dict[str, Any]) -> list[str]:
    """name, measured, asked, reached, runs, spread: of a row of bench.json."""
    asked = "" if row["asked"] is None else f"{'≤' if row['at_most'] else '≥'} {number(row['asked'])}"
    reached = {None: "", True: "yes", False: "NO"}[row["reached"]]
    measured = f"{number(row['value'])} {row['unit']}".strip()
    if row["value"] is None:
        measured = "not measured"
    spread = f"{number(row['min'])} .. {number(row['max'])}" if row["runs"] > 1 else ""
    return [row["name"], measured, asked, reached, str(row["runs"] or ""), spread]


HEADER = ["name", "measured", "asked", "reached", "runs", "spread"]
WIDTHS = [50, 20, 13, 7, 4, 0]


def line(values: Sequence[str]) -> str:
    return "  ".join(f"{text:{width}}" for text, width in zip(values, WIDTHS)).rstrip()
