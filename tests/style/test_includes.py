# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: docs/architecture.md, "Folders"."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import ROOT, includes, sources, text  # noqa: E402

# A folder sees itself and these.
MAY_SEE = {
    "dp/base": (),
    "dp/abi": ("dp/base",),
    "dp/packet": ("dp/base", "dp/abi"),
    "dp/table": ("dp/base", "dp/abi", "dp/packet"),
    "dp/stage": ("dp/base", "dp/abi", "dp/packet", "dp/table"),
    "dp/worker": ("dp/base", "dp/abi", "dp/packet", "dp/table", "dp/stage"),
    "drivers": ("dp/base", "dp/abi", "dp/packet"),
    "ctrl/cli": ("ctrl/client", "dp/base"),
    "ctrl/client": ("dp/base",),
    "ctrl": ("dp/base", "dp/abi"),
}

# The exceptions, by file or folder, each with what it may see besides and why.
BESIDES = {
    "ctrl/explain": (("dp",), "runs the real stages on a probe: docs/decisions/0005"),
    "ctrl/fib": (("dp/table",), "the builder finds a bucket's word with the lookup's own matcher"),
    "ctrl/flow": (("dp/table",), "the table's default timeouts are the trackers' own"),
    "ctrl/plane/encapsulation.cc": (("dp/packet",), "writes the headers that workers put before packets"),
    "ctrl/publish": (("dp/table",), "waits for the readers as the workers do"),
    "ctrl/policy": (("dp/table",), "the compiler places prefixes by the lookup's own hash"),
    "ctrl/punt": (("dp/packet",), "reads the headers of what workers send, as they lay them out"),
    "ctrl/main.cc": (("dp", "drivers"), "main sees everything"),
    "ctrl/daemon": (("dp", "drivers"), "assembles the daemon from control, workers and devices"),
}

# Headers that are one contract for both sides of the control socket.
SHARED = {
    "ctrl/rpc/methods.h": "the list of methods",
    "ctrl/rpc/frame.h": "the framing",
    "ctrl/rpc/json_text.h": "reading JSON strictly",
}


def folder_of(path):
    """The longest folder of MAY_SEE that holds the path."""
    held = [name for name in MAY_SEE if str(path).startswith(name + "/")]
    return max(held, key=len) if held else None


def under(name, folder):
    return name == folder or name.startswith(folder + "/")


def exceptions(path):
    """What BESIDES grants: keys are files without suffix, or folders."""
    allowed = ()
    for key, (folders, _) in BESIDES.items():
        stem = key.removesuffix(".cc")
        if str(path.with_suffix("")) == stem or str(path).startswith((key + "/", key + "_")):
            allowed += folders
    return allowed


@pytest.mark.parametrize("folder", sorted(MAY_SEE))
def test_folder_includes_only_what_it_may(folder):
    wrong = []
    for path in sources(folder.split("/")[0]):
        if folder_of(path) != folder:
            continue
        allowed = (folder, *MAY_SEE[folder], *exceptions(path))
        for name in includes(path):
            if name in SHARED and folder.startswith("ctrl"):
                continue
            if not any(under(name, word) for word in allowed):
                wrong.append(f"{path} includes {name}")
    assert not wrong, "\n".join(wrong)


def test_includes_are_relative_to_the_root():
    # A header may be made by Meson from NAME.in.
    wrong = [f"{path} includes {name}" for path in sources() for name in includes(path)
             if not any((folder / (name + ending)).exists()
                        for folder in (ROOT, ROOT / path.parent) for ending in ("", ".in"))]
    # C programs of the test guest are compiled outside the tree's include path.
    wrong += [f"{path} includes {name}" for path in sources() for name in includes(path)
              if ".." in name or ("/" not in name and not str(path).startswith("tests/guest/"))]
    assert not wrong, "\n".join(wrong)


def test_stages_do_not_include_each_other():
    # A stage is a .cc file that defines a function of stages.h.
    names = re.findall(r"^void (\w+)\(WorkerContext&, Burst&\);", text(Path("dp/stage/stages.h")),
                       re.MULTILINE)
    assert names, "stages.h declares no stage"
    wrong = []
    for path in sources("dp/stage"):
        if path == Path("dp/stage/stages.h"):
            continue
        own = [name for name in names
               if re.search(rf"^void {name}\(WorkerContext&", text(path), re.MULTILINE)]
        # What stages share is in headers of its own, which declare no stage.
        if path.suffix == ".h":
            wrong += [f"{path} declares the stage {name}" for name in own]
        wrong += [f"{path} includes {name}" for name in includes(path) if name.endswith(".cc")]
        wrong += [f"{path} calls the stage {name}" for name in set(names) - set(own)
                  if re.search(rf"\b{name}\(\w+, *burst\)", text(path))]
    assert not wrong, "\n".join(wrong)


def test_no_include_cycle():
    graph = {str(path): includes(path) for path in sources()}
    done, path = set(), []

    def visit(name):
        if name in done or name not in graph:
            return None
        if name in path:
            return path[path.index(name):] + [name]
        path.append(name)
        for other in graph[name]:
            if cycle := visit(other):
                return cycle
        path.pop()
        done.add(name)
        return None

    for name in graph:
        cycle = visit(name)
        assert not cycle, " -> ".join(cycle)
