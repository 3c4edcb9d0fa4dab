#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test of slash32; `make test` is this. The last line is `N passed, N failed`.

    tests/run.py [--build DIR] [--match REGEX] [--strict] [--list]

The tests are in parts (runner/parts.py), each named PART/TEST. --match runs the tests whose name the
regular expression matches somewhere, without case; the sanitizer and fuzzing parts, which need builds of
their own, only if the expression begins with the name of the part. --strict counts a skip as a
failure. Logs are kept in DIR/test-logs. docs/testing.md says more.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from runner import parts, process  # noqa: E402
from runner.report import Report  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build", type=Path, help="build directory (build)")
    parser.add_argument("--match", default="", metavar="REGEX", help="run the tests named so")
    parser.add_argument("--strict", action="store_true", help="a skip is a failure")
    parser.add_argument("--list", action="store_true", help="print the parts and stop")
    parser.add_argument("--fuzz-seconds", type=int, default=20, help="of each fuzzer (20)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.list:
        for part in parts.ALL:
            print(f"{part.name:10}{part.what}")
        return 0
    os.chdir(HERE.parent)
    # Stopping us stops what we started: the handler's exception unwinds through process.run().
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # The same file with the same options is compiled once, in whatever build directory (ccache).
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")

    build = arguments.build.resolve()
    report = Report(strict=arguments.strict, logs=build / "test-logs")
    context = parts.Context(source=HERE.parent, build=build, report=report,
                            match=arguments.match, fuzz_seconds=arguments.fuzz_seconds)
    try:
        for part in parts.ALL:
            if not context.wants(part):
                continue
            report.begin(part.name, part.what)
            start = time.monotonic()
            try:
                part.run(context)
            except process.Failure as failure:
                report.failed(f"{part.name}/({failure.step})", str(failure))
            report.end(time.monotonic() - start)
            if part.name == "build" and report.failures:
                break
    except KeyboardInterrupt:
        report.failed("interrupted", "stopped from the terminal")
    finally:
        process.stop_all()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
