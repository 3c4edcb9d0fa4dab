# SPDX-License-Identifier: Apache-2.0
"""What the style tests look at: the project's files, their includes, their code without comments."""

import functools
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("S32_BUILD", ROOT / "build"))

_NOT_OURS = ("build", ".git", ".cache", "__pycache__")
_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


@functools.lru_cache(None)
def files():
    """Every file of the project, relative to its root."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders
                      if not any(name == word or name.startswith(word + "-") for word in _NOT_OURS)]
        found += [Path(folder, name).relative_to(ROOT) for name in names]
    return sorted(found)


def sources(*folders, kinds=(".h", ".cc", ".c")):
    """C and C++ files under the folders (default: all)."""
    return [path for path in files() if path.suffix in kinds
            and (not folders or str(path).startswith(tuple(f"{name}/" for name in folders)))]


@functools.lru_cache(None)
def text(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


@functools.lru_cache(None)
def includes(path):
    """The project's own files that `path` includes, as written."""
    return _INCLUDE.findall(text(path))


@functools.lru_cache(None)
def closure(path):
    """`path` and every file of the project that it includes, directly or not."""
    seen = set()
    todo = [Path(path)]
    while todo:
        at = todo.pop()
        if at in seen or not (ROOT / at).exists():
            continue
        seen.add(at)
        todo += [Path(name) for name in includes(at)]
    return frozenset(seen)


@functools.lru_cache(None)
def code(path):
    """The text with comments and the content of string literals blanked; line numbers stay."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                       r"(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'", re.DOTALL)

    def blank(match):
        word = match.group()
        kept = "\n" * word.count("\n")
        return kept if word.startswith("/") else '""' + kept
    # An #include keeps its path: the rules about headers need it.
    lines = zip(text(path).split("\n"), token.sub(blank, text(path)).split("\n"))
    return "\n".join(whole if whole.lstrip().startswith("#include") else stripped
                     for whole, stripped in lines)


def places(path, pattern):
    """["path:line: text"] of each match of a regular expression in the code of a file."""
    return [f"{path}:{number}: {line.strip()}"
            for number, line in enumerate(code(path).split("\n"), 1)
            if re.search(pattern, line)]
