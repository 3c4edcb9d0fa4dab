# SPDX-License-Identifier: Apache-2.0
"""A kernel's end of a VLAN where the kernel has no 802.1Q of its own: a TAP interface, and threads that put the tag
on and take it off between it and the device beneath."""

import fcntl
import os
import select
import socket
import struct
import threading

from .wire import ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET

ETH_P_8021Q = 0x8100
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 1 << 4
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 2, 0x1000
AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata


class Vlan:
    """The VLAN `vid` of a namespace's device, as the interface `name`."""

    def __init__(self, namespace, device, vid, name):
        self.vid = vid
        self._stopping = False
        self._tap = namespace.inside(lambda: os.open("/dev/net/tun", os.O_RDWR))
        namespace.inside(lambda: fcntl.ioctl(self._tap, TUNSETIFF,
                                             struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI)))
        self._wire = namespace.inside(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        self._wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._wire.bind((device, ETH_P_ALL))
        self._wire.settimeout(0.1)
        namespace.ip("link", "set", name, "up")
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._take_off, self._put_on)]
        for thread in self._threads:
            thread.start()

    def close(self):
        self._stopping = True
        for thread in self._threads:
            thread.join()
        self._wire.close()
        os.close(self._tap)

    def _take_off(self):
        while not self._stopping:
            try:
                data, extra, _, address = self._wire.recvmsg(1 << 16, 256)
            except OSError:
                continue  # nothing came, or the device is down
            if address[2] == PACKET_OUTGOING:
                continue
            if self._vid_of(extra) == self.vid:
                os.write(self._tap, data)

    @staticmethod
    def _vid_of(extra):
        # The kernel takes the tag out of what it receives, and tells of it beside.
        for level, kind, value in extra:
            if level == SOL_PACKET and kind == PACKET_AUXDATA:
                status, *_, tci, _ = AUXDATA.unpack(value[:AUXDATA.size])
                if status & TP_STATUS_VLAN_VALID:
                    return tci & 0xFFF
        return None

    def _put_on(self):
        while not self._stopping:
            if not select.select([self._tap], [], [], 0.1)[0]:
                continue
            frame = os.read(self._tap, 1 << 16)
            try:
                self._wire.send(frame[:12] + struct.pack(">HH", ETH_P_8021Q, self.vid) + frame[12:])
            except OSError:
                pass  # the device is down
