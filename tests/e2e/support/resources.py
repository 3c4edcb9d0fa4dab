# SPDX-License-Identifier: Apache-2.0
"""Daemons, namespaces and directories of one test, or of a demonstration, and their end."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from .daemon import Daemon
from .netns import Namespace

DPDK_RUN_DIR = Path("/var/run/dpdk")  # root's
_numbers = itertools.count(1)


class Resources:
    """What was started, and its end."""

    def __init__(self, build, shown=None):
        """shown: a list that holds the daemons while they are there."""
        self.build = build
        self.shown = [] if shown is None else shown
        self.daemons = []
        self.namespaces = []
        self.directories = []
        self._kept = []

    def keep(self, made):
        """To be closed with the rest."""
        self._kept.append(made)

    def directory(self):
        path = Path(tempfile.mkdtemp(prefix="s32e-"))
        path.chmod(0o755)
        self.directories.append(path)
        return path

    def daemon(self, *options, directory=None, netns=None, uid=None):
        directory = Path(directory) if directory else self.directory()
        prefix = f"s32e{os.getpid()}-{next(_numbers)}"
        made = Daemon(self.build, directory, prefix, *options, netns=netns, uid=uid)
        self.daemons.append(made)
        self.shown.append(made)
        return made

    def namespace(self, label):
        made = Namespace(label)
        self.namespaces.append(made)
        return made

    def close(self):
        failures = []
        for daemon in self.daemons:
            try:
                daemon.stop()
            except AssertionError as failure:
                failures.append(str(failure))
            daemon.end_holder()
            self.shown.remove(daemon)
            # DPDK leaves some megabytes there, which the next start with the same prefix would take.
            shutil.rmtree(DPDK_RUN_DIR / daemon.prefix, ignore_errors=True)
        for made in self._kept:
            made.close()
        for namespace in self.namespaces:
            namespace.close()
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)
        assert not failures, "\n".join(failures)
