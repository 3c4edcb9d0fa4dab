# SPDX-License-Identifier: Apache-2.0
"""Raw frames into and out of a namespace's device, and a stream that counts what is lost."""

import socket
import struct
import threading
import time

from scapy.layers.l2 import Ether

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33  # beyond net.core.rmem_max
SOL_PACKET = 263
PACKET_STATISTICS = 6


class Wire:
    """A packet socket on a device: sends scapy packets or bytes, receives what arrives there."""

    def __init__(self, namespace, device):
        self.socket = namespace.inside(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        self.socket.bind((device, ETH_P_ALL))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, packet):
        self.socket.send(bytes(packet))

    def lost(self):
        """Packets that found no room since the last call."""
        return struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]

    def receive(self, wanted=lambda packet: True, timeout_s=5.0):
        """The next arriving packet for which wanted() holds, or None. The others are dropped."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data, address = self.socket.recvfrom(1 << 17)
            except socket.timeout:
                return None
            if address[2] == PACKET_OUTGOING:
                continue
            packet = Ether(data)
            if wanted(packet):
                return packet

    def exchange(self, packet, wanted, timeout_s=5.0):
        """Sends a packet and returns the first answer for which wanted() holds."""
        self.send(packet)
        return self.receive(wanted, timeout_s)


class Stream:
    """UDP packets from one machine to another, one about every millisecond, until stopped."""

    def __init__(self, source, target, address, port=7000, interval_s=0.001):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._out = source.inside(lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._in = target.inside(lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._in.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        self._in.settimeout(0.05)
        self._out.connect((address, port))
        self._interval_s = interval_s
        self._stopping = False
        self.sent = 0
        self.received = 0
        self._seen = set()
        self._threads = [threading.Thread(target=body, daemon=True)
                         for body in (self._send, self._receive)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.pass_packets(20)
        return self

    def __exit__(self, *_):
        self.stop()

    def _send(self):
        while not self._stopping:
            try:
                self._out.send(struct.pack(">I", self.sent))
                self.sent += 1
            except OSError:
                pass  # an ICMP error; what is not sent is not counted
            time.sleep(self._interval_s)

    def _receive(self):
        quiet = 0
        while not (self._stopping and (self.received >= self.sent or quiet > 20)):
            try:
                self._seen.add(self._in.recv(2048))
                self.received = len(self._seen)
                quiet = 0
            except socket.timeout:
                quiet += 1

    def pass_packets(self, count, timeout_s=20.0):
        """Waits until that many more have arrived."""
        goal = self.received + count
        deadline = time.monotonic() + timeout_s
        while self.received < goal:
            if time.monotonic() > deadline:
                raise AssertionError(f"no traffic: {self.received} of {self.sent} arrived")
            time.sleep(0.005)

    def stop(self):
        """Ends it. Returns how many were lost."""
        self._stopping = True
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._out.close()
        self._in.close()
        return self.sent - self.received
