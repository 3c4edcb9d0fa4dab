# SPDX-License-Identifier: Apache-2.0
"""The documents tell the truth: names that they mention exist."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import ROOT, files, sources, text  # noqa: E402

CLAIMS = Path("docs/claims.md")


def claims():
    """[(line number, cells)] of each row of the tables in claims.md."""
    rows = []
    for number, line in enumerate(text(CLAIMS).split("\n"), 1):
        if line.startswith("|") and not re.match(r"^\|[-| :]+\|$", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] != "claim":
                rows.append((number, cells))
    return rows


def names_shown(cell):
    """The `names` in the right column."""
    return re.findall(r"`([^`]+)`", cell)


def test_claims_have_a_right_column():
    wrong = [f"{CLAIMS}:{number}" for number, cells in claims()
             if len(cells) != 2 or not cells[1] or
             not (names_shown(cells[1]) or "not yet" in cells[1])]
    assert not wrong, "neither a name nor 'not yet':\n" + "\n".join(wrong)


def gtest_names():
    found = set()
    for path in sources("tests", kinds=(".cc", ".h")):
        for suite, case in re.findall(r"\bTEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", text(path)):
            found |= {f"{suite}.{case}", suite}
    return found


def python_names():
    found = set()
    for path in files():
        if path.suffix == ".py" and path.parts[0] in ("tests", "perf"):
            relative = "/".join(path.parts[1:])
            found |= {str(path), relative}
            for case in re.findall(r"^\s*def (test_\w+)", text(path), re.MULTILINE):
                found.add(f"{relative}::{case}")
                found.add(f"{path}::{case}")
    return found


def exists(name):
    """A name in claims.md is one of: Suite.Case, e2e/test_x.py[::test_y], case:TITLE of a packet case,
    bench:ROW, demo:STEP, fuzz/NAME, a file, or a make target."""
    if name.startswith("case:"):
        return any(f'"{name[len("case:"):]}"' in text(path) for path in sources("tests/cases"))
    if name.startswith("bench:"):
        return any(name[len("bench:"):] in text(path) for path in files()
                   if path.parts[0] == "perf" and path.suffix in (".py", ".cc"))
    if name.startswith("demo:"):
        return any(name[len("demo:"):] in text(path) for path in files()
                   if path.parts[:2] == ("tests", "demo") and path.suffix == ".py")
    if name.startswith("fuzz/"):
        return any(Path(name).name in (path.stem, path.name) for path in sources("tests/fuzz"))
    if name.startswith("make "):
        return re.search(rf"^{re.escape(name.split()[1])}:", text(Path("Makefile")), re.MULTILINE)
    return name in gtest_names() or name in python_names() or (ROOT / name).is_file()


def test_every_test_that_a_claim_names_exists():
    wrong = [f"{CLAIMS}:{number}: {name}" for number, cells in claims()
             for name in names_shown(cells[1]) if not exists(name)]
    assert not wrong, "no such test or bench row:\n" + "\n".join(wrong)


def test_every_drop_reason_has_a_test():
    reasons = re.findall(r'X\((k\w+), "(\w+)",', text(Path("dp/abi/drop_reason.h")))
    assert reasons, "drop_reason.h has no reason"
    tests = "\n".join(text(path) for path in files() if path.parts[0] == "tests"
                      and path.suffix in (".cc", ".h", ".py") and "style" not in path.parts)
    wrong = [name for constant, name in reasons
             if not re.search(rf"\b{constant}\b|[\"']{name}[\"']", tests)]
    assert not wrong, "dropped packets that no test drops:\n" + "\n".join(wrong)


@pytest.mark.parametrize("document", [str(path) for path in files() if path.suffix == ".md"])
def test_links_lead_somewhere(document):
    wrong = []
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text(Path(document))):
        if "://" not in target and not (ROOT / Path(document).parent / target).exists():
            wrong.append(target)
    assert not wrong, f"{document}: {wrong}"


def test_make_targets_in_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", text(Path("Makefile")), re.MULTILINE))
    wrong = [f"{path}: make {word}" for path in files() if path.suffix == ".md"
             for word in re.findall(r"`make ([a-z-]+)", text(path)) if word not in targets]
    assert not wrong, "\n".join(wrong)


def test_help_lists_every_target():
    makefile = text(Path("Makefile"))
    targets = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE).group(1).split()
    shown = set(re.findall(r"'  make ([a-z-]+)", makefile))
    assert set(targets) - {"help"} == shown


def test_options_are_documented():
    """Every key of the default configuration, commented or not, is in the configuration reference."""
    reference = text(Path("docs/configuration.md"))
    keys = re.findall(r"^#?\s?(\w+) = ", text(Path("ctrl/dist/slash32.toml")), re.MULTILINE)
    assert keys
    wrong = [key for key in keys if f"`{key}`" not in reference]
    assert not wrong, f"not in docs/configuration.md: {wrong}"
