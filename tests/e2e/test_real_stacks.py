# SPDX-License-Identifier: Apache-2.0
"""Real programs between two machines that are filtered: iperf3 at speed, and a name server."""

import json
import socket
import threading
import time

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import TCP
from scapy.utils import rdpcap
from support import SEND_ALL, until

PORT = 5201
DNS_PORT = 53
BYTES = 200_000_000
DENIALS = ("denied_ingress", "denied_egress", "flow_limit", "flow_table_full")


def served(number=0):
    """vm2's rules; `number` makes policies differ."""
    return SEND_ALL + [
        {"direction": "ingress", "ethertype": family, "protocol": protocol, "port_min": PORT}
        for family in ("ipv4", "ipv6") for protocol in ("tcp", "udp")] + [
        {"direction": "ingress", "protocol": "udp", "port_min": DNS_PORT},
        {"direction": "ingress", "protocol": "tcp", "port_min": 1 + number % 1000}]


@pytest.fixture(scope="module")
def pair(module_lab):
    daemon = module_lab.daemon
    daemon.call("sg.apply", name="client", rules=SEND_ALL)
    daemon.call("sg.apply", name="server", rules=served())
    one, two = module_lab.machine(1, groups=["client"]), module_lab.machine(2, groups=["server"])
    two.start("iperf3", "-s", "-p", PORT)
    until(lambda: f":{PORT}" in two.run("ss", "-ltn").stdout, "iperf3 to listen")
    return one, two


@pytest.fixture(autouse=True)
def every_segment_fits(pair, tmp_path):
    """No segment of either is refused by the state of its connection, but for the late answers of a socket
    that is gone: an RST for each segment under way, with a number that the peer has acknowledged since. Linux
    takes it for invalid too, and one that is in time closes the connection."""
    captures = [tmp_path / machine.port for machine in pair]
    running = [machine.lab.daemon.start_capture(path, machine.port, "dropped")
               for path, machine in zip(captures, pair)]
    before = [machine.drops("invalid_state") for machine in pair]
    yield
    refused = [machine.drops("invalid_state") - old for machine, old in zip(pair, before)]
    for child in running:
        child.terminate()
        _, err = child.communicate(timeout=20)
        assert ", 0 lost" in err, err
    for path, count in zip(captures, refused):
        segments = [packet[TCP] for packet in rdpcap(str(path)) if TCP in packet]
        assert all("R" in segment.flags for segment in segments), [s.summary() for s in segments]
        assert len(segments) >= count, "each was seen"


def denied(pair):
    """Packets of both that the firewall has refused, whatever the state of their connection."""
    return {(machine.port, reason): machine.drops(reason) for machine in pair for reason in DENIALS
            if machine.drops(reason)}


def iperf(machine, *options, timeout_s=120):
    done = machine.run("iperf3", "-J", "-p", PORT, *options, timeout_s=timeout_s, check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and "error" not in result, result.get("error")
    return result["end"]


@pytest.mark.parametrize("family", ["ip4", "ip6"])
@pytest.mark.parametrize("reverse", [[], ["-R"]], ids=["to_server", "to_client"])
def test_tcp(pair, family, reverse):
    one, two = pair
    end = iperf(one, "-c", getattr(two, family), "-n", str(BYTES), "-P", "4", *reverse)
    assert end["sum_sent"]["bytes"] >= BYTES
    # The receiver stops counting when the sender has handed all over: what the connections still hold in
    # their buffers, some megabytes each, is not in the sum.
    assert end["sum_received"]["bytes"] >= BYTES / 2
    assert not denied(pair)


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_udp(pair, family):
    one, two = pair
    end = iperf(one, "-c", getattr(two, family), "-u", "-b", "50M", "-l", "1200", "-t", "1")
    assert end["sum"]["packets"] > 4000 and end["sum"]["lost_percent"] < 1, end["sum"]
    assert not denied(pair)


def ask(machine, server, port, name):
    """The addresses of a name, or None where nobody answers."""
    with machine.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.settimeout(1)
        asking.sendto(bytes(DNS(id=7, qd=DNSQR(qname=name))), (server, port))
        try:
            answer = DNS(asking.recv(1500))
        except (socket.timeout, ConnectionRefusedError):
            return None
    return [answer.an[n].rdata for n in range(answer.ancount)]


def test_dns(pair):
    one, two = pair
    for port in (DNS_PORT, 54):
        two.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                  "--user=root", f"--port={port}", "--pid-file=", "--address=/a.example/192.0.2.7")
    until(lambda: all(f":{port} " in two.run("ss", "-lun").stdout for port in (DNS_PORT, 54)), "dnsmasq")
    for _ in range(50):
        assert ask(one, two.ip4, DNS_PORT, "a.example") == ["192.0.2.7"]
    assert not denied(pair)
    assert ask(one, two.ip4, 54, "a.example") is None
    assert list(denied(pair)) == [(one.port, "denied_ingress")]


def test_10_gb_survive_a_policy_every_10_ms(pair):
    one, two = pair
    daemon = one.lab.daemon
    before = denied(pair)
    published = 0
    done = threading.Event()

    def publish():
        nonlocal published
        with daemon.rpc() as client:
            while not done.is_set():
                published += 1
                client.call("sg.apply", name="server", rules=served(published))
                time.sleep(0.01)

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    try:
        end = iperf(one, "-c", two.ip4, "-n", "10G", timeout_s=300)
    finally:
        done.set()
        publisher.join(10)
    assert end["sum_received"]["bytes"] >= 10 * 10**9
    assert published > 100, "policies were published all the time"
    assert denied(pair) == before
