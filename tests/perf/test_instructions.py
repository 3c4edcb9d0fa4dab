# SPDX-License-Identifier: Apache-2.0
"""The packet path takes no more instructions a packet than the committed baseline says."""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("S32_SOURCE", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("S32_BUILD", ROOT / "build"))

_spec = importlib.util.spec_from_file_location("instructions", ROOT / "perf" / "instructions.py")
instructions = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(instructions)


def is_release():
    """The baseline is of the build that is installed."""
    options = subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True,
                             check=True)
    values = {option["name"]: option["value"] for option in json.loads(options.stdout)}
    return values["buildtype"] == "release" and values["b_lto"] and values["b_sanitize"] == "none"


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.parametrize("name", instructions.INPUTS)
def test_packet_path_is_no_longer_than_the_baseline(name):
    if not is_release():
        pytest.skip("not a release build")
    counted = instructions.count(BUILD, name)
    assert instructions.complaint(name, counted, instructions.read_baseline()) == ""


def test_a_longer_path_is_refused():
    baseline = {"ipv4/open": 100.0}
    assert instructions.complaint("ipv4/open", 101.9, baseline) == ""
    assert instructions.complaint("ipv4/open", 50.0, baseline) == ""
    assert "2.5 % more" in instructions.complaint("ipv4/open", 102.5, baseline)
    assert "no baseline" in instructions.complaint("ipv6/open", 1.0, baseline)


def test_what_cannot_be_counted_is_an_error(tmp_path):
    with pytest.raises(instructions.CountError, match="build it first"):
        instructions.count(tmp_path, "ipv4/open")
