# SPDX-License-Identifier: Apache-2.0
"""slash32ctl on a daemon that forwards: tables, exit codes, JSON, batch, completion, watch, capture."""

import json
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.utils import rdpcap
from support import GATEWAY_MAC, Lab, until

UPLINK = "name=up0;devargs=net_null0;address=192.0.2.2"
COLUMNS = 80


@pytest.fixture(scope="module")
def busy(needs_tap, module_resources):
    """(lab, vm1, vm2) with traffic behind it, and names, numbers and addresses as long as they get."""
    lab = Lab(module_resources, "--uplink", UPLINK)
    vm1, vm2 = lab.machine(1), lab.machine(2)
    daemon = lab.daemon
    daemon.call("vrf.apply", vrf=4095, name="n" * 64, owner="o" * 32)
    daemon.call("port.apply", name="fifteen-letters", mac="52:54:00:ff:ff:01", owner="o" * 32,
                socket="/" + "s" * 106, vrf=4095, mtu=9216, queues=8,
                addresses=[f"2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}" for n in range(0xfff0, 0xfff8)],
                labels={"instance_name": "n" * 255, "project": "p" * 255})
    daemon.call("neighbor.apply", port="up0", address="2001:db8:ffff:ffff:ffff:ffff:ffff:fff1",
                mac="52:54:00:ff:ff:02", owner="o" * 32)
    daemon.call("route.apply", owner="o" * 32, routes=[
        {"prefixes": ["2001:db8:aaaa:bbbb:cccc:dddd:eeee:fff1/128"], "vrf": 4095,
         "next_hop": {"unreachable": True}},
        {"prefixes": ["2001:db8:aaaa:bbbb:cccc:dddd:eeee:ff00/120"],
         "next_hop": {"port": "up0", "via": "2001:db8:ffff:ffff:ffff:ffff:ffff:fff1"}}])
    with vm1.stream(vm2) as stream:
        stream.pass_packets(100)
    vm1.no_ping("203.0.113.9")
    return lab, vm1, vm2


@pytest.mark.parametrize("words", [
    "status", "port list", "port show vm1", "port show fifteen-letters", "port show up0",
    "route list", "neighbor list", "show ports", "show routes", "show neighbors", "show drops",
    "show drops --port vm1", "show workers", "show workers --stages",
    "worker stages on", "show workers --stages", "worker stages off", "show memory", "show rings",
    "show version", "log level",
    "explain vm1 --src 10.0.0.11 --dst 10.0.0.12 --proto udp --dport 53",
    "explain vm1 --src 2001:db8::99 --dst 2001:db8::12 --proto tcp --dport 443"])
def test_output_fits_80_columns_and_json_is_json(busy, words):
    daemon = busy[0].daemon
    done = daemon.ctl(*words.split())
    assert done.stdout and not done.stderr
    for line in done.stdout.splitlines():
        assert len(line) <= COLUMNS, f"{len(line)} columns: {line}"
    assert isinstance(json.loads(daemon.ctl(*words.split(), "--json").stdout), (dict, list))


def test_status_is_one_screen(busy):
    assert len(busy[0].daemon.ctl("status").stdout.splitlines()) <= 24


def test_port_show_says_why_no_traffic_passes(busy):
    lab, vm1, _ = busy
    assert "frontend" in lab.daemon.ctl("port", "show", "fifteen-letters").stdout.lower() or \
        "wait" in lab.daemon.ctl("port", "show", "fifteen-letters").stdout.lower()
    lab.apply(vm1, groups=[])
    try:
        assert "group" in lab.daemon.ctl("port", "show", "vm1").stdout
    finally:
        lab.apply(vm1)


def test_exit_codes(busy, run_dir):
    daemon = busy[0].daemon

    def status(*words, **options):
        return daemon.ctl(*words, check=False, **options).returncode

    assert status("port", "show", "vm1") == 0
    assert status("port", "show", "nobody") == 1
    assert status("port", "add", "x") == 1 or status("port", "add", "x") == 2
    assert status("nonsense") == 2
    assert status("port", "show", "vm1", "--colour") == 2
    assert status("batch", run_dir / "no-such-file") == 2
    nowhere = subprocess.run([daemon.ctl_program, "-s", run_dir / "none.sock", "status"],
                             capture_output=True, text=True, timeout=10, check=False)
    assert nowhere.returncode == 3 and str(run_dir / "none.sock") in nowhere.stderr
    error = daemon.ctl("port", "show", "nobody", "--json", check=False)
    assert json.loads(error.stdout or error.stderr)


def test_batch_file(busy, run_dir):
    daemon = busy[0].daemon
    file = run_dir / "commands"
    file.write_text("# two ports and a route\n\n"
                    f"port add b1 --socket {run_dir}/b1 --mac 52:54:00:00:01:01 --address 10.7.0.1/24\n"
                    f"port add b2 --socket {run_dir}/b2 --mac 52:54:00:00:01:02 --label 'name=a b'\n"
                    "route add 10.8.0.0/16 --port b1\n")
    daemon.ctl("batch", file)
    assert daemon.port("b2")["desired"]["labels"] == {"name": "a b"}
    assert daemon.call("route.get", prefix="10.8.0.0/16")["route"]["next_hop"]["port"] == "b1"
    file.write_text("port del b2\nport del nobody\nroute del 10.8.0.0/16\nport del b1\n")
    done = daemon.ctl("batch", file, check=False)
    assert done.returncode == 1 and "2" in done.stderr, "the line is named"
    assert daemon.port("b1"), "it stopped at the failure"
    done = daemon.ctl("batch", "-k", "-", check=False,
                      input_text="port del nobody\nroute del 10.8.0.0/16\nport del b1\n")
    assert done.returncode == 1
    assert daemon.ctl("port", "show", "b1", check=False).returncode == 1


def test_completion_knows_commands_options_and_names(busy):
    daemon = busy[0].daemon

    def complete(*words):
        done = subprocess.run([daemon.ctl_program, "--complete", "-s", daemon.socket, *words],
                              capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.split()

    assert {"port", "route", "show", "watch"} <= set(complete(""))
    assert complete("po") == ["port"]
    assert set(complete("port", "show", "vm")) == {"vm1", "vm2"}
    assert "--no-port-security" in complete("port", "add", "x", "--no")


def test_sync_from_a_file(busy, run_dir):
    daemon = busy[0].daemon
    file = run_dir / "set.json"
    file.write_text(json.dumps({"ports": [
        {"name": "s1", "mac": "52:54:00:00:02:01", "socket": f"{run_dir}/s1"}], "routes": [
            {"prefixes": ["10.70.0.0/16"], "next_hop": {"port": "s1"}}]}))
    dry = daemon.ctl("sync", file, "--owner", "agent", "-n").stdout
    assert "add" in dry and daemon.ctl("port", "show", "s1", check=False).returncode == 1
    daemon.ctl("sync", file, "--owner", "agent")
    assert daemon.port("s1")["desired"]["owner"] == "agent"
    file.write_text('{"ports": [], "routes": []}')
    daemon.ctl("sync", file, "--owner", "agent")
    assert daemon.ctl("port", "show", "s1", check=False).returncode == 1


def test_watch_prints_events_as_they_come(busy, run_dir):
    daemon = busy[0].daemon
    seq = daemon.call("status")["seq"]
    watch = daemon.start_ctl("watch", "--since", seq, "--instance", daemon.call("hello")["instance"],
                    "--type", "port.*", "--count", 2, "--json")
    daemon.call("port.apply", name="w1", mac="52:54:00:00:03:01", socket=f"{run_dir}/w1",
                labels={"instance": "i-7"})
    daemon.call("port.delete", name="w1")
    out, err = watch.communicate(timeout=20)
    assert watch.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines() if '"type"' in line]
    assert [(e["type"], e["port"]) for e in events] == [("port.added", "w1"), ("port.removed", "w1")]
    assert events[0]["labels"] == {"instance": "i-7"}
    text = daemon.ctl("watch", "--since", seq, "--count", 2, "--type", "port.*").stdout
    assert "port.added" in text and "w1" in text


# Capture.

def end(child):
    out, err = child.communicate(timeout=20)
    assert child.returncode == 0, err
    return out, err


def test_capture_to_a_file_that_others_read(busy, run_dir):
    lab, vm1, vm2 = busy
    path = run_dir / "c.pcapng"
    child = lab.daemon.start_capture(path, "vm1", "icmp", "-c", 6)
    for _ in range(3):
        vm1.ping(vm2.ip4)
    end(child)
    packets = rdpcap(str(path))
    assert [(p[IP].src, p[ICMP].type) for p in packets] == [(vm1.ip4, 8), (vm2.ip4, 0)] * 3
    assert packets[0][Ether].dst == GATEWAY_MAC and packets[1][Ether].dst == vm1.mac
    assert packets[0][IP].ttl == 64 and packets[1][IP].ttl == 63
    text = subprocess.run(["tcpdump", "-nr", path], capture_output=True, text=True, check=True).stdout
    assert text.count("ICMP echo request") == 3 and text.count("ICMP echo reply") == 3


@pytest.mark.parametrize("direction, expected", [("in", 8), ("out", 0)])
def test_capture_of_one_direction(busy, run_dir, direction, expected):
    lab, vm1, vm2 = busy
    path = run_dir / "c.pcapng"
    child = lab.daemon.start_capture(path, "vm1", direction, "icmp", "-c", 3)
    vm1.ping(vm2.ip4, 3)
    end(child)
    assert [p[ICMP].type for p in rdpcap(str(path))] == [expected] * 3


def test_capture_of_dropped_packets_with_a_filter(busy, run_dir):
    lab, vm1, vm2 = busy
    path = run_dir / "c.pcapng"
    child = lab.daemon.start_capture(path, "vm1", "dropped", "udp port 7777", "-c", 2)
    with vm1.wire() as wire:
        for port in (7776, 7777, 7778, 7777):
            wire.send(Ether(src=vm1.mac, dst=GATEWAY_MAC) /
                      IP(src="10.0.0.99", dst=vm2.ip4) / UDP(dport=port))
        vm1.ping(vm2.ip4)
    end(child)
    packets = rdpcap(str(path))
    assert [(p[IP].src, p[UDP].dport) for p in packets] == [("10.0.0.99", 7777)] * 2
    # As text, with the reason.
    child = lab.daemon.start_ctl("capture", "vm1", "dropped", "udp", "-c", 1)  # no MLD of the kernel's
    with vm1.wire() as wire:
        while child.poll() is None:
            wire.send(Ether(src=vm1.mac, dst=GATEWAY_MAC) / IP(src="10.0.0.99", dst=vm2.ip4) / UDP())
            try:
                child.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
    assert "dropped: spoofed_source" in end(child)[0]


def test_capture_keeps_to_its_snap_length(busy, run_dir):
    lab, vm1, vm2 = busy
    path = run_dir / "c.pcapng"
    child = lab.daemon.start_capture(path, "vm1", "in", "icmp", "-c", 1, "--snap", 60)
    vm1.ping(vm2.ip4, options=["-s", "1000"])
    end(child)
    packet = rdpcap(str(path))[0]
    assert len(packet) == 60 and packet.wirelen == 1042


def test_capture_shows_the_routers_own_answers(busy, run_dir):
    lab, vm1, _ = busy
    path = run_dir / "c.pcapng"
    child = lab.daemon.start_capture(path, "vm1", "arp", "-c", 2)
    with vm1.wire() as wire:
        assert wire.exchange(Ether(src=vm1.mac, dst="ff:ff:ff:ff:ff:ff") /
                             ARP(hwsrc=vm1.mac, psrc=vm1.ip4, pdst="10.0.0.77"),
                             lambda p: p.haslayer(ARP) and p[ARP].psrc == "10.0.0.77")
    end(child)
    assert sorted(p[ARP].op for p in rdpcap(str(path))) == [1, 2]


def test_capture_errors(busy):
    daemon = busy[0].daemon
    for words in (["nobody"], ["vm1", "udp prt 53"]):
        done = daemon.ctl("capture", *words, check=False)
        assert done.returncode == 1 and done.stderr


def test_capture_that_ends_costs_nothing_more(busy, run_dir):
    lab, vm1, vm2 = busy
    with lab.daemon.rpc() as client:
        client.call("capture.start", port="vm1")
    path = run_dir / "c.pcapng"
    child = lab.daemon.start_capture(path, "vm1")
    child.terminate()
    end(child)
    with vm1.stream(vm2) as stream:
        stream.pass_packets(200)
        assert stream.stop() == 0
    pools = lab.daemon.call("memory")["pools"]
    for pool in pools:
        if "capture" in pool["name"]:
            until(lambda name=pool["name"]: all(
                p["available"] == p["size"] for p in lab.daemon.call("memory")["pools"]
                if p["name"] == name), "the capture's buffers", 5)
