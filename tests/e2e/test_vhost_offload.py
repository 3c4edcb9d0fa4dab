# SPDX-License-Identifier: Apache-2.0
"""Checksum and segmentation offload between two vhost-user ports, with and without it on each side."""

import socket
import struct

import pytest

from support import until
from support.frontend import GATEWAY_MAC, Frontend, add_ports, address4, address6, mac

NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCP4, GSO_TCP6 = 0, 1, 4
MSS = 1400


@pytest.fixture(scope="module")
def daemon(module_resources):
    made = module_resources.daemon("--router-mac", GATEWAY_MAC)
    made.start()
    add_ports(made, 2)
    return made


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def pseudo_header(family, length, protocol):
    if family == 4:
        return (socket.inet_aton(address4(0)) + socket.inet_aton(address4(1)) +
                struct.pack("!BBH", 0, protocol, length))
    return (socket.inet_pton(socket.AF_INET6, address6(0)) +
            socket.inet_pton(socket.AF_INET6, address6(1)) +
            struct.pack("!IBBBB", length, 0, 0, 0, protocol))


def ethernet(family):
    return bytes.fromhex(GATEWAY_MAC.replace(":", "") + mac(0).replace(":", "") +
                         ("0800" if family == 4 else "86dd"))


def ip_header(family, payload_bytes, protocol):
    if family == 6:
        return (struct.pack("!IHBB", 6 << 28, payload_bytes, protocol, 64) +
                socket.inet_pton(socket.AF_INET6, address6(0)) +
                socket.inet_pton(socket.AF_INET6, address6(1)))
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + payload_bytes, 7, 0x4000, 64, protocol, 0,
                         socket.inet_aton(address4(0)), socket.inet_aton(address4(1)))
    return header[:10] + struct.pack("!H", 0xffff ^ ones_sum(header)) + header[12:]


def tcp_frame(family, payload):
    """With the checksum of the pseudo-header alone, as a driver leaves it."""
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 5, 6, 0x50, 0x18, 1000, 0, 0)
    partial = ones_sum(pseudo_header(family, len(tcp) + len(payload), 6))
    tcp = tcp[:16] + struct.pack("!H", partial) + tcp[18:]
    return ethernet(family) + ip_header(family, len(tcp) + len(payload), 6) + tcp + payload


def udp_frame(family, payload):
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", 1000, 2000, length, ones_sum(pseudo_header(family, length, 17)))
    return ethernet(family) + ip_header(family, length, 17) + udp + payload


def transport_at(family):
    return 34 if family == 4 else 54


def checksum_is_right(frame, family):
    at = transport_at(family)
    protocol = frame[23] if family == 4 else frame[20]
    segment = frame[at:]
    header_right = family == 6 or ones_sum(frame[14:34]) == 0xffff
    return header_right and ones_sum(pseudo_header(family, len(segment), protocol) + segment) == 0xffff


class Pair:
    """Port 0 sends frames, port 1 receives them."""

    def __init__(self, daemon, build, sender, receiver):
        self.receiver = Frontend(build, daemon.directory, *receiver, "frames", "--port", 1)
        self.sender = Frontend(build, daemon.directory, *sender, "frames", "--port", 0)
        for name in ("p0", "p1"):
            until(lambda n=name: daemon.port(n)["actual"]["state"] == "running", f"{name} runs")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sender.close()
        self.receiver.close()

    def send(self, frame, **header):
        self.sender.send({"send": frame.hex(), "header": header})

    def receive(self, family):
        """The next frame of this family that is for us."""
        while True:
            event = self.receiver.wait("frame")
            frame = bytes.fromhex(event["hex"])
            if frame[12:14] == ethernet(family)[12:14] and frame[6:12].hex(":") == GATEWAY_MAC:
                return frame, event["header"]


def payload(size):
    return bytes(i * 7 & 255 for i in range(size))


@pytest.mark.parametrize("family", [4, 6])
def test_64_kb_segment_arrives_as_one_packet(daemon, build, family):
    data = payload(65535 - 40 - 100)
    with Pair(daemon, build, ["--offloads"], ["--offloads"]) as pair:
        at = transport_at(family)
        pair.send(tcp_frame(family, data), flags=NEEDS_CSUM, csum_start=at, csum_offset=16,
                  gso_type=GSO_TCP4 if family == 4 else GSO_TCP6, gso_bytes=MSS,
                  header_bytes=at + 20)
        frame, header = pair.receive(family)
        assert frame[at + 20:] == data
        assert header["gso_type"] == (GSO_TCP4 if family == 4 else GSO_TCP6)
        assert header["gso_bytes"] == MSS
        assert header["flags"] & NEEDS_CSUM
        assert (header["csum_start"], header["csum_offset"]) == (at, 16)
        # librte_vhost writes the sum that NICs want for segmentation, with a length of 0.
        field, = struct.unpack_from("!H", frame, at + 16)
        assert field in (ones_sum(pseudo_header(family, 0, 6)),
                         ones_sum(pseudo_header(family, len(data) + 20, 6)))


@pytest.mark.parametrize("family", [4, 6])
def test_receiver_without_offloads_gets_correct_segments(daemon, build, family):
    data = payload(20 * MSS + 123)
    with Pair(daemon, build, ["--offloads"], []) as pair:
        at = transport_at(family)
        pair.send(tcp_frame(family, data), flags=NEEDS_CSUM, csum_start=at, csum_offset=16,
                  gso_type=GSO_TCP4 if family == 4 else GSO_TCP6, gso_bytes=MSS,
                  header_bytes=at + 20)
        got = b""
        for index in range(21):
            frame, header = pair.receive(family)
            assert header["gso_type"] == GSO_NONE
            assert not header["flags"] & NEEDS_CSUM
            assert checksum_is_right(frame, family)
            sequence, = struct.unpack_from("!I", frame, at + 4)
            assert sequence == 5 + len(got)
            pushed = bool(frame[at + 13] & 0x08)
            assert pushed == (index == 20), "PSH belongs to the last segment"
            assert len(frame[at + 20:]) <= MSS
            got += frame[at + 20:]
        assert got == data


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("build_frame,offset", [(tcp_frame, 16), (udp_frame, 6)],
                         ids=["tcp", "udp"])
def test_checksum_is_filled_for_a_receiver_without_offloads(daemon, build, family, build_frame,
                                                            offset):
    with Pair(daemon, build, ["--offloads"], []) as pair:
        pair.send(build_frame(family, payload(777)), flags=NEEDS_CSUM,
                  csum_start=transport_at(family), csum_offset=offset)
        frame, header = pair.receive(family)
        assert not header["flags"] & NEEDS_CSUM
        assert checksum_is_right(frame, family)


@pytest.mark.parametrize("family", [4, 6])
def test_checksum_is_left_to_a_receiver_with_offloads(daemon, build, family):
    with Pair(daemon, build, ["--offloads"], ["--offloads"]) as pair:
        pair.send(udp_frame(family, payload(500)), flags=NEEDS_CSUM,
                  csum_start=transport_at(family), csum_offset=6)
        frame, header = pair.receive(family)
        assert header["flags"] & NEEDS_CSUM or checksum_is_right(frame, family)
        assert frame[-500:] == payload(500)


@pytest.mark.parametrize("family", [4, 6])
def test_full_checksum_passes_from_a_sender_without_offloads(daemon, build, family):
    frame = bytearray(udp_frame(family, payload(300)))
    at = transport_at(family)
    total = 0xffff ^ ones_sum(bytes(frame[at:]))
    struct.pack_into("!H", frame, at + 6, total)
    assert checksum_is_right(bytes(frame), family)
    with Pair(daemon, build, [], ["--offloads"]) as pair:
        pair.send(bytes(frame))
        got, header = pair.receive(family)
        assert header["gso_type"] == GSO_NONE
        assert header["flags"] & NEEDS_CSUM or checksum_is_right(got, family)
