# SPDX-License-Identifier: Apache-2.0
"""Waiting for something that announces itself no other way."""

import time


def until(condition, what, timeout_s=10.0, interval_s=0.02):
    """Returns the first true value of condition(); fails with `what`, a string or a function."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_s:g} s: {text}")
        time.sleep(interval_s)
