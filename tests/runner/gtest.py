# SPDX-License-Identifier: Apache-2.0
"""The tests that Meson knows: GoogleTest programs, each case counted, and plain programs."""

import os
import queue
import threading
from pathlib import Path

from . import meson, process

TIME_FACTOR = 4  # sanitizers and a busy machine: Meson's limits are for neither


def run(context, part, directory, tests=None, env=None):
    """Runs `tests` (default: all of the build directory) as PART/PROGRAM/SUITE.CASE."""
    if tests is None:
        tests = meson.introspect(directory, "tests")
    if not tests:
        if not context.match:
            context.report.failed(f"{part}/(no tests)", "the build has no test of this part")
        return
    work = queue.Queue()
    alone = []
    for test in sorted(tests, key=lambda test: test["name"]):
        (work.put if test["is_parallel"] else alone.append)(test)

    def worker():
        while True:
            try:
                test = work.get_nowait()
            except queue.Empty:
                return
            _run_one(context, part, test, env)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # with a limit, so that signals are seen
            thread.join(0.5)
    for test in alone:
        _run_one(context, part, test, env)


def _run_one(context, part, test, env):
    name = f"{part}/{test['name']}"
    log = context.log(name.replace("/", "-"))
    limit = max(60, test["timeout"] * TIME_FACTOR)
    test_env = {**test["env"], **(env or {}), "S32_SOURCE": str(context.source),
                "S32_BUILD": str(context.build)}
    workdir = test["workdir"] or str(Path(test["cmd"][0]).parent)
    try:
        if test.get("protocol") == "gtest":
            _run_gtest(context, name, test, log, limit, test_env, workdir)
        elif context.selects(name):
            status = process.run(test["cmd"], log, limit, env=test_env, cwd=workdir)
            if status == 0:
                context.report.passed(name)
            elif status == 77:
                context.report.skipped(name, process.tail(log, 1).strip(" |"))
            else:
                context.report.failed(name, f"exit status {status}\n{process.tail(log)}")
    except process.Failure as failure:
        context.report.failed(name, str(failure))


def _run_gtest(context, name, test, log, limit, env, workdir):
    cases = _list_cases(test["cmd"], env)
    chosen = [case for case in cases if context.selects(f"{name}/{case}")]
    if not chosen:
        return
    result = log.with_suffix(".xml")
    argv = [*test["cmd"], f"--gtest_output=xml:{result}", "--gtest_color=no"]
    if len(chosen) < len(cases):
        argv.append("--gtest_filter=" + ":".join(chosen))
    status = process.run(argv, log, limit, env=env, cwd=workdir)
    seen = context.report.add_junit(result, name + "/",
                                    lambda case: f"{case.get('classname')}.{case.get('name')}")
    if seen is None:  # it writes the file at its end: it did not get there
        how = f"ended with status {status}" if status is not None else f"took over {limit} s"
        context.report.failed(f"{name}/(crash)", f"    {how}; see {log}\n{process.tail(log)}")
    elif status != 0 and not any(failed.startswith(name + "/")
                                 for failed, _ in context.report.failures):
        context.report.failed(f"{name}/(exit)", f"    status {status} after its tests had passed; "
                              f"see {log}\n{process.tail(log)}")


def _list_cases(command, env):
    """The names SUITE.CASE as --gtest_list_tests prints them, disabled ones left out."""
    cases = []
    suite = ""
    for line in process.output([*command, "--gtest_list_tests"], env=env).splitlines():
        word = line.split("#")[0].rstrip()
        if word.startswith("  "):
            if "DISABLED_" not in suite + word:
                cases.append(suite + word.strip())
        elif word.endswith("."):
            suite = word
    return cases
