# SPDX-License-Identifier: Apache-2.0
"""The same packets through the router's pipeline and through this kernel's nftables.

tests/oracle makes the packets and compares; here are the kernel's side, and which differences there may be:
those that docs/conntrack.md lists, in none of which the router passes what Linux refuses.
"""

import contextlib
import re
import socket
import struct
import threading
from pathlib import Path

import pytest
from support import PACKET_OUTGOING, Wire

SOURCE = Path(__file__).resolve().parents[2]
SEQUENCES = SOURCE / "tests" / "oracle" / "sequences.txt"
ETHERNET = 14  # bytes of its header
ROUTER_MAC = "02:00:00:00:00:fe"
ROUTED = {"client": ("52:54:00:00:00:01", "10.0.0.1", "2001:db8::1"),
          "server": ("52:54:00:00:00:02", "10.0.0.2", "2001:db8::2")}

# The client may begin anything, the server may only answer: as the Lab's policies are.
RULES = """
table inet firewall {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname "client" ct state new accept
    }
}
"""

# A reset is said once: its receiver would wait for ever for the rest of what was sent.
LOSS = """
table inet loss {
    chain input {
        type filter hook input priority 0;
        tcp flags & rst == 0 numgen random mod 100 < 3 drop
    }
}
"""

# Where Linux passes a packet and the router does not: what docs/conntrack.md calls it, and what is refused
# as what, in which state, and which packet.
INTENDED = {
    "segment-outside-the-window": r"invalid_state: (?!syn_sent)\w+ [<>] [AFPU]+",
    "reset-outside-the-window": r"invalid_state: \w+ [<>] [AFPRU]*R[AFPRU]*",
    "syn-ack-that-fits-no-syn": r"invalid_state: \w+ [<>] SA",
    "syn-beside-a-simultaneous-open": r"invalid_state: syn_sent2 [<>] SU?",
    "data-before-the-handshake": r"invalid_state: syn_sent2? [<>] [AFPU]+",
    "sctp-without-its-tag": r"invalid_state: \w+ [<>] sctp \w+",
    "called-end-begins-anew": r"denied_egress: (none|\w*close\w*|time_wait) < .*",
    "error-about-a-flow-that-was-reset": r"unrelated_error: none [<>] error \w+",
    "error-with-too-short-a-quote": r"(unrelated_error|denied_egress): \S+ [<>] error \w+ cut",
}
# Met once in some ten thousand sequences.
RARE = {"error-about-a-flow-that-was-reset"}


@pytest.fixture
def kernel(make_namespace):
    """A namespace that routes between the TAP devices client and server, by RULES."""
    router = make_namespace("kernel")
    for name, value in (("ipv4.ip_forward", 1), ("ipv6.conf.all.forwarding", 1),
                        ("ipv4.conf.all.rp_filter", 0), ("ipv4.conf.default.rp_filter", 0),
                        ("ipv6.conf.default.addr_gen_mode", 1)):
        router.sysctl(f"net.{name}", value)
    for device, (mac, *addresses) in ROUTED.items():
        router.ip("tuntap", "add", device, "mode", "tap")
        router.ip("link", "set", device, "address", ROUTER_MAC, "up")
        for address in addresses:
            router.ip("route", "add", address, "dev", device)
            router.ip("neighbour", "add", address, "lladdr", mac, "dev", device, "nud", "permanent")
    router.run("nft", "-f", "-", input_text=RULES)
    # The sequences are about states; SCTP's checksums are left out of them.
    router.sysctl("net.netfilter.nf_conntrack_checksum", 0)
    return router


class Comparison:
    """What conntrack_oracle printed."""

    def __init__(self, build, kernel, *arguments):
        done = kernel.run(build / "tests" / "oracle" / "conntrack_oracle", *arguments, check=False,
                          timeout_s=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        self.text = done.stdout
        match = re.search(r"^(\d+) packets of (\d+) sequences, (\d+) differences$", self.text, re.M)
        self.packets, self.sequences, count = map(int, match.groups())
        # Kind, and the packets that led to it.
        self.differences = re.findall(r"^difference: (.*)\n((?:  .*\n)*)", self.text, re.M)
        assert len(self.differences) == count

    def admitted(self):
        """What the router passes and Linux does not."""
        return "\n".join(f"{kind}\n{packets}" for kind, packets in self.differences
                         if not kind.startswith("Linux passes, slash32 "))

    def names(self):
        """The intended differences that were met. Fails at another one."""
        met = set()
        for kind, packets in self.differences:
            what = kind.removeprefix("Linux passes, slash32 ")
            names = [name for name, pattern in INTENDED.items() if re.fullmatch(pattern, what)]
            assert names, f"{kind}\n{packets}"
            met.update(names)
        return met


def test_named_sequences_have_the_kernels_verdicts(build, kernel):
    comparison = Comparison(build, kernel, SEQUENCES)
    assert comparison.sequences >= 70, "both families of each"
    # What this kernel does with an old SYN ACK has changed, and changed back.
    assert comparison.names() <= {"syn-ack-that-fits-no-syn"}, comparison.text
    assert all("# synack_old" in packets for _, packets in comparison.differences), comparison.text


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_generated_sequences_admit_nothing_that_linux_refuses(build, kernel, seed):
    comparison = Comparison(build, kernel, "--generate", 20000, seed)
    assert comparison.packets > 100_000
    assert not comparison.admitted()
    assert comparison.names() | RARE == set(INTENDED), "a difference that is listed and not met"


def test_intended_differences_are_those_of_the_documentation():
    text = (SOURCE / "docs" / "conntrack.md").read_text(encoding="utf-8")
    section = text.split("## Beside Linux")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (.*) \|$", section, re.M)
    assert {name for name, _ in rows} == set(INTENDED)
    for name, reason in rows:
        assert re.search(r"RFC \d+|Neutron", reason), f"{name} cites nothing"


class Recorder(Wire):
    """The TCP packets of a device, with their direction as the sequences write it."""

    def steps(self, port):
        """Those to or from a port of the server, in hexadecimal. None has been lost."""
        self.socket.setblocking(False)
        steps = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, address = self.socket.recvfrom(1 << 16)
                data = frame[ETHERNET:]
                header = 40 if data[0] >> 4 == 6 else 20
                if data[6 if header == 40 else 9] != socket.IPPROTO_TCP:
                    continue
                if port in struct.unpack_from("!HH", data, header):
                    arrow = ">" if address[2] == PACKET_OUTGOING else "<"
                    steps.append(f"{arrow} ip {data.hex()}")
        assert self.lost() == 0
        return steps


@pytest.fixture
def ends(make_namespace):
    """The client and the server on one wire that the router is not on, with 3 % of loss but of resets."""
    made = {name: make_namespace(name) for name in ROUTED}
    made["client"].ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
                      made["server"].name)
    for name, (mac, ip4, ip6) in ROUTED.items():
        made[name].ip("link", "set", "eth0", "address", mac, "up")
        made[name].ip("address", "add", f"{ip4}/24", "dev", "eth0")
        made[name].ip("address", "add", f"{ip6}/64", "dev", "eth0", "nodad")
        made[name].run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        made[name].run("nft", "-f", "-", input_text=LOSS)
    return made


def talk(ends, family, port, how):
    """One connection: 300 KB there and back, and an end of some kind."""
    address = ROUTED["server"][1 if family == socket.AF_INET else 2]
    listener = ends["server"].inside(lambda: socket.socket(family, socket.SOCK_STREAM))
    listener.bind((address, port))
    if how != "refused":
        listener.listen()
    block = bytes(300_000)
    abort = struct.pack("ii", 1, 0)

    def serve():
        connection, _ = listener.accept()
        with connection:
            got = 0
            while got < len(block) and (data := connection.recv(1 << 16)):
                got += len(data)
            connection.sendall(block)
            if how == "aborted by the server":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
            elif how != "closed by the server":
                with contextlib.suppress(ConnectionResetError):
                    connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    if how != "refused":
        thread.start()
    client = ends["client"].inside(lambda: socket.socket(family, socket.SOCK_STREAM))
    client.settimeout(30)
    with listener, client:
        if how == "refused":
            with pytest.raises(ConnectionRefusedError):
                client.connect((address, port))
            return
        client.connect((address, port))
        client.sendall(block)
        if how == "half closed":
            client.shutdown(socket.SHUT_WR)
        got = 0
        try:
            while got < len(block) and (data := client.recv(1 << 16)):
                got += len(data)
        except ConnectionResetError:
            assert how == "aborted by the server"
        if how == "aborted by the client":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
        client.close()
        thread.join(30)


WAYS = ["closed by the client", "closed by the server", "half closed", "aborted by the client",
        "aborted by the server", "refused"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_recorded_connections_have_the_kernels_verdicts(build, kernel, ends, run_dir, family):
    blocks = []
    for number, way in enumerate(WAYS):
        port = 5000 + number
        with Recorder(ends["client"], "eth0") as recorder:
            talk(ends, family, port, way)
            blocks.append("\n".join([f"# {way}", *recorder.steps(port)]))
    recorded = run_dir / "recorded.txt"
    recorded.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    comparison = Comparison(build, kernel, recorded)
    assert comparison.sequences == len(WAYS)
    assert comparison.packets > 1000, "300 KB there and back, five times"
    assert not comparison.differences, comparison.text
