# SPDX-License-Identifier: Apache-2.0
"""The parts of the test run, in their order."""

import dataclasses
import os
import re
import shutil
from pathlib import Path
from typing import Callable

from . import fuzz, gtest, meson, process, python


@dataclasses.dataclass
class Context:
    source: Path
    build: Path  # the release build; those of the sanitizers are inside it
    report: object
    match: str
    fuzz_seconds: int

    def wants(self, part):
        """Whether a test of this part may be asked for."""
        if not self.match or part.name == "build":
            return True
        if self.match.lower().startswith(part.name):
            return True
        # A part that was named excludes the others.
        if any(self.match.lower().startswith(other.name + "/") for other in ALL):
            return False
        return not part.only_by_name

    def selects(self, name):
        """Whether the test PART/NAME was asked for."""
        return not self.match or re.search(self.match, name, re.IGNORECASE) is not None

    def log(self, name):
        return self.report.logs / f"{name}.log"


@dataclasses.dataclass
class Part:
    name: str
    what: str
    run: Callable[[Context], None]
    only_by_name: bool = False  # needs a build of its own: T=pattern passes it over


def run_build(context):
    meson.configure(context, context.build, [])
    meson.compile_targets(context, context.build)


def run_unit(context):
    gtest.run(context, "unit", context.build)


# Unoptimised and by clang: with GCC 12 these checks take five times as long to compile as to run. Lines
# are all that their reports need of the debugging information. The part `cmake` builds with the same,
# so that the compiler cache has most of what it needs.
ASAN_BUILD = ["-Doptimization=0", *meson.LINES_ONLY, "-Db_lto=false", "-Db_ndebug=false",
              "-Db_sanitize=address,undefined", "-Db_lundef=false"]
TSAN_BUILD = ["-Doptimization=1", *meson.LINES_ONLY, "-Db_lto=false", "-Db_ndebug=false",
              "-Db_sanitize=thread", "-Db_lundef=false"]


def run_asan(context):
    suppressions = context.source / "tests" / "sanitize"
    directory = context.build / "asan"
    tests = meson.build_tests(context, directory, ASAN_BUILD, env=meson.clang())
    gtest.run(context, "asan", directory, tests, env={
        "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
        "LSAN_OPTIONS": f"suppressions={suppressions / 'lsan.supp'}:print_suppressions=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"})


def run_tsan(context):
    suppressions = context.source / "tests" / "sanitize"
    directory = context.build / "tsan"
    tests = meson.build_tests(
        context, directory, TSAN_BUILD, env=meson.clang(),
        wanted=lambda test: any(suite.endswith("tsan") for suite in test["suite"]))
    gtest.run(context, "tsan", directory, tests, env={
        "TSAN_OPTIONS": f"halt_on_error=1:suppressions={suppressions / 'tsan.supp'}"})


def run_demo(context):
    if shutil.which("qemu-system-x86_64") is None and context.selects("demo/two_guests"):
        context.report.skipped("demo/two_guests", "qemu-system-x86_64 is not installed")
        return
    run_script(context, "demo/two_guests", context.source / "tests" / "demo" / "demo.py")


def run_fabric(context):
    for name in ("frr", "bird"):
        run_script(context, f"demo/fabric_{name}", context.source / "tests" / "fabric" / "demo.py", "--bgp", name)


def run_overlay(context):
    run_script(context, "demo/overlay", context.source / "tests" / "fabric" / "overlay.py")


def run_script(context, name, script, *arguments):
    """A demonstration, which exits with 0 if all of it held."""
    if not context.selects(name):
        return
    if os.geteuid() != 0:
        context.report.skipped(name, "needs root")
        return
    log = context.log(name.replace("/", "-"))
    status = process.run([python.PYTHON, script, "--build", context.build, *arguments], log, 600,
                         env=python.environment(context), echo=lambda line: process.say("  " + line))
    if status == 0:
        context.report.passed(name)
    else:
        context.report.failed(name, f"exit status {status}; see {log}\n{process.tail(log, 60)}")


def pytest_part(folder, limit):
    return lambda context: python.run(context, folder, limit)


ALL = [
    Part("build", "release build, as it is installed", run_build),
    Part("style", "include rules, banned calls, claims, headers alone", pytest_part("style", 600)),
    Part("unit", "GoogleTest cases", run_unit),
    Part("perf", "instructions of the packet path, against the baseline", pytest_part("perf", 300)),
    Part("asan", "the same with AddressSanitizer and UBSan", run_asan, only_by_name=True),
    Part("tsan", "rings and tables with ThreadSanitizer", run_tsan, only_by_name=True),
    Part("fuzz", "libFuzzer targets, a short run of each", fuzz.run, only_by_name=True),
    Part("cmake", "CMakeLists.txt and Meson agree", pytest_part("cmake", 900)),
    Part("protocol", "schemas, and slash32ctl against a daemon of the test's own",
         pytest_part("protocol", 600)),
    Part("install", "an installed prefix works", pytest_part("install", 300)),
    Part("readme", "the README's commands", pytest_part("readme", 600)),
    Part("e2e", "the daemon with TAPs, virtio-user and guests", pytest_part("e2e", 1500)),
    Part("demo", "make demo", run_demo),
    Part("fabric", "make demo-fabric, with FRR and with BIRD", run_fabric),
    Part("overlay", "make demo-overlay", run_overlay),
]
