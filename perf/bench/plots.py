# SPDX-License-Identifier: Apache-2.0
"""Plots of bench.json: the rows that have a point, as lines over it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Plot:
    title: str
    x: str
    y: str
    logarithmic: bool = False  # in x
    bars: bool = False         # x is names, one bar each


PLOTS = {
    "flows": Plot("Throughput by number of flows, 100 rules at both ports", "flows", "Mpps", True),
    "sizes": Plot("Throughput by frame size, 100 rules at both ports", "bytes", "Gbit/s"),
    "rules": Plot("Throughput by number of rules", "rules at each port", "Mpps", True),
    "latency": Plot("Latency at half of the own throughput", "percentile", "µs"),
    "stages": Plot("What a packet costs, by stage", "stage", "cycles a packet", bars=True),
}


def draw(rows: list[dict[str, Any]], directory: Path) -> list[str]:
    """An SVG file for each plot that has points; returns the names of what was drawn."""
    import matplotlib  # here, so that everything else does without it
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "slash32"  # the same figures make the same file
    from matplotlib import pyplot

    drawn = []
    directory.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        lines: dict[str, list[tuple[Any, float, float, float]]] = {}
        for row in rows:
            if row["value"] is not None and row.get("point") and row["point"][0] == name:
                lines.setdefault(row["point"][1], []).append(
                    (row["point"][2], row["value"], row["min"], row["max"]))
        if not lines:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 4))
        for place, (line, points) in enumerate(lines.items()):
            if not plot.bars:
                points.sort(key=lambda point: point[0])
            x = [point[0] for point in points]
            y = [point[1] for point in points]
            if plot.bars:
                width = 0.8 / len(lines)
                axes.bar([at + place * width for at in range(len(x))], y, width, label=line)
                axes.set_xticks(range(len(x)), x, rotation=60, ha="right", fontsize=8)
                continue
            below = [point[1] - point[2] for point in points]
            above = [point[3] - point[1] for point in points]
            axes.errorbar(x, y, yerr=[below, above], marker="o", capsize=3, label=line)
        if plot.logarithmic:
            axes.set_xscale("log")
        axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.tight_layout()
        figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)
        drawn.append(name)
    return drawn
