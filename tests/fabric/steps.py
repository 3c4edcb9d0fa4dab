# SPDX-License-Identifier: Apache-2.0
"""What the demonstrations in the fabric have in common: steps in their order, and a program around them,
which has put the folders of `screen` and `support` on its path."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Callable

from screen import Screen, StepFailed
from support import sweep
from support.resources import Resources
from support.routing import Bird, Frr


class Steps:
    """A demonstration. `kind`: of the routing daemon, Frr or Bird."""

    NAME = ""  # of the make target
    TITLE = ""

    def __init__(self, kind: type, resources: Resources) -> None:
        self.kind = kind
        self.resources = resources
        self.screen = Screen(len(self.steps()))

    def steps(self) -> list[tuple[str, Callable[[], str], bool]]:
        """Title, function, and whether the steps after it need it."""
        raise NotImplementedError

    def run(self) -> bool:
        for title, function, needed in self.steps():
            if not self.screen.step(title, self.checked(function)) and needed:
                break
        return self.screen.summary()

    @staticmethod
    def checked(function: Callable[[], str]) -> Callable[[], str]:
        """The step, with what goes wrong on the way as its verdict."""

        def body() -> str:
            try:
                return function()
            except (AssertionError, OSError) as error:
                raise StepFailed(str(error)) from error

        return body


def main(demo: type[Steps], description: str) -> int:
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=Path("build"), type=Path, help="build directory (build)")
    parser.add_argument("--bgp", choices=("frr", "bird"), default="frr", help="the routing daemon everywhere (frr)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print(f"{demo.NAME}: needs root for network namespaces", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    sweep()
    resources = Resources(options.build.resolve())
    try:
        steps = demo({"frr": Frr, "bird": Bird}[options.bgp], resources)
        steps.screen.title(demo.TITLE)
        return 0 if steps.run() else 1
    except KeyboardInterrupt:
        print(f"{demo.NAME}: interrupted", file=sys.stderr)
        return 130
    finally:
        resources.close()
