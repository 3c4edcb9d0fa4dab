# SPDX-License-Identifier: Apache-2.0
"""Running programs: with a time limit, a log, and nothing left behind when we are stopped."""

import os
import selectors
import signal
import subprocess
import sys
import time

STOP_SECONDS = 20  # from the polite signal to the other one


class Failure(Exception):
    """A step failed that others need; `step` names it."""

    def __init__(self, step, text):
        super().__init__(text)
        self.step = step


_running = set()


def stop_all():
    """Ends every child that is still running, of whatever thread."""
    for child in list(_running):
        stop(child)


def stop(child):
    """Ends a child's whole process group: SIGINT first, so that it can tidy up after itself."""
    for number, patience in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, 5)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def run(argv, log, limit, env=None, cwd=None, echo=None):
    """Runs argv with its output in the file `log`; returns the exit status, None if it took over
    `limit` seconds.

    echo: called with each complete line of output, for progress.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limit
    with open(log, "ab") as sink:
        sink.write(f"\n$ {' '.join(map(str, argv))}\n".encode())
        sink.flush()
        child = subprocess.Popen(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=cwd, env={**os.environ, **(env or {})},
            start_new_session=True)
        _running.add(child)
        try:
            return _follow(child, sink, deadline, echo)
        except BaseException:
            stop(child)
            raise
        finally:
            _running.discard(child)
            child.stdout.close()


def _follow(child, sink, deadline, echo):
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline:
                sink.write(b"\n(stopped: took too long)\n")
                stop(child)
                return None
            if not selector.select(0.5):
                if child.poll() is not None:  # a grandchild holds the pipe: it is not waited for
                    break
                continue
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                break
            sink.write(data)
            sink.flush()
            if echo:
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    echo(line.decode(errors="replace"))
    try:
        return child.wait(max(1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        stop(child)
        return None


def require(step, argv, log, limit, env=None, echo=None):
    """run() for a step that must succeed; raises Failure."""
    status = run(argv, log, limit, env=env, echo=echo)
    if status != 0:
        what = f"exit status {status}" if status is not None else f"took over {limit} s"
        raise Failure(step, f"{what}; see {log}\n{tail(log)}")


def output(argv, env=None, limit=120):
    """What argv prints; raises Failure if it fails."""
    try:
        done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=limit, check=False,
                              env={**os.environ, **(env or {})})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(str(argv[0]), str(error)) from error
    if done.returncode != 0:
        raise Failure(str(argv[0]), f"{' '.join(map(str, argv))}: {done.stderr or done.stdout}")
    return done.stdout


def tail(log, lines=30):
    try:
        text = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    | {line}" for line in text[-lines:])


def say(text):
    print(text)
    sys.stdout.flush()
