# SPDX-License-Identifier: Apache-2.0
"""Short runs of the libFuzzer targets (tests/fuzz), from their corpus, with ASan and UBSan."""

import concurrent.futures
import os
import shutil
import tempfile

from . import meson, process


def run(context):
    if shutil.which("clang++-14") is None:
        context.report.skipped("fuzz", "clang++-14 is not installed")
        return
    directory = context.build / "fuzz"
    options = ["-Doptimization=1", *meson.LINES_ONLY, "-Db_lto=false", "-Db_ndebug=false",
               "-Db_sanitize=address,undefined", "-Db_lundef=false"]
    meson.configure(context, directory, options, meson.clang())
    fuzzers = {name: target for name, target in meson.targets(directory).items()
               if target["defined_in"].startswith(str(context.source / "tests" / "fuzz"))
               and context.selects(f"fuzz/{name}")}
    if not fuzzers:
        if not context.match:
            context.report.failed("fuzz/(no targets)", "the clang build has no fuzzer")
        return
    meson.compile_targets(context, directory,
                          [target["ninja"] for target in fuzzers.values()])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for job in [pool.submit(_run_one, context, name, target["path"])
                    for name, target in sorted(fuzzers.items())]:
            job.result()


def _run_one(context, name, path):
    corpus = context.source / "tests" / "fuzz" / "corpus"
    seeds = [corpus / word for word in (name, name.removeprefix("fuzz_"), name.removesuffix("_fuzz"),
                                        name.removesuffix("_fuzzer"))]
    seeds = list(dict.fromkeys(folder for folder in seeds if folder.is_dir()))
    log = context.log(f"fuzz-{name}")
    if not seeds:
        context.report.failed(f"fuzz/{name}", f"no corpus: {corpus}/{name} is missing")
        return
    with tempfile.TemporaryDirectory(prefix="s32-fuzz-") as found:
        status = process.run(
            [path, f"-max_total_time={context.fuzz_seconds}", "-timeout=10", "-rss_limit_mb=3000",
             "-print_final_stats=1", f"-artifact_prefix={log.parent}/fuzz-{name}-", found, *seeds],
            log, context.fuzz_seconds + 240,
            env={"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1",
                 "LSAN_OPTIONS": f"suppressions={context.source}/tests/sanitize/lsan.supp"})
    if status == 0:
        context.report.passed(f"fuzz/{name}", echo=True)
    else:
        context.report.failed(f"fuzz/{name}", f"exit status {status}; the input that did it is beside "
                              f"{log}\n{process.tail(log)}")
