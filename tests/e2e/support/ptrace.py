# SPDX-License-Identifier: Apache-2.0
"""Holds one thread of a process still, the others running: what a stop signal cannot do."""

import ctypes
import os
import threading

PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
_WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _ptrace(request, thread_id):
    if _libc.ptrace(request, thread_id, None, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace {request:#x}: {os.strerror(error)}")


class HeldThread:
    """with HeldThread(tid): the thread does not run. A thread of our own is the tracer all along."""

    def __init__(self, thread_id):
        self.thread_id = thread_id
        self._held = threading.Event()
        self._release = threading.Event()
        self._error = None
        self._tracer = threading.Thread(target=self._trace, daemon=True)

    def __enter__(self):
        self._tracer.start()
        self._held.wait()
        if self._error:
            raise self._error
        return self

    def __exit__(self, *_):
        self._release.set()
        self._tracer.join()
        if self._error:
            raise self._error

    def _trace(self):
        try:
            _ptrace(PTRACE_SEIZE, self.thread_id)
            _ptrace(PTRACE_INTERRUPT, self.thread_id)
            os.waitpid(self.thread_id, _WALL)
            self._held.set()
            self._release.wait()
            _ptrace(PTRACE_DETACH, self.thread_id)
        except OSError as error:
            self._error = error
        finally:
            self._held.set()
