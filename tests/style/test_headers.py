# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone.

A header that has not changed, and of whose includes none has, is not compiled again: the build
directory remembers a hash of them.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import BUILD, ROOT, closure, sources  # noqa: E402

STAMPS = BUILD / "header-stamps"


def flags_by_folder():
    """Compiler and flags of one C++ file of each folder, from the build."""
    commands = json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
    found = {}
    for entry in commands:
        path = Path(os.path.normpath(Path(entry["directory"], entry["file"])))
        if path.suffix != ".cc" or ROOT not in path.parents:
            continue
        words = shlex.split(entry["command"])
        start = 1 if "ccache" in words[0] else 0
        flags = []
        skip = False
        for word in words[start + 1:]:
            if skip:
                skip = False
            elif word in ("-o", "-MF", "-MQ", "-MT"):
                skip = True
            elif word in ("-c", "-MD") or word.endswith(".cc") or word.startswith("-flto"):
                continue
            else:
                flags.append(word)
        found.setdefault(path.parent.relative_to(ROOT), (words[start], flags))
    return found


def flags_of(header, found):
    """Those of the header's folder, else of the nearest one that the build knows."""
    for folder in (header.parent, *header.parents):
        for known, value in sorted(found.items()):
            if known == folder or folder in known.parents:
                return value
    return next(iter(found.values()))


def compile_alone(header, compiler, flags):
    """Returns what the compiler says against it, or None."""
    digest = hashlib.sha256(shlex.join([compiler, *flags]).encode())
    for path in sorted(closure(header)):
        digest.update((ROOT / path).read_bytes())
    stamp = STAMPS / (str(header).replace("/", "-") + "." + digest.hexdigest()[:16])
    if stamp.exists():
        return None
    done = subprocess.run(
        [compiler, *flags, "-fsyntax-only", "-w", "-fdiagnostics-color=never",
         "-x", "c++", str(ROOT / header)],
        cwd=BUILD, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        first = [line for line in done.stderr.splitlines() if re.search(r"error", line)]
        return f"{header}: {first[0] if first else done.stderr[:300]}"
    for old in STAMPS.glob(str(header).replace("/", "-") + ".*"):
        old.unlink(missing_ok=True)
    stamp.touch()
    return None


@pytest.mark.timeout(900)  # all of them, in a fresh clone on a busy machine
def test_every_header_compiles_alone():
    if not (BUILD / "compile_commands.json").exists():
        pytest.skip(f"{BUILD} holds no build")
    STAMPS.mkdir(exist_ok=True)
    found = flags_by_folder()
    # The guest's tool is C, and compiled for the guest alone.
    headers = [path for path in sources(kinds=(".h",)) if not str(path).startswith("tests/guest/")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        wrong = [said for said in pool.map(
            lambda header: compile_alone(header, *flags_of(header, found)), headers) if said]
    assert not wrong, "\n".join(wrong)
