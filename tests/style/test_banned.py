# SPDX-License-Identifier: Apache-2.0
"""What the data plane may not do: docs/architecture.md, "Threads"."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import code, places, sources  # noqa: E402

BANNED = {
    "allocation": r"(?<!void )(?<![\w.>])(malloc|calloc|realloc|free|strdup|"
                  r"rte_malloc|rte_zmalloc|rte_calloc|rte_realloc|rte_free)\s*(_socket)?\(|"
                  r"\bnew\s+[A-Za-z_]|\bnew\s*\[|\bdelete\b(?!;)|"
                  r"std::(make_unique|make_shared|unique_ptr|shared_ptr)\b",
    "container": r"std::(vector|map|set|unordered_map|unordered_set|deque|list|string|function|"
                 r"any)\b",
    "lock": r"std::(mutex|shared_mutex|recursive_mutex|lock_guard|unique_lock|scoped_lock|"
            r"condition_variable)\b|\bpthread_(mutex|rwlock|cond)|\brte_(spinlock|rwlock)_",
    "output": r"\b(printf|fprintf|snprintf|sprintf|puts|syslog|perror|rte_log|RTE_LOG)\s*\(|"
              r"\bspdlog::|\bfmt::|std::(cout|cerr|format)\b|#include <(iostream|sstream|fstream)>",
    "exception": r"\bthrow\b|\btry\s*\{|\bcatch\s*\(",
    "rtti": r"\bdynamic_cast\b|\btypeid\b",
    "virtual": r"\bvirtual\b",
    "system call": r"(?<![\w:.>])(?<!void )(?:::)?(read|write|ioctl|recv|send|recvmsg|sendmsg|poll|select|"
                   r"open|close|mmap|sleep|usleep|nanosleep|clock_gettime|gettimeofday|time)\s*\(|"
                   r"\bsyscall\s*\(|"
                   r"\bepoll_(wait|pwait|ctl)\s*\(|\beventfd_(read|write)\s*\(|"
                   r"std::this_thread|std::chrono",
    "volatile": r"\bvolatile\b",
}

# (what, file) -> why. dp/base is shared with control: its text functions run there alone.
EXCEPTIONS = {
    ("container", "dp/base/"): "names and texts for control",
    ("output", "dp/base/"): "names and texts for control, and the last words of an assertion",
    ("system call", "dp/base/pages.h"): "memory for tables, taken by control",
    ("system call", "dp/worker/"): "epoll when idle, and the doorbell",
}


def excepted(what, path):
    return any(kind == what and str(path).startswith(prefix)
               for kind, prefix in EXCEPTIONS)


def defined_here(path):
    """Functions of the file that bear the name of a system call."""
    return set(re.findall(r"^[\w:<>&*\[\] ]+ [&*]?(send|recv|read|write|poll|open|close|select)\(",
                          code(path), re.MULTILINE))


@pytest.mark.parametrize("what", sorted(BANNED))
def test_data_plane_has_no(what):
    found = []
    for path in sources("dp"):
        if excepted(what, path):
            continue
        own = defined_here(path)
        found += [place for place in places(path, BANNED[what])
                  if not any(re.search(rf"(?<!::)\b{name}\(", place) for name in own)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("what", ["deleted", "default"])
def test_deleted_functions_are_not_taken_for_delete(what):
    # `= delete;` is no deallocation; the rule above must not see one.
    line = {"deleted": "Ring(const Ring&) = delete;", "default": "Ring() = default;"}[what]
    assert not re.search(BANNED["allocation"], line)


def test_nothing_is_silenced():
    found = [place for path in sources("dp", "ctrl", "drivers", "perf")
             for place in places(path, r"#pragma\s+(GCC|clang)\s+diagnostic\s+ignored")]
    assert not found, "a warning is switched off:\n" + "\n".join(found)
