# SPDX-License-Identifier: Apache-2.0
"""Build directories: set up once, brought up to date, and what tests they hold."""

import json
import os
import shutil

from . import process

# As much debugging information as a stack trace shows.
LINES_ONLY = ["-Ddebug=false", "-Dc_args=-gline-tables-only", "-Dcpp_args=-gline-tables-only"]
BUILD_LIMIT = 1500  # seconds; two slow cores, nothing cached


def configure(context, directory, options, env=None):
    """Sets a build directory up, or has ninja bring its own rules up to date."""
    if (directory / "build.ninja").exists():
        argv = ["ninja", "-C", directory, "build.ninja"]
    else:
        process.say(f"  configuring {os.path.relpath(directory)}")
        argv = ["meson", "setup", directory, context.source, *options]
    process.require("configure", argv, context.log(f"build-{directory.name}"), 300, env=env)


def compile_targets(context, directory, targets=()):
    """Brings a configured build directory up to date; all of it, or only the targets."""
    process.say(f"  building {os.path.relpath(directory)}")
    process.require("compile", ["ninja", "-C", directory, *targets],
                    context.log(f"build-{directory.name}"), BUILD_LIMIT,
                    env={"NINJA_STATUS": "[%f/%t] "}, echo=Progress().line)


def introspect(directory, what):
    return json.loads(process.output(["meson", "introspect", f"--{what}", directory]))


def targets(directory):
    """The executables by name, each with its ninja target and the folder that defines it."""
    found = {}
    for target in introspect(directory, "targets"):
        if target["type"] == "executable":
            found[target["name"]] = {
                "path": target["filename"][0],
                "ninja": os.path.relpath(target["filename"][0], directory),
                "defined_in": target["defined_in"],
            }
    return found


def clang():
    """The environment in which a build directory is set up for clang."""
    ccache = "ccache " if shutil.which("ccache") else ""
    return {"CC": ccache + "clang-14", "CXX": ccache + "clang++-14"}


def build_tests(context, directory, options, env=None, wanted=lambda test: True):
    """Builds the wanted tests alone, and returns them."""
    configure(context, directory, options, env)
    tests = [test for test in introspect(directory, "tests") if wanted(test)]
    files = sorted({os.path.relpath(test["cmd"][0], directory) for test in tests
                    if test["cmd"][0].startswith(str(directory))})
    if files:
        compile_targets(context, directory, files)
    return tests


class Progress:
    """Of ninja: a line every tenth of the way, and all that is not a step."""

    def __init__(self):
        self._tenth = -1

    def line(self, text):
        if not text.startswith("["):
            if text.strip():
                process.say(f"    {text}")
            return
        try:
            done, total = (int(word) for word in text[1:text.index("]")].split("/"))
        except ValueError:
            return
        tenth = 10 * done // max(1, total)
        if tenth != self._tenth or done == total:
            self._tenth = tenth
            process.say(f"    {text}")
