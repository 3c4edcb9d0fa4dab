# SPDX-License-Identifier: Apache-2.0
"""How files begin, how long they are, and what none of them may say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import ROOT, files, sources, text  # noqa: E402

SPDX = "SPDX-License-Identifier: Apache-2.0"
LINES_MAX = 600

# Longer than LINES_MAX, and one room all the same.
LONG = {}


def is_text(path):
    return path.suffix in (".h", ".cc", ".c", ".py", ".sh", ".md", ".toml", ".in", ".build", ".txt",
                           ".json", ".service", ".8", ".5", ".1", ".conf", "") and \
        not str(path).startswith("tests/fuzz/corpus/") and b"\0" not in \
        (ROOT / path).read_bytes()[:4096]


def has_comments(path):
    return path.suffix in (".h", ".cc", ".c", ".py", ".sh", ".build") or \
        path.name in ("Makefile", "CMakeLists.txt", "run", ".clang-tidy") or \
        (path.suffix in (".toml", ".service", ".conf") and "tests" not in path.parts)


def test_spdx_line_is_first():
    wrong = []
    for path in files():
        if has_comments(path) and not str(path).startswith("tests/fuzz/corpus/"):
            lines = text(path).split("\n")
            first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
            if not first.endswith(SPDX):
                wrong.append(str(path))
    assert not wrong, f"without the line '{SPDX}':\n" + "\n".join(wrong)


def test_headers_have_pragma_once():
    wrong = [str(path) for path in sources(kinds=(".h",)) if "#pragma once" not in text(path)]
    assert not wrong, "\n".join(wrong)


def test_files_are_a_few_hundred_lines():
    python = [path for path in files() if path.suffix == ".py"]
    wrong = [f"{path}: {count} lines" for path in [*sources(), *python]
             if (count := text(path).count("\n")) > LINES_MAX and str(path) not in LONG]
    assert not wrong, f"over {LINES_MAX} lines:\n" + "\n".join(wrong)


def test_lines_fit():
    # .clang-format wraps C++ at 100 columns; this is for what it cannot break, and for the others.
    widths = {".h": 120, ".cc": 120, ".c": 120, ".py": 120, ".sh": 120}
    wrong = [f"{path}:{number}" for path in files() if path.suffix in widths
             for number, line in enumerate(text(path).split("\n"), 1)
             if len(line) > widths[path.suffix] and "http" not in line]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_to_do():
    # The words are put together here so that this file does not contain them.
    words = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"))
    wrong = [f"{path}:{number}: {line.strip()}" for path in files() if is_text(path)
             for number, line in enumerate(text(path).split("\n"), 1)
             if re.search(rf"\b({words})\b", line)]
    assert not wrong, "\n".join(wrong)


def test_no_path_of_a_build_machine():
    # Homes, and the folder above this one: names that hold on one machine only.
    wrong_paths = re.compile(r"/(home|Users)/[a-z]|/work/|/root/\.|/tmp/(build|dpdk|grout)")
    wrong = [f"{path}:{number}: {line.strip()}" for path in files()
             if is_text(path) and path != Path("tests/style/test_files.py")
             for number, line in enumerate(text(path).split("\n"), 1)
             if wrong_paths.search(line)]
    assert not wrong, "\n".join(wrong)


def test_cmake_lists_no_sources():
    found = re.findall(r"[\w/]+\.(?:cc|cpp|c)\b|file\s*\(\s*GLOB|add_executable",
                       text(Path("CMakeLists.txt")))
    assert not found, f"CMakeLists.txt names sources: {found}"


def test_every_source_is_built():
    """Each .cc file is named in some meson.build, by its path from there."""
    named = set()
    for path in files():
        if path.name == "meson.build":
            named |= {Path(os.path.normpath(path.parent / word))
                      for word in re.findall(r"'([^']+\.cc)'", text(path))}
    wrong = [str(path) for path in sources("dp", "ctrl", "drivers", "perf", "tests", kinds=(".cc",))
             if path not in named]
    assert not wrong, "in no meson.build:\n" + "\n".join(wrong)


def test_build_files_are_no_cpp():
    """clang-format takes a meson.build for C++ and takes it apart."""
    wrong = [str(path) for path in files() if path.name == "meson.build"
             and re.search(r"^\s+: |#SPDX - ", text(path), re.MULTILINE)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", [str(path) for path in files()
                                  if path.suffix == ".sh" or path == Path(".ci/run")])
def test_shell_scripts_parse(path):
    done = subprocess.run(["bash", "-n", str(ROOT / path)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
