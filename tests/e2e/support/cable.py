# SPDX-License-Identifier: Apache-2.0
"""A cable between TAP devices of two namespaces: it passes every frame on."""

import select
import threading

from .wire import PACKET_OUTGOING, Wire


class Cable:
    """Between `device` of either namespace."""

    def __init__(self, device, *namespaces):
        self._ends = [Wire(namespace, device) for namespace in namespaces]
        self.passed = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def close(self):
        self._stopping = True
        self._thread.join()
        for end in self._ends:
            end.socket.close()

    def _pass_on(self):
        sockets = [end.socket for end in self._ends]
        while not self._stopping:
            for source in select.select(sockets, [], [], 0.1)[0]:
                try:
                    frame, address = source.recvfrom(1 << 16)
                    if address[2] == PACKET_OUTGOING:
                        continue
                    sockets[1 - sockets.index(source)].send(frame)
                    self.passed += 1
                except OSError:
                    pass  # a device is down
