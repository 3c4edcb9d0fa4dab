# SPDX-License-Identifier: Apache-2.0
"""Rules of rte_flow, for real: slash32d runs inside a QEMU guest, whose kernel has what net_tap's rte_flow
is made of (tc flower), and gets the same packets with offload and without."""

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guest import Guest, build_image  # noqa: E402
from guest.image import with_programs  # noqa: E402

BOOT_S = 180
MODULES = ("tun", "sch_ingress", "sch_multiq", "cls_flower", "act_gact", "act_skbedit")
PLUGINS = Path("/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0")
UPLINK_MAC = "02:00:00:00:01:01"
FABRIC_MAC = "02:00:00:00:01:02"
VM_MAC = "02:00:00:00:00:10"
VM4, VM6 = "10.0.0.10", "2001:db8::10"
HOST4, HOST6 = "198.51.100.1", "2001:db8:100::1"
FABRIC4, FABRIC6 = "198.51.100.2", "2001:db8:100::2"
COPIES = 5
CTL = "slash32ctl --socket /tmp/run/slash32.sock"


def from_fabric(payload, target=UPLINK_MAC):
    return Ether(src=FABRIC_MAC, dst=target) / payload


def datagram(source, port, data):
    ip = IPv6(src=source, dst=VM6) if ":" in source else IP(src=source, dst=VM4)
    return from_fabric(ip / UDP(sport=1, dport=port) / data)


SPOOFED = {source: datagram(source, 7001, b"spoofed!") for source in
           ("127.0.0.1", "224.0.0.5", "255.255.255.255", "::1", "ff02::5", "::ffff:10.0.0.1")}
HONEST = {"IPv4": datagram(FABRIC4, 7002, b"honest!!"), "IPv6": datagram(FABRIC6, 7002, b"honest!!")}
CONTROL = {
    "ARP": from_fabric(ARP(op=1, hwsrc=FABRIC_MAC, psrc=FABRIC4, pdst=HOST4), "ff:ff:ff:ff:ff:ff"),
    "LLDP": Ether(src=FABRIC_MAC, dst="01:80:c2:00:00:0e", type=0x88cc) / (b"\x02\x07\x04" + bytes(57)),
    "BGP": from_fabric(IP(src=FABRIC4, dst=HOST4) / TCP(sport=40000, dport=179, flags="S")),
    "BGP over IPv6": from_fabric(IPv6(src=FABRIC6, dst=HOST6) / TCP(sport=40000, dport=179, flags="S")),
    "BFD": from_fabric(IP(src=FABRIC4, dst=HOST4, ttl=255) / UDP(sport=49152, dport=3784) / bytes(24)),
    "OSPF": from_fabric(IP(src=FABRIC4, dst="224.0.0.5", ttl=1, proto=89) / bytes(24), "01:00:5e:00:00:05"),
    "ND": from_fabric(IPv6(src=FABRIC6, dst=HOST6, hlim=255) / ICMPv6ND_NS(tgt=HOST6)),
}


def occurrences(frame, text):
    """Of a frame in what frame-recv prints, by its last bytes: the router changes the first."""
    tail = bytes(frame)[-8:].hex()
    return sum(line.endswith(tail) for line in text.splitlines())


class Router:
    """slash32d in the guest, with an uplink on net_tap and a VM on a TAP port."""

    def __init__(self, guest, offload):
        self.guest = guest
        option = f"name=up0;devargs=net_tap0,iface=wire0;mac={UPLINK_MAC};offload={str(offload).lower()}"
        self.job = guest.start_job(
            "exec slash32d --memory-huge never --daemon-run-dir /tmp/run --daemon-state-dir /tmp/state "
            f"--uplink '{option}' --log-level info 2>&1")
        try:
            self.wait_for(f"{CTL} status")
            guest.run(f"{CTL} port add vm0 --kind tap --mac {VM_MAC} --address {VM4} --address {VM6} "
                      "--sg any --wait 30", 60, check=True)
            guest.run(f"ip addr add {HOST4}/24 dev up0; ip addr add {HOST6}/64 dev up0; "
                      "ip link set wire0 up; ip link set up0 up; ip link set vm0 up", check=True)
            self.wait_for(f"{CTL} port show up0 | grep -q running")
            # An address that others may yet say is theirs (RFC 4862 section 5.4) is no route to the host.
            self.wait_for(f"/bin/ip -6 route show table local | grep -q {HOST6}")
        except Exception:
            print(self.job.output)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.job.kill(15)
        self.job.wait(30)

    def wait_for(self, command, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while not (result := self.guest.run(command, 60)).ok:
            assert not self.job.done and time.monotonic() < deadline, f"{result}\n{self.job.output}"
            time.sleep(0.5)

    def json(self, words):
        return json.loads(self.guest.run(f"{CTL} {words} --json", 60, check=True).stdout)

    def rules(self):
        (uplink,) = self.json("show offload")["uplinks"]
        assert uplink["uplink"] == "up0"
        return {rule["rule"]: rule for rule in uplink["rules"]}

    def spoofed_drops(self):
        drops = self.json("show drops --port up0")["drops"]
        return sum(drop["packets"] for drop in drops if drop["reason"] == "bad_source_address")

    def arrived(self, interface, frame, after=None):
        """How many of COPIES of a frame, sent on the wire, come to an interface; with `after`, until as many
        of that frame, sent behind them, have come."""
        heard = self.guest.start_job(f"s32guest frame-recv {interface} 1000 60 {frame.type:04x}")
        heard.wait_for("listening")
        for sent in (frame, after) if after else (frame,):
            self.guest.run(f"s32guest frame-send wire0 {COPIES} {bytes(sent).hex()}", check=True)
        deadline = time.monotonic() + 30
        while occurrences(after or frame, heard.output) < COPIES and time.monotonic() < deadline:
            time.sleep(0.05)
        heard.kill()
        return occurrences(frame, heard.wait(30).stdout)

    def results(self):
        """What becomes of each packet."""
        spoofed = {name: self.arrived("vm0", frame, HONEST["IPv6" if IPv6 in frame else "IPv4"])
                   for name, frame in SPOOFED.items()}
        return {**spoofed, **{name: self.arrived("vm0", frame) for name, frame in HONEST.items()},
                **{name: self.arrived("up0", frame) for name, frame in CONTROL.items()}}

    def steered(self):
        """Packets that the kernel's rules put into the second queue."""
        shown = self.guest.run("/bin/tc -s filter show dev wire0 parent 1:", check=True).stdout
        rules = re.findall(r"skbedit +queue_mapping 1.*?Sent \d+ bytes (\d+) pkt", shown, re.S)
        return sum(map(int, rules))


@pytest.fixture(scope="module")
def guest(build, module_resources):
    directory = module_resources.directory()
    image = with_programs(
        build_image(modules=MODULES), directory,
        [build / "ctrl/daemon/slash32d", build / "ctrl/cli/slash32ctl", Path(shutil.which("tc"))],
        [PLUGINS / f"librte_{name}.so.23.0" for name in ("bus_vdev", "mempool_ring", "net_tap")])
    with Guest("router", image, directory, memory_mib=1024, cpus=2) as made:
        made.wait_ready(BOOT_S)
        # DPDK loads no plugin from below a folder that all may write to.
        made.run("chmod 755 /; mkdir -p /run /var/run", check=True)
        yield made


@pytest.fixture(scope="module")
def software(guest):
    with Router(guest, offload=False) as router:
        results = router.results()
        return {"results": results, "drops": router.spoofed_drops(), "rules": router.rules()}


def test_packets_meet_the_same_with_and_without(guest, software):
    expected = {**dict.fromkeys(HONEST, COPIES), **dict.fromkeys(SPOOFED, 0),
                **dict.fromkeys(CONTROL, COPIES)}
    assert software["results"] == expected
    assert software["drops"] == COPIES * len(SPOOFED)
    with Router(guest, offload=True) as router:
        assert router.results() == expected
        assert router.spoofed_drops() == 0, "the device has dropped them before"
        assert router.steered() == COPIES * (len(CONTROL) - 1), "all but ND, of which net_tap knows nothing"


def test_show_offload_says_what_is_done_where_and_why(guest, software):
    assert {rule["by"] for rule in software["rules"].values()} == {"software"}
    assert "offload = false" in software["rules"]["steer ARP"]["reason"]
    with Router(guest, offload=True) as router:
        rules = router.rules()
        table = guest.run(f"{CTL} show offload", check=True).stdout
    for name in ("drop sources in 127.0.0.0/8", "drop sources in ff00::/8", "steer ARP",
                 "steer IPv4 BGP to port 179", "steer IPv6 OSPF"):
        assert rules[name] == {"rule": name, "by": "hardware"}
    solicitations = rules["steer ND solicitations"]
    assert solicitations["by"] == "software" and solicitations["reason"]
    assert re.search(r"up0 +steer ARP +hardware", table)
    assert re.search(r"up0 +steer ND solicitations +software +\S", table)
