# SPDX-License-Identifier: Apache-2.0
"""A TCP connection between the machines of the demonstration that goes on while something happens to it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from screen import StepFailed

if TYPE_CHECKING:
    from demo import Demo

INTERVAL_MS = 20


class EchoStream:
    """vm1 sends vm2 a numbered message each INTERVAL_MS, which comes back as an echo. As a context: the
    connection is open within, and both ends are ended behind it."""

    def __init__(self, demo: Demo, port: int) -> None:
        self._screen = demo.screen
        self._server = demo.guests[demo.two.name].start_job(f"s32guest tcp-serve {port}")
        self._client = None
        try:
            self._server.wait_for("listening")
            command = f"s32guest tcp-stream {demo.two.address4} {port} {INTERVAL_MS}"
            demo.screen.command(demo.one.name, command)
            self._client = demo.guests[demo.one.name].start_job(command)
            self.local_port = self._client.wait_for(r"^message=25 .*local_port=(\d+)$").group(1)
        except BaseException:
            self.close()
            raise
        demo.screen.note(f"One connection, from vm1's port {self.local_port}; a numbered message each "
                         f"{INTERVAL_MS} ms comes back as an echo.")

    def __enter__(self) -> EchoStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.kill()
        if self._client is not None:
            self._client.kill()

    def settled(self) -> int:
        """The last message that has come back, once what was under way has arrived."""
        time.sleep(0.3)
        return int(re.findall(r"^message=(\d+) ", self._client.output, re.MULTILINE)[-1])

    def wait_for(self, message: int, timeout_s: float = 60) -> None:
        """Waits for a message and shows it. It must be the same connection's."""
        line = self._client.wait_for(rf"^message={message} .*$", timeout_s).group()
        self._screen.output(line)
        if f"local_port={self.local_port}" not in line or self._client.done:
            raise StepFailed("it is another connection")
