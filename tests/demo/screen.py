# SPDX-License-Identifier: Apache-2.0
"""What the demonstration prints: numbered steps, the commands in them, and a verdict on each."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Callable

COLUMNS = 96


class StepFailed(Exception):
    """A step did not hold; the message says what was seen instead."""


class Screen:
    """Prints the steps and counts their verdicts. Colours only on a terminal, and not if NO_COLOR."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self.passed = 0
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def _print(self, text: str = "", colour: str = "") -> None:
        if colour and self._colours:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        print(text, flush=True)

    def title(self, text: str) -> None:
        self._print(text, "1")

    def note(self, text: str) -> None:
        """A remark, or progress."""
        for line in text.splitlines():
            self._print(f"        {line}")

    def command(self, where: str, command: str) -> None:
        """A command that is run now, and on which machine. A long one is broken between options."""
        indent = " " * (len(where) + 10)
        line = f"      {where}$ "
        for part in re.split(r" (?=--)", command):
            if len(line) + len(part) > COLUMNS and line.strip():
                self._print(f"{line} \\", "36")
                line = indent
            line += part if line.endswith("  ") or line.endswith("$ ") else f" {part}"
        self._print(line, "36")

    def output(self, text: str, lines_max: int = 14) -> None:
        """What a command printed."""
        lines = [line for line in text.rstrip().splitlines() if line.strip()]
        for line in lines[:lines_max]:
            self._print(f"      | {line}", "2")
        if len(lines) > lines_max:
            self._print(f"      | ... ({len(lines) - lines_max} more lines)", "2")

    def step(self, title: str, function: Callable[[], str]) -> bool:
        """Runs one step. It returns what it saw, or raises StepFailed."""
        self._step += 1
        self._print()
        self._print(f"[{self._step}/{self._steps}] {title}", "1")
        start = time.monotonic()
        try:
            seen = function()
        except StepFailed as failure:
            first, *others = str(failure).splitlines() or [""]
            self._print(f"FAIL  {first}", "1;31")
            self.output("\n".join(others), lines_max=40)
            return False
        self.passed += 1
        self._print(f"PASS  {seen} ({time.monotonic() - start:.1f} s)", "1;32")
        return True

    def summary(self) -> bool:
        """The last line. Whether every step held."""
        good = self.passed == self._steps
        self._print()
        self._print(f"{self.passed} of {self._steps} steps held", "1;32" if good else "1;31")
        return good
