# SPDX-License-Identifier: Apache-2.0
"""s32-pktgen against this kernel: what it sends is right to a stack that is not ours."""

import json
import re

import pytest

from support import until

GATEWAY_MACS = {"ga": "02:00:00:00:01:0a", "gb": "02:00:00:00:01:0b"}
MACS = "02:00:00:00:00:01,02:00:00:00:00:02"
TRACKED = """
table inet watch {
    counter wrong { }
    chain forward { type filter hook forward priority 0; ct state invalid counter name wrong drop; }
}
"""


class Generator:
    """s32-pktgen on two TAPs of a namespace, whose kernel forwards between them."""

    def __init__(self, build, namespace):
        self.build = build
        self.namespace = namespace
        namespace.sysctl("net.ipv4.ip_forward", 1)
        namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
        namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.network = []  # arguments of ip(8), once the TAPs are there

    def run(self, *options, ipv6=False):
        """Its result."""
        sources, destinations = ("2001:db8:1::1,2001:db8:2::1", "2001:db8:2::1,2001:db8:1::1") if ipv6 else \
            ("10.1.0.1,10.2.0.1", "10.2.0.1,10.1.0.1")
        argv = [self.build / "perf/pktgen/s32-pktgen", "--memory", 128, "--src-mac", MACS, "--dst-mac",
                ",".join(GATEWAY_MACS.values()), "--src-ip", sources, "--dst-ip", destinations,
                "--warmup", 2, "--seconds", 1, *options]
        for number, (name, mac) in enumerate(GATEWAY_MACS.items()):
            argv += ["--device", f"net_tap{number},iface={name},mac={mac}"]
        child = self.namespace.start(*argv)
        for name in GATEWAY_MACS:
            until(lambda n=name: re.search(rf"\b{n}\b.*LOWER_UP", self.namespace.ip("link")), f"{name} is up")
        for side, name in enumerate(GATEWAY_MACS, 1):
            self.namespace.ip("address", "add", f"10.{side}.0.254/24", "dev", name)
            self.namespace.ip("address", "add", f"2001:db8:{side}::fe/64", "dev", name, "nodad")
            # It answers ARP, not neighbour discovery.
            self.namespace.ip("neighbour", "replace", f"2001:db8:{side}::1", "lladdr",
                              MACS.split(",")[side - 1], "dev", name)
        for words in self.network:
            self.namespace.ip(*words)
        output, _ = child.communicate(timeout=30)
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        assert child.returncode == 0, output
        return lines[-1]


@pytest.fixture
def generator(needs_tap, build, make_namespace):
    return Generator(build, make_namespace("generator"))


@pytest.mark.parametrize("ipv6", [False, True])
def test_its_tcp_connections_are_valid_to_the_kernels_connection_tracking(generator, ipv6):
    namespace = generator.namespace
    namespace.run("nft", "-f", "-", input_text=TRACKED)
    result = generator.run("--tcp", "--rate", 2000, "--flows", 50_000, ipv6=ipv6)
    found = result["connections"]
    assert 1500 < found["begun"] < 2500
    assert abs(found["closed"] - found["begun"]) < 50 and found["reset"] == 0
    assert 0 < result["latency_ns"]["p50"] < 1e9
    wrong = namespace.run("nft", "list", "counter", "inet", "watch", "wrong").stdout
    assert "packets 0 " in wrong, wrong
    result = json.loads(namespace.run("sh", "-c", "nft -j list counters").stdout)
    assert result["nftables"]


def test_it_answers_arp_for_its_own_address(generator):
    result = generator.run("--rate", 1000)
    total = result["total"]
    assert total["received"] > 1500 and total["lost"] == 0


@pytest.mark.parametrize("srh", [False, True])
@pytest.mark.parametrize("ipv6", [False, True])
def test_the_kernel_takes_its_encapsulation_off_and_puts_its_own_on(generator, ipv6, srh):
    """Towards the second device End.DX4 or End.DX6, back H.Encaps or H.Encaps.Red."""
    namespace = generator.namespace
    namespace.sysctl("net.ipv6.conf.all.seg6_enabled", 1)
    namespace.sysctl("net.ipv6.conf.default.seg6_enabled", 1)
    decapsulate = ["action", "End.DX6", "nh6", "2001:db8:2::1"] if ipv6 else \
        ["action", "End.DX4", "nh4", "10.2.0.1"]
    inner = "2001:db8:1::1/128" if ipv6 else "10.1.0.1/32"
    generator.network = [
        ["-6", "route", "add", "fc00:0:1::100/128", "encap", "seg6local", *decapsulate, "dev", "gb"],
        ["-6", "route", "add", "fc00:0:2::/48", "via", "2001:db8:1::1", "dev", "ga"],
        ["route", "add", inner, "encap", "seg6", "mode", "encap" if srh else "encap.red", "segs",
         "fc00:0:2::100", "dev", "ga"]]
    result = generator.run("--rate", 1000, "--flows", 100, "--check", "all", "--bytes", 128,
                           "--srv6-sid", "fc00:0:1::100,none", "--srv6-src", "fc00:0:2::1",
                           *(["--srh"] if srh else []), ipv6=ipv6)
    for device, added in zip(result["devices"], (64 if srh else 40, 0)):
        assert device["received"] > 800, result
        assert device["lost"] == device["cut"] == 0
        assert device["received_gbps"] * 1e9 / 8 / device["received_pps"] == pytest.approx(128 + added)
