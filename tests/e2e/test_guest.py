# SPDX-License-Identifier: Apache-2.0
"""Guests of the tests use hardware virtualisation where it runs a guest, not where it merely is there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guest.guest import kvm_works  # noqa: E402


@pytest.mark.parametrize("qemu,works", [
    ("exit 0", True),
    ("exit 134", False),  # as where the processor's registers cannot be set
    ("exec sleep 60", False),  # as where the guest never gets anywhere
])
def test_kvm_that_runs_no_guest_is_not_used(tmp_path, monkeypatch, qemu, works):
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\n{qemu}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert kvm_works(tmp_path / "kernel", "/dev/null", 1) is works


def test_kvm_that_is_not_there_is_not_used(tmp_path):
    assert not kvm_works(tmp_path / "kernel", str(tmp_path / "kvm"))
