# SPDX-License-Identifier: Apache-2.0
"""The parts written in Python: folders of pytest files."""

import importlib.util
import re

from . import process

PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's modules
CASE_LIMIT = 300  # seconds, of one test


def environment(context):
    return {"S32_BUILD": str(context.build), "S32_SOURCE": str(context.source),
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def run(context, folder, limit):
    """Runs tests/FOLDER as FOLDER/FILE::TEST; `limit` seconds for all of it."""
    path = context.source / "tests" / folder
    log = context.log(folder)
    base = [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={path}",
            "-o", "junit_family=xunit1"]
    selected = [path]
    if context.match:
        names = [line for line in process.output(
            [*base, "--collect-only", "-q", path], env=environment(context)).splitlines()
            if "::" in line]
        chosen = [name for name in names if context.selects(f"{folder}/{name}")]
        if not chosen:
            return
        selected = [f"{path}/{name}" for name in chosen]
    result = log.with_suffix(".xml")
    argv = [*base, "-v", "--tb=short", "-rN", "--color=no", f"--junit-xml={result}"]
    if importlib.util.find_spec("pytest_timeout"):
        argv.append(f"--timeout={CASE_LIMIT}")
    status = process.run([*argv, *selected], log, limit, env=environment(context), echo=_echo)
    seen = context.report.add_junit(result, f"{folder}/", _name)
    if seen is None:
        how = f"ended with status {status}" if status is not None else f"took over {limit} s"
        context.report.failed(f"{folder}/(crash)", f"    {how}; see {log}\n{process.tail(log)}")
    elif status not in (0, 1):
        context.report.failed(f"{folder}/(exit)", f"    pytest ended with status {status}; see {log}"
                              f"\n{process.tail(log)}")


def _name(case):
    """FILE::TEST; a case that has neither file nor class is a module that could not be collected."""
    place = case.get("file") or case.get("classname") or "(collect)"
    return f"{place.split('/')[-1]}::{case.get('name')}"


def _echo(line):
    """Of pytest's output, the lines that say a test's outcome."""
    match = re.match(r"(\S.*::.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", line)
    if match:
        process.say(f"    {match.group(2).lower():8}{match.group(1)}")
