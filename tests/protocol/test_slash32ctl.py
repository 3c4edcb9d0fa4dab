# SPDX-License-Identifier: Apache-2.0
"""slash32ctl as its users call it, against a daemon that checks every request by its schema."""

import base64
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from fake_daemon import INSTANCE, TIME, FakeDaemon, RpcError

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("S32_BUILD", ROOT / "build"))
CTL = os.environ.get("SLASH32CTL", str(BUILD / "ctrl" / "cli" / "slash32ctl"))

DESIRED = {
    "name": "vm1", "owner": "cli", "kind": "vhost", "socket": "/run/vm1", "socket_mode": "client",
    "mac": "52:54:00:00:00:01", "addresses": ["10.0.0.11/24", "2001:db8::11"],
    "allowed_pairs": [], "gateways": ["10.0.0.1"], "vrf": 0, "mtu": 1500, "queues": 1,
    "groups": ["any"], "port_security": True, "log_denied": False, "announce": "auto",
    "announce_table": 0, "announce_metric": 0, "withdraw_delay_ms": 0,
    "labels": {"project": "p1"},
}
ACTUAL = {
    "state": "running", "programmed": True, "wired": True, "stale": False, "revision": 5,
    "mtu": 1500, "queues": 1, "features": ["VIRTIO_F_VERSION_1", "VIRTIO_NET_F_MRG_RXBUF"],
    "since": TIME,
}
COUNTERS = {
    "rx_packets": 10, "rx_bytes": 980, "tx_packets": 9, "tx_bytes": 882, "rx_dropped": 0,
    "tx_dropped": 0,
}
DONE = {"revision": 7, "seq": 3, "programmed": True}


def port(actual=None, counters=None, **desired):
    desired = {**DESIRED, **desired}
    return {
        "name": desired["name"], "id": 3, "kind": desired["kind"], "desired": desired,
        "actual": {**ACTUAL, **(actual or {})}, "counters": {**COUNTERS, **(counters or {})},
    }


def event(seq, kind="port.wired", **more):
    body = {"seq": seq, "type": kind, "time": TIME, **more}
    if kind.startswith("port."):
        body = {"port": "vm1", "owner": "cli", "labels": {}, **body}
    return body


@pytest.fixture
def daemon(tmp_path):
    fake = FakeDaemon(tmp_path / "sock")
    yield fake
    fake.close()


def ctl(daemon, *words, code=0, text=None, **kwargs):
    socket = daemon if isinstance(daemon, str) else daemon.path
    result = subprocess.run(
        [CTL, "-s", socket, *words], input=text, capture_output=True, text=True, timeout=60,
        check=False, **kwargs,
    )
    assert result.returncode == code, result.stdout + result.stderr
    for line in result.stdout.splitlines():
        # Events and packets are a line each, however long; everything else fits the screen.
        assert {"--json", "watch", "capture"} & set(words) or len(line) <= 80, line
    return result.stdout + (result.stderr if code else "")


def test_port_add_sends_the_whole_port(daemon):
    daemon.answers["port.apply"] = {"change": "added", "name": "vm1", "id": 3, **DONE}
    out = ctl(
        daemon, "port", "add", "vm1", "--socket", "/run/vm1", "--mac", "52:54:00:00:00:01",
        "--address", "10.0.0.11/32", "--address", "2001:db8::11/128", "--gateway", "10.0.0.1",
        "--gateway", "fe80::1", "--sg", "any", "--vrf", "2", "--mtu", "9000", "--queues", "4",
        "--no-port-security", "--label", "project=p1", "--label", "empty=", "--allowed-pair",
        "10.9.0.0/16@52:54:00:00:00:09", "--allowed-pair", "0.0.0.0/0", "--server", "--announce",
        "hold", "--announce-table", "100", "--announce-metric", "7", "--withdraw-delay", "1500",
        "--owner", "neutron", "--force",
    )
    assert out == "port vm1: added, revision 7\n"
    assert daemon.params_of("port.apply") == [{
        "name": "vm1", "socket": "/run/vm1", "socket_mode": "server", "mac": "52:54:00:00:00:01",
        "addresses": ["10.0.0.11/32", "2001:db8::11/128"], "gateways": ["10.0.0.1", "fe80::1"],
        "groups": ["any"], "vrf": 2, "mtu": 9000, "queues": 4, "port_security": False,
        "labels": {"project": "p1", "empty": ""}, "announce": "hold", "owner": "neutron",
        "announce_table": 100, "announce_metric": 7, "withdraw_delay_ms": 1500,
        "allowed_pairs": [
            {"prefix": "10.9.0.0/16", "mac": "52:54:00:00:00:09"}, {"prefix": "0.0.0.0/0"},
        ],
        "force": True,
    }]


def test_port_add_tap_leaves_defaults_to_the_daemon(daemon):
    daemon.answers["port.apply"] = {"change": "added", "name": "t1", "id": 3, **DONE}
    ctl(daemon, "port", "add", "t1", "--kind", "tap", "--tap", "tap7", "--mac", "52:54:00:00:00:01")
    assert daemon.params_of("port.apply") == [
        {"name": "t1", "kind": "tap", "tap": "tap7", "mac": "52:54:00:00:00:01"}
    ]


def test_port_add_shows_the_difference_of_a_dry_run(daemon):
    daemon.answers["port.apply"] = {"dry_run": True, "difference": {
        "added": 0, "changed": 1, "removed": 0, "unchanged": 0, "truncated": False, "objects": [
            {"op": "change", "object": "port", "name": "vm1",
             "fields": {"mtu": {"from": 1500, "to": 9000}}}]}}
    out = ctl(daemon, "port", "add", "vm1", "--socket", "/s", "--mac", "52:54:00:00:00:01", "-n")
    assert out.splitlines() == [
        "change port name=vm1", "    mtu: 1500 -> 9000",
        "would add 0, change 1, remove 0; unchanged 0",
    ]


def test_port_add_waits_until_wired(daemon):
    state = {"wired": False}
    daemon.answers["port.get"] = lambda params, c: {"seq": 1, "port": port({**state})}

    def apply(_params, connection):
        def wire():
            time.sleep(0.3)
            state["wired"] = True
            daemon.notify(connection, "event", event(4))
        return {"change": "added", "name": "vm1", "id": 3, **DONE}, wire
    daemon.answers["port.apply"] = apply
    daemon.answers["watch"] = {"instance": INSTANCE, "seq": 3, "lost": False}
    words = ["port", "add", "vm1", "--socket", "/s", "--mac", "52:54:00:00:00:01", "--wait"]
    assert "added" in ctl(daemon, *words, "10")
    assert [name for name, _ in daemon.requests].index("watch") < [
        name for name, _ in daemon.requests].index("port.apply")
    state["wired"] = False
    daemon.answers["port.apply"] = {"change": "unchanged", "name": "vm1", "id": 3, **DONE}
    assert "is not wired after 0.2 s" in ctl(daemon, *words, "0.2", code=4)
    state["state"] = "failed"
    state["reason"] = "too many queue pairs"
    assert "too many queue pairs" in ctl(daemon, *words, "5", code=1)


def test_port_set_changes_only_what_is_given(daemon):
    daemon.answers["port.get"] = {"seq": 1, "port": port()}
    daemon.answers["port.apply"] = {"change": "changed", "name": "vm1", "id": 3, **DONE}
    ctl(daemon, "port", "set", "vm1", "--mtu", "9000", "--sg", "")
    want = {**DESIRED, "mtu": 9000, "groups": []}
    del want["owner"]
    assert daemon.params_of("port.apply") == [want]


def test_port_del(daemon):
    daemon.answers["port.delete"] = {"change": "removed", "name": "vm1", **DONE}
    assert ctl(daemon, "port", "del", "vm1") == "port vm1: removed, revision 7\n"
    assert daemon.params_of("port.delete") == [{"name": "vm1"}]


def test_port_list_reads_all_pages_and_fits(daemon):
    ports = [port(name=f"tap0123456789-{i}", addresses=[
        "255.255.255.255/32", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128"]) for i in range(6)]

    def pages(params, _connection):
        first = int(params.get("cursor", "0"))
        result = {"seq": 9 + first, "ports": ports[first:first + 4]}
        if first == 0:
            result["cursor"] = "4"
        return result
    daemon.answers["port.list"] = pages
    out = ctl(daemon, "port", "list")
    assert "tap0123456789-5" in out
    assert "2001:db8" in out
    shown = json.loads(ctl(daemon, "show", "ports", "--json"))
    assert shown == {"seq": 9, "ports": ports}
    ctl(daemon, "port", "list", "--label", "project=p", "--state", "waiting", "--vrf", "3")
    assert {"labels": {"project": "p"}, "state": "waiting", "vrf": 3} in daemon.params_of("port.list")


REMARKS = [
    (port(), "passes"),
    (port({"state": "waiting", "wired": False, "last_error": "No such file or directory"}),
     "nobody is connected to socket /run/vm1 (No such file or directory)"),
    (port({"state": "connected"}), "has not enabled its rings"),
    (port({"state": "failed", "reason": "the ring is corrupt"}), "failed: the ring is corrupt"),
    (port({"programmed": False}), "have not acknowledged"),
    (port({"stale": True}), "has not synced since"),
    (port(groups=[]), "no security group"),
    (port(addresses=[]), "no address"),
    (port(announce="hold"), "announce is hold"),
    (port(counters={"rx_packets": 0}), "has sent nothing"),
    (port(counters={"rx_dropped": 1}), "show drops --port vm1"),
]


@pytest.mark.parametrize("shown,remark", REMARKS)
def test_port_show_says_why_no_traffic_passes(daemon, shown, remark):
    daemon.answers["port.get"] = {"seq": 1, "port": shown}
    out = " ".join(ctl(daemon, "port", "show", "vm1").split())
    assert remark in out
    assert ("traffic passes" in out) == (" no:" not in out and "no route" not in out)
    assert json.loads(ctl(daemon, "port", "show", "vm1", "--json"))["port"] == shown


def test_route_add_and_del(daemon):
    daemon.answers["route.apply"] = {"added": 2, "changed": 0, "unchanged": 0, **DONE}
    daemon.answers["route.delete"] = {"removed": 1, "missing": 1, **DONE}
    out = ctl(daemon, "route", "add", "10.1.0.0/24", "::/0", "--port", "up0", "--via", "192.0.2.1")
    assert out == "2 routes: 2 added, revision 7\n"
    assert daemon.params_of("route.apply") == [{"routes": [{
        "vrf": 0, "prefixes": ["10.1.0.0/24", "::/0"],
        "next_hop": {"port": "up0", "via": "192.0.2.1"}}]}]
    out = ctl(daemon, "route", "del", "10.1.0.0/24", "10.2.0.0/24", "--vrf", "5")
    assert out == "2 routes: 1 removed, 1 missing, revision 7\n"
    assert daemon.params_of("route.delete") == [
        {"routes": [{"vrf": 5, "prefixes": ["10.1.0.0/24", "10.2.0.0/24"]}]}]
    ctl(daemon, "route", "add", "10.1.0.0/24", "--blackhole", "--port", "x", code=2)


def test_route_add_from_a_file_is_bulk(daemon, tmp_path):
    def apply(params, _connection):
        count = sum(len(entry["prefixes"]) for entry in params["routes"])
        return {"added": count, "changed": 0, "unchanged": 0, **DONE}
    daemon.answers["route.apply"] = apply
    lines = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(25_000)]
    lines.append("2001:db8::/32 port up0 via fe80::1 vrf 7  # a comment")
    lines.append("192.0.2.0/24 unreachable")
    file = tmp_path / "routes"
    file.write_text("\n".join(lines) + "\n\n")
    out = ctl(daemon, "route", "add", "--file", str(file), "--port", "vm1")
    assert out.startswith("25002 routes: 25002 added in ")
    frames = daemon.params_of("route.apply")
    assert [sum(len(e["prefixes"]) for e in f["routes"]) for f in frames] == [10000, 10000, 5002]
    assert frames[2]["routes"][1:] == [
        {"vrf": 7, "prefixes": ["2001:db8::/32"], "next_hop": {"port": "up0", "via": "fe80::1"}},
        {"vrf": 0, "prefixes": ["192.0.2.0/24"], "next_hop": {"unreachable": True}}]
    file.write_text("10.0.0.0/8 port\n")
    assert f"{file}:1: 'port' has no value" in ctl(
        daemon, "route", "add", "--file", str(file), code=2)


def test_route_and_neighbor_lists(daemon):
    daemon.answers["route.list"] = {"seq": 1, "routes": [
        {"vrf": 0, "prefix": "10.0.0.0/8", "next_hop": {"port": "up0", "via": "192.0.2.1"},
         "owner": "cli", "origin": "static", "stale": False},
        {"vrf": 0, "prefix": "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128", "owner": "neutron",
         "next_hop": {"port": "tap0123456789ab", "mac": "52:54:00:00:00:01"}, "origin": "port",
         "stale": True}]}
    out = ctl(daemon, "route", "list", "--family", "ipv4", "--within", "10.0.0.0/8")
    assert "up0 via 192.0.2.1" in out
    daemon.answers["neighbor.list"] = {"seq": 1, "neighbors": [
        {"port": "up0", "address": "192.0.2.1", "mac": "52:54:00:00:00:02", "owner": "cli",
         "stale": False}]}
    assert "52:54:00:00:00:02" in ctl(daemon, "show", "neighbors")
    daemon.answers["neighbor.apply"] = {"change": "added", **DONE}
    ctl(daemon, "neighbor", "add", "up0", "192.0.2.1", "52:54:00:00:00:02")
    daemon.answers["neighbor.delete"] = {"change": "removed", **DONE}
    assert "removed" in ctl(daemon, "neighbor", "del", "up0", "192.0.2.1")


def test_tunnels_that_report_misses_or_go_when_idle(daemon):
    daemon.answers["route.apply"] = {"added": 2, "changed": 0, "unchanged": 0, **DONE}
    ctl(daemon, "route", "add", "10.7.0.1", "10.7.0.2", "--vrf", "7", "--segments", "fc00::1", "--idle-timeout", "60")
    ctl(daemon, "route", "add", "0.0.0.0/0", "--segments", "fc00::1*2", "--segments", "fc00::2", "--report-misses")
    timed = {"segments": ["fc00::1"], "idle_timeout": 60}
    first, second = daemon.params_of("route.apply")
    # One prefix each: it ages by itself.
    assert first["routes"] == [{"vrf": 7, "prefixes": [f"10.7.0.{n}"], "next_hop": timed} for n in (1, 2)]
    shared = {"paths": [{"segments": ["fc00::1"], "weight": 2}, {"segments": ["fc00::2"]}], "report_misses": True}
    assert second["routes"][0]["next_hop"] == shared
    assert "--segments" in ctl(daemon, "route", "add", "::/0", "--report-misses", code=2)
    daemon.answers["route.list"] = {"seq": 1, "routes": [
        {"vrf": 7, "prefix": prefix, "next_hop": hop, "owner": "cli", "origin": "static", "stale": False}
        for prefix, hop in (("0.0.0.0/0", shared), ("10.7.0.1/32", timed))]}
    out = ctl(daemon, "route", "list")
    assert "segments fc00::1 weight 2; segments fc00::2" in out and "reports misses" in out
    assert "segments fc00::1, until idle for 60 s" in out


def test_status_fits_one_screen(daemon):
    daemon.answers["status"] = {
        "version": "0.1.0", "instance": INSTANCE, "pid": 4711, "started": TIME, "uptime_s": 93784,
        "seq": 12, "revision": 7, "store": {"state": "set_aside", "path": "/var/lib/slash32/db",
                                            "detail": "kept as /var/lib/slash32/intent.db.bad-1"},
        "owners": [{"owner": "neutron", "ports": 900, "routes": 10000, "neighbors": 3, "groups": 2,
                    "vrfs": 1, "stale": 4}],
        "ports": {"total": 10, "waiting": 1, "connected": 2, "running": 5, "failed": 1,
                  "uplinks": 1},
        "routes": {"ipv4": 1000000, "ipv6": 5}, "neighbors": 3,
        "workers": [{"id": i, "core": i + 1, "state": "asleep", "busy_percent": 1.5}
                    for i in range(12)],
        "traffic": {"rx_packets": 2**60, "rx_bytes": 1, "tx_packets": 2**60, "tx_bytes": 1,
                    "dropped_packets": 2**60},
        "memory": {"rss_bytes": 300 << 20, "hugepages_bytes": 1 << 30, "mbufs": 65536,
                   "mbufs_free": 60000}, "warnings": ["the store was damaged"]}
    out = ctl(daemon, "status")
    assert len(out.splitlines()) <= 24
    assert "set_aside: kept as" in out and "1d 02:03:04" in out and "warning" in out


WORKER = {"id": 0, "core": 1, "state": "polling", "rx_packets": 1, "tx_packets": 1,
          "dropped_packets": 0, "punted_packets": 0, "consumed_packets": 0,
          "busy_cycles": 5, "idle_cycles": 5, "busy_percent": 50, "cycles_per_packet": 123.4,
          "wakeups": 1, "rx_queues": 2, "stages_enabled": False}


def test_shows(daemon):
    def stats(params, _connection):
        result = {"seq": 1, "time": TIME}
        if "workers" in params["sections"]:
            result["workers"] = [WORKER]
        if "drops" in params["sections"]:
            result["drops"] = [{"reason": "spoofed_source_ip", "packets": 17, "description":
                                "The source address is not one of the port's addresses."}]
        return result
    daemon.answers["stats"] = stats
    assert "123.4" in ctl(daemon, "show", "workers")
    assert "spoofed_source_ip" in ctl(daemon, "show", "drops")
    drops = json.loads(ctl(daemon, "show", "drops", "--port", "vm1", "--json"))["drops"]
    assert drops[0]["packets"] == 17
    assert daemon.params_of("stats")[-1] == {"sections": ["drops"], "port": "vm1"}
    daemon.answers["rings"] = {"rings": [{"worker": 0, "entries": 4096, "depth": 0, "pushed": 99,
                                          "acknowledged": 98, "lag": 1, "waits": 0,
                                          "asleep": True}]}
    assert "98" in ctl(daemon, "show", "rings")
    daemon.answers["memory"] = {
        "rss_bytes": 1, "hugepages_bytes": 2, "pools": [
            {"name": "mbufs", "size": 1, "available": 1, "element_bytes": 2304}],
        "tables": [{"name": "host routes, IPv4", "used": 1, "capacity": 1 << 20, "bytes": 1 << 24}]}
    assert "16.0 MiB" in ctl(daemon, "show", "memory")
    daemon.answers["offload"] = {"uplinks": [{"uplink": "up0", "rules": [
        {"rule": "steer ARP", "by": "hardware"},
        {"rule": "steer LLDP", "by": "software", "reason": "no such item"}]}]}
    offload = ctl(daemon, "show", "offload")
    assert "hardware" in offload and "no such item" in offload
    assert INSTANCE in ctl(daemon, "show", "version")


def test_stages(daemon):
    worker = dict(WORKER)
    daemon.answers["stats"] = lambda *_: {"seq": 1, "time": TIME, "workers": [worker]}
    out = ctl(daemon, "show", "workers", "--stages")
    assert out == "cycle accounting is off; to switch it on: slash32ctl worker stages on\n"
    worker["stages_enabled"] = True
    worker["stages"] = [{"name": "receive", "cycles": 3000, "packets": 30, "bursts": 2},
                        {"name": "parse", "cycles": 1000, "packets": 20, "bursts": 2},
                        {"name": "arp", "cycles": 0, "packets": 0, "bursts": 2}]
    table = [line.split() for line in ctl(daemon, "show", "workers", "--stages").splitlines()]
    assert table[1:] == [["STAGE", "CYCLES/PKT", "SHARE", "%", "PACKETS"],
                         ["receive", "100.0", "75.0", "30"],
                         ["parse", "50.0", "25.0", "20"], ["arp", "-", "0.0", "0"]]
    # What was measured before it was switched off is still there.
    worker["stages_enabled"] = False
    out = ctl(daemon, "show", "workers", "--stages")
    assert "is off" in out and "100.0" in out
    daemon.answers["worker.stages"] = lambda params, _: {**params, "sampling": 64}
    assert "one burst in 64" in ctl(daemon, "worker", "stages", "on")
    assert "is off" in ctl(daemon, "worker", "stages", "off")
    assert daemon.params_of("worker.stages") == [{"enabled": True}, {"enabled": False}]


def test_log_levels(daemon):
    daemon.answers["log.get"] = daemon.answers["log.set"] = {
        "modules": [{"module": "rpc", "level": "debug"}]}
    assert "debug" in ctl(daemon, "log", "level")
    ctl(daemon, "log", "level", "info")
    ctl(daemon, "log", "level", "rpc", "debug")
    assert daemon.params_of("log.set") == [
        {"level": "info"}, {"module": "rpc", "level": "debug"}]


def test_explain(daemon):
    daemon.answers["explain"] = {
        "verdict": "drop", "reason": "spoofed_source_ip", "steps": [
            {"stage": "port security", "decision": "drop", "detail":
             "10.0.0.99 is not an address of port vm1 with MAC address 52:54:00:00:00:01"}]}
    out = ctl(daemon, "explain", "vm1", "--src", "10.0.0.99", "--dst", "10.0.0.2", "--proto", "tcp",
              "--dport", "80", "--ttl", "1", "--icmp-type", "8")
    assert out.splitlines()[-1] == "verdict: drop (spoofed_source_ip)"
    assert daemon.params_of("explain") == [{
        "port": "vm1", "src": "10.0.0.99", "dst": "10.0.0.2", "proto": "tcp", "dport": 80,
        "ttl": 1, "icmp_type": 8}]


def test_watch_prints_events_and_counts(daemon):
    def watch(_params, connection):
        def later():
            for seq in range(6, 9):
                daemon.notify(connection, "event", event(seq, labels={"project": "p"}))
        return {"instance": INSTANCE, "seq": 5, "lost": True}, later
    daemon.answers["watch"] = watch
    out = ctl(daemon, "watch", "--count", "2", "--type", "port.*", "--since", "2", "--instance",
              "ffff").splitlines()
    assert out[0].startswith("events were lost")
    assert out[1] == f"{TIME} 6 port.wired vm1 labels(project=p) owner=cli"
    assert daemon.params_of("watch") == [{"since": 2, "instance": "ffff", "types": ["port.*"]}]
    lines = ctl(daemon, "watch", "--count", "2", "--json").splitlines()
    assert [json.loads(line)["seq"] for line in lines[1:]] == [6, 7]


def test_watch_resumes_after_the_daemon_has_been_away(daemon, tmp_path):
    connections = []

    def watch(params, connection):
        connections.append(connection)
        seq = params.get("since", 5) + 1

        def later():
            daemon.notify(connection, "event", event(seq))
            if len(connections) == 1:
                connection.shutdown(2)
        return {"instance": INSTANCE, "seq": 5, "lost": False}, later
    daemon.answers["watch"] = watch
    lines = ctl(daemon, "watch", "--count", "2", "--json").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [6, 7]
    assert daemon.params_of("watch")[1] == {"since": 6, "instance": INSTANCE}


def test_watch_ends_with_interrupt(daemon):
    daemon.answers["watch"] = {"instance": INSTANCE, "seq": 5, "lost": False}
    with subprocess.Popen([CTL, "-s", daemon.path, "watch"]) as process:
        while not daemon.params_of("watch"):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0


PACKET = bytes.fromhex(
    "525400000002" "525400000001" "0800"
    "4500001c00010000400100000a0000010a000002" "0800000000000000")


def start_capture(daemon):
    def start(_params, connection):
        def later():
            daemon.notify(connection, "capture.packets", {
                "capture": 9, "lost": 3, "ended": True, "packets": [
                    {"time_ns": 1_700_000_000_123_456_789, "direction": "in", "length": 1500,
                     "data": base64.b64encode(PACKET).decode(), "reason": "spoofed_source_ip"},
                    {"time_ns": 1_700_000_001_000_000_000, "direction": "out", "length": 42,
                     "data": base64.b64encode(PACKET).decode()}]})
        return {"capture": 9, "snap_bytes": 128}, later
    daemon.answers["capture.start"] = start


def test_capture_prints_lines(daemon):
    start_capture(daemon)
    out = ctl(daemon, "capture", "vm1", "dropped", "icmp", "and", "host", "10.0.0.1", "-c", "5")
    assert "IPv4 10.0.0.1 > 10.0.0.2 icmp type 8 code 0" in " ".join(out.split())
    assert daemon.params_of("capture.start") == [{
        "port": "vm1", "direction": "dropped", "filter": "icmp and host 10.0.0.1",
        "packets_max": 5}]


def test_capture_writes_pcapng_that_others_read(daemon, tmp_path):
    scapy = pytest.importorskip("scapy.utils")
    start_capture(daemon)
    file = tmp_path / "out.pcapng"
    ctl(daemon, "capture", "vm1", "-w", str(file))
    packets = list(scapy.RawPcapNgReader(str(file)))
    assert [data for data, _ in packets] == [PACKET, PACKET]
    assert packets[0][1].wirelen == 1500
    stdout = subprocess.run([CTL, "-s", daemon.path, "capture", "vm1", "-w", "-"],
                            capture_output=True, check=True, timeout=30).stdout
    assert stdout == file.read_bytes()


def test_sync_stages_and_commits(daemon, tmp_path):
    file = tmp_path / "set.json"
    desired = {k: v for k, v in DESIRED.items() if k != "owner"}
    file.write_text(json.dumps({
        "ports": [desired], "routes": [{"prefixes": ["10.0.0.0/8"], "next_hop": {"blackhole": True}}]
    }))
    daemon.answers["sync.begin"] = {"sync": 4}
    daemon.answers["port.apply"] = daemon.answers["route.apply"] = {"staged": True}
    daemon.answers["sync.commit"] = {"added": 1, "changed": 0, "removed": 2, "unchanged": 1, **DONE}
    out = ctl(daemon, "sync", str(file), "--owner", "me")
    assert out == "sync: 1 added, 0 changed, 2 removed, 1 unchanged, revision 7\n"
    assert daemon.params_of("sync.begin") == [{"owner": "me", "objects": ["port", "route"]}]
    assert daemon.params_of("port.apply")[0]["sync"] == 4
    assert daemon.params_of("sync.commit") == [{"sync": 4}]

    def refuse(_params, _connection):
        raise RpcError(3, "conflict", "port vm2 has this address", "$.params.addresses[0]")
    daemon.answers["port.apply"] = refuse
    out = ctl(daemon, "sync", str(file), code=1)
    assert "ports[0]" in out and "$.params.addresses[0]: port vm2 has this address (conflict)" in out
    assert len(daemon.params_of("sync.commit")) == 1


def test_exit_codes(daemon, tmp_path):
    def refuse(_params, _connection):
        raise RpcError(2, "not_found", "there is no port x", "$.params.name")
    daemon.answers["port.get"] = refuse
    out = ctl(daemon, "port", "show", "x", code=1)
    assert out == "slash32ctl: $.params.name: there is no port x (not_found)\n"
    out = json.loads(ctl(daemon, "port", "show", "x", "--json", code=1))
    assert out["error"] == {"code": 2, "kind": "not_found", "path": "$.params.name",
                            "message": "there is no port x"}
    ctl(daemon, "port", "shwo", "x", code=2)
    ctl(daemon, "--nonsense", code=2)
    ctl(daemon, "port", "add", code=2)
    ctl(str(tmp_path / "nobody"), "status", code=3)
    daemon.answers["status"] = lambda p, c: time.sleep(1.5) or refuse(p, c)
    ctl(daemon, "--timeout", "0.3", "status", code=4)
    ctl(daemon, "--help")
    assert "slash32ctl" in ctl(daemon, "--version")


def test_socket_from_the_environment(daemon):
    result = subprocess.run([CTL, "show", "version"], capture_output=True, text=True, check=True,
                            env={**os.environ, "SLASH32_SOCKET": daemon.path}, timeout=30)
    assert INSTANCE in result.stdout


def test_batch_stops_at_the_first_failure(daemon, tmp_path):
    daemon.answers["port.delete"] = {"change": "removed", "name": "a", **DONE}
    file = tmp_path / "batch"
    file.write_text("# comment\n\nport del a\nport del 'b'\nport dle c\nport del d\n")
    out = ctl(daemon, "batch", str(file), code=2)
    assert f"{file}:5: failed" in out
    assert daemon.params_of("port.delete") == [{"name": "a"}, {"name": "b"}]
    ctl(daemon, "batch", "--keep-going", str(file), code=2)
    assert daemon.params_of("port.delete")[-1] == {"name": "d"}
    ctl(daemon, "batch", "-", text="port del x --json\nport del y\n")
    # One connection for all of a batch.
    assert len(daemon.params_of("hello")) == 3


def test_commands_from_a_pipe_are_a_batch(daemon):
    daemon.answers["port.delete"] = {"change": "removed", "name": "a", **DONE}
    result = subprocess.run([CTL], input="port del a\n", capture_output=True, text=True, timeout=30,
                            check=True, env={**os.environ, "SLASH32_SOCKET": daemon.path})
    assert result.stdout == "port a: removed, revision 7\n"


COMPLETIONS = [
    (["po"], ["port"]),
    (["port", ""], ["add", "del", "list", "set", "show"]),
    (["port", "show", ""], ["vm1"]),
    (["show", "drops", "--port", "v"], ["vm1"]),
    (["port", "add", "x", "--allow"], ["--allowed-pair"]),
    (["-s", "SOCKET", "explain", ""], ["vm1"]),
    (["port", "add", ""], []),
    (["worker", "stages", "o"], ["off", "on"]),
    (["show", "workers", "--st"], ["--stages"]),
]


@pytest.mark.parametrize("words,expected", COMPLETIONS)
def test_completion(daemon, words, expected):
    daemon.answers["port.list"] = {"seq": 1, "ports": [port()]}
    words = [daemon.path if word == "SOCKET" else word for word in words]
    result = subprocess.run([CTL, "--complete", *words], capture_output=True, text=True, check=True,
                            env={**os.environ, "SLASH32_SOCKET": daemon.path}, timeout=30)
    assert result.stdout.split() == expected
