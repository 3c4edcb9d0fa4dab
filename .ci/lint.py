#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make lint`: clang-format and shellcheck on all files, clang-tidy on the changed ones.

    .ci/lint.py [--build DIR] [--all] [--base COMMIT]

Changed: since COMMIT (default: where this branch left origin/main, else the commit before the last), and
whatever is not committed. --all runs clang-tidy on every source file, and with it the static analyzer,
which takes most of the time. Exit status 1 if anything is found.
"""

import argparse
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("dp", "ctrl", "drivers", "perf", "tests")
# What g++ is told and clang does not know, or what only costs time here.
DROPPED = ("-flto", "-fno-fat-lto", "-ffat-lto", "-Werror", "-fno-strict-overflow", "-fdiagnostics")


def run(argv):
    return subprocess.run([str(word) for word in argv], cwd=ROOT, capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL)


def git(*words):
    done = run(["git", "-c", f"safe.directory={ROOT}", *words])
    return done.stdout.strip() if done.returncode == 0 else None


def tool(name):
    for candidate in (f"{name}-14", name):
        if run(["sh", "-c", f"command -v {candidate}"]).returncode == 0:
            return candidate
    sys.exit(f"lint: {name} is not installed")


def sources():
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
                  if path.suffix in (".h", ".cc", ".c"))


def check_format():
    files = sources()
    done = run([tool("clang-format"), "--dry-run", "--Werror", *files])
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines()
                    if "clang-format-violations" in line})
    for name in wrong:
        print(f"  {os.path.relpath(name, ROOT)} is not as clang-format would have it")
    print(f"lint: clang-format: {len(files)} files, {len(wrong)} to be formatted")
    return done.returncode == 0


def check_shell():
    scripts = [path for folder in (".ci", "tests") for path in (ROOT / folder).rglob("*.sh")]
    scripts += [path for path in (ROOT / ".ci" / "run",) if path.exists()]
    # The guests' scripts are busybox's: shellcheck is told so by their first line.
    done = run(["shellcheck", *scripts])
    print(done.stdout, end="")
    print(f"lint: shellcheck: {len(scripts)} scripts, {'clean' if not done.returncode else 'findings'}")
    return done.returncode == 0


def check_python():
    """Syntax only; -W error finds invalid escapes."""
    scripts = [path for folder in (".ci", "tests", "perf") for path in (ROOT / folder).rglob("*.py")]
    wrong = 0
    for path in scripts:
        done = run(["/usr/bin/python3", "-W", "error", "-c",
                    "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')", path])
        if done.returncode:
            wrong += 1
            print(f"  {done.stderr.strip()}")
    print(f"lint: python: {len(scripts)} files, {wrong} with errors")
    return not wrong


def changed(base):
    """Files changed since `base` or uncommitted, or None if git cannot tell."""
    if base is None:
        base = git("merge-base", "HEAD", "origin/main")
        if base is None or base == git("rev-parse", "HEAD"):
            base = git("rev-parse", "--verify", "--quiet", "HEAD~1")
    names = set()
    if base:
        names |= set((git("diff", "--name-only", base) or "").split("\n"))
    elif git("rev-parse", "--verify", "--quiet", "HEAD") is None:
        return None
    names |= set((git("ls-files", "--others", "--exclude-standard") or "").split("\n"))
    return {ROOT / name for name in names if name}


def compile_database(build):
    """A copy of the build's, in words that clang understands; returns {file: folder of the copy}."""
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    kept = {}
    for entry in entries:
        words = shlex.split(entry["command"])
        words = words[1:] if words[0].endswith("ccache") else words
        words = [word for word in words if not word.startswith(DROPPED)]
        path = Path(os.path.normpath(Path(entry["directory"], entry["file"])))
        # A file that is compiled into several programs is looked at once.
        kept.setdefault(path, {"directory": entry["directory"], "file": str(path),
                               "command": shlex.join(words)})
    folder = build / "lint"
    folder.mkdir(exist_ok=True)
    (folder / "compile_commands.json").write_text(json.dumps(list(kept.values())), encoding="utf-8")
    return folder, set(kept)


def check_tidy(build, files, analyzer):
    folder, known = compile_database(build)
    todo = sorted(path for path in files if path in known and path.suffix == ".cc")
    argv = [tool("clang-tidy"), "--quiet", "-p", folder, "--extra-arg=-Wno-everything"]
    if not analyzer:
        argv.append("--checks=-clang-analyzer-*")

    def one(path):
        return path, run([*argv, path])

    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number, (path, done) in enumerate(pool.map(one, todo), 1):
            print(f"  [{number}/{len(todo)}] {path.relative_to(ROOT)}", flush=True)
            if done.returncode:
                wrong += 1
                print(done.stdout or done.stderr, flush=True)
    print(f"lint: clang-tidy: {len(todo)} files, {wrong} with findings")
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--all", action="store_true", help="clang-tidy on every file")
    parser.add_argument("--base", help="the commit that changed files are compared with")
    arguments = parser.parse_args()
    good = [check_format(), check_shell(), check_python()]
    files = None if arguments.all else changed(arguments.base)
    good.append(check_tidy(arguments.build.resolve(), set(sources()) if files is None else files,
                           analyzer=arguments.all))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
