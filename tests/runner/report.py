# SPDX-License-Identifier: Apache-2.0
"""Counts outcomes, prints them as they come, and the summary."""

import shutil
import threading
import xml.etree.ElementTree as xml
from collections import namedtuple

from .process import say

Part = namedtuple("Part", "name seconds passed failed skipped")


class Report:
    """Thread safety: the outcome methods may be called from any thread."""

    def __init__(self, strict, logs):
        self.strict = strict
        self.logs = logs
        self.failures = []  # (name, reason)
        self.skips = []
        self.passes = 0
        self._parts = []
        self._part = ""
        self._before = (0, 0, 0)
        self._lock = threading.Lock()
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)

    def begin(self, name, what):
        self._part = name
        self._before = (self.passes, len(self.failures), len(self.skips))
        say(f"\n== {name}: {what}")

    def end(self, seconds):
        now = (self.passes, len(self.failures), len(self.skips))
        part = Part(self._part, seconds, *(b - a for a, b in zip(self._before, now)))
        self._parts.append(part)
        say(f"== {part.name}: {part.passed} passed, {part.failed} failed, {part.skipped} skipped "
            f"in {seconds:.0f} s")

    def passed(self, name, echo=False):
        with self._lock:
            self.passes += 1
            if echo:
                say(f"  ok    {name}")

    def failed(self, name, reason):
        with self._lock:
            self.failures.append((name, reason))
            say(f"  FAIL  {name}")

    def skipped(self, name, reason):
        with self._lock:
            self.skips.append((name, reason))
            say(f"  skip  {name}: {reason}")

    def add_junit(self, path, prefix, name_of):
        """Adds the outcomes in a JUnit file (pytest's and GoogleTest's); returns the names in it, or
        None if there is no such file or it is cut short.

        name_of: the name of a <testcase>, which `prefix` then precedes.
        """
        try:
            root = xml.parse(path).getroot()
        except (OSError, xml.ParseError):
            return None
        names = set()
        for case in root.iter("testcase"):
            if case.get("status") == "notrun":
                continue
            name = name_of(case)
            names.add(name)
            bad = [node for tag in ("failure", "error") for node in case.findall(tag)]
            skip = case.find("skipped")
            if bad:
                text = bad[0].text or bad[0].get("message") or ""
                self.failed(prefix + name, "\n".join(f"    | {line}" for line in
                                                     text.strip().splitlines()[-40:]))
            elif skip is not None or case.get("result") == "skipped":
                reason = skip.get("message") if skip is not None else ""
                reason = (reason or "").strip().splitlines()
                self.skipped(prefix + name, reason[-1] if reason else "no reason given")
            else:
                self.passed(prefix + name)
        return names

    def finish(self):
        """Prints the summary; returns the exit status."""
        say("\n== time")
        for part in self._parts:
            say(f"  {part.name:10}{part.seconds:7.0f} s  {part.passed} passed, {part.failed} failed, "
                f"{part.skipped} skipped")
        if self.skips:
            say(f"\n== {len(self.skips)} skipped" + (", each a failure" if self.strict else ""))
            for name, reason in self.skips:
                say(f"  {name}: {reason}")
        if self.failures:
            say(f"\n== {len(self.failures)} failed (logs in {self.logs})")
            for name, reason in self.failures:
                say(f"  {name}\n{reason}")
        failed = len(self.failures) + (len(self.skips) if self.strict else 0)
        if not self.passes and not failed:
            say("\nno test has that name")
            failed = 1
        say(f"\n{self.passes} passed, {failed} failed")
        return 1 if failed else 0
