# SPDX-License-Identifier: Apache-2.0
"""Segment routing against the Linux kernel, both ways: a machine of VRF 7 here, one of the same network behind a
neighbour whose kernel does the rest.

    vm1 - slash32d - up0 - tor0 (seg6, seg6local) - far
    10.7.0.11, 2001:db8:7::11                       10.7.0.9, 2001:db8:7::9"""

import subprocess

import pytest
from scapy.layers.inet6 import IPv6, IPv6ExtHdrSegmentRouting
from scapy.layers.l2 import Ether
from scapy.packet import raw
from scapy.utils import rdpcap
from support import RpcError, until
from support.fabric import TOR6, Fabric
from support.kernel_peer import FAR4, FAR6, OURS, THEIR_END, THEIRS4, THEIRS6, VM4, VM6, Peer
from test_tap import transfer

OUR_END, OUR_X, THEIR_TABLE = "fc00:0:1:1::", "fc00:0:1:2::", "fc00:0:2:7::"


@pytest.fixture(scope="module")
def fabric(needs_tap, module_resources):
    made = Fabric(module_resources, "--srv6-locator", "fc00:0:1::/48", "--srv6-locators", "fc00::/32",
                  "--host-interface", "slash32", far=False)
    made.host.ip("-6", "route", "add", "fc00:0:2::/48", "via", TOR6[0], "dev", "up0")
    return made


@pytest.fixture(scope="module")
def peer(fabric, module_resources):
    made = Peer(fabric, module_resources)
    made.local(THEIR_TABLE, "End.DT6", "table", "254", device="eth9")
    made.send_by(OURS)
    return made


@pytest.fixture(scope="module")
def vm1(fabric, peer):
    fabric.lab.daemon.call("vrf.apply", vrf=7)
    sid(fabric, OURS, behavior="end.dt46", vrf=7)
    return fabric.lab.machine(1, [f"{VM4}/24", f"{VM6}/64"], gateways=["10.7.0.1", "fe80::1"], vrf=7)


def sid(fabric, prefix, **what):
    return fabric.lab.daemon.call("route.apply", routes=[{"prefixes": [f"{prefix}/128"], "next_hop": {"sid": what}}])


def lead(fabric, next_hop4, next_hop6=None):
    fabric.lab.daemon.call("route.apply", routes=[
        {"vrf": 7, "prefixes": [f"{FAR4}/32"], "next_hop": next_hop4},
        {"vrf": 7, "prefixes": [f"{FAR6}/128"], "next_hop": next_hop6 or next_hop4}])


def tunnel(*segments, full=False):
    return {"segments": list(segments), **({"encap": "full"} if full else {})}


@pytest.mark.parametrize("full", [False, True], ids=["reduced", "full"])
@pytest.mark.parametrize("through", [[], [THEIR_END]], ids=["straight", "through-end"])
def test_tunnel_ends_at_the_kernels_dx(fabric, vm1, full, through):
    """H.Encaps and H.Encaps.Red to the kernel's End, End.DX4 and End.DX6, H.Encaps of the kernel to our End.DT46."""
    lead(fabric, tunnel(*through, THEIRS4, full=full), tunnel(*through, THEIRS6, full=full))
    vm1.ping(FAR4, 3)
    vm1.ping(FAR6, 3)


def test_tunnel_ends_at_the_kernels_dt6(fabric, vm1):
    lead(fabric, tunnel(THEIRS4), tunnel(THEIR_TABLE))
    vm1.ping(FAR6, 3)


def test_connection_is_cut_and_joined_at_the_tunnels_ends(fabric, vm1, peer):
    """The machine's large segments enter the tunnel in pieces, and what the kernel sends comes whole."""
    lead(fabric, tunnel(THEIRS4), tunnel(THEIRS6))
    for address, back in ((FAR4, VM4), (FAR6, VM6)):
        assert transfer(vm1, peer.far, address, total=1 << 22) == 1 << 22
        assert transfer(peer.far, vm1, back, total=1 << 22) == 1 << 22


def test_machine_is_told_the_tunnels_mtu(fabric, vm1):
    lead(fabric, tunnel(THEIR_END, THEIRS4))
    done = vm1.run("ping", "-n", "-c", 1, "-W", 3, "-M", "do", "-s", 1433 - 24, FAR4, check=False)
    assert f"mtu = {1500 - 40 - 24}" in done.stdout, done.stdout
    vm1.run("ping", "-n", "-c", 1, "-W", 3, "-M", "do", "-s", 1432 - 24, FAR4)
    vm1.ip("route", "flush", "cache")


@pytest.mark.parametrize("flavors", [[], ["psp"]], ids=["end", "psp"])
def test_kernels_tunnel_visits_our_end(fabric, peer, vm1, flavors):
    """From the neighbour to `far` by our End, which gives it back for the neighbour's End.DX."""
    sid(fabric, OUR_END, behavior="end", flavors=flavors)
    visit(peer, OUR_END)
    assert segment(fabric, OUR_END)["packets"] >= 3


def test_kernels_tunnel_visits_our_end_x(fabric, peer, vm1):
    sid(fabric, OUR_X, behavior="end.x", port="up0", via=TOR6[0])
    visit(peer, OUR_X)


def visit(peer, through):
    peer.far.ip("address", "replace", "10.99.0.1/32", "dev", "lo")
    peer.tor.ip("route", "replace", "10.99.0.1", "encap", "seg6", "mode", "encap", "segs", f"{through},{THEIRS4}",
                "dev", "eth0")
    peer.tor.run("ping", "-n", "-c", 3, "-i", 0.05, "-W", 3, "-I", "10.7.0.254", "10.99.0.1")


def segment(fabric, prefix):
    return next(one for one in fabric.lab.daemon.call("sid.list")["sids"] if one["prefix"].startswith(prefix))


def test_segments_are_counted(fabric, vm1):
    lead(fabric, tunnel(THEIRS4), tunnel(THEIRS6))
    before = segment(fabric, OURS)
    vm1.ping(FAR4, 3)
    after = segment(fabric, OURS)
    assert after["packets"] - before["packets"] == 3 and after["bytes"] > before["bytes"]
    assert "end.dt46 vrf 7" in fabric.lab.daemon.ctl("show", "segments").stdout


@pytest.mark.parametrize("full", [False, True], ids=["reduced", "full"])
def test_what_leaves_is_dissected_without_an_error(fabric, peer, vm1, tmp_path, full):
    lead(fabric, tunnel(THEIR_END, THEIRS4, full=full), tunnel(THEIR_END, THEIRS6, full=full))
    capture = tmp_path / "fabric.pcap"
    with peer.tor.start("tcpdump", "-i", "eth0", "-U", "-w", capture,
                        "ip6 proto 43 and src host fc00:0:1::", stderr=subprocess.PIPE, text=True) as tcpdump:
        try:
            assert "listening" in tcpdump.stderr.readline()
            vm1.ping(FAR4, 2)
            vm1.ping(FAR6, 2)
            until(lambda: len(rdpcap(str(capture))) >= 4, "four packets captured")
        finally:
            tcpdump.terminate()
    fields = ("ipv6.routing.segleft", "ipv6.flow", "icmp.type", "icmpv6.type")
    text = subprocess.run(["tshark", "-r", capture, "-Y", "_ws.expert.severity >= 0x400000 or _ws.malformed"],
                          capture_output=True, text=True, check=True).stdout
    assert text == ""
    rows = subprocess.run(["tshark", "-r", capture, "-T", "fields", *(w for f in fields for w in ("-e", f))],
                          capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(rows) >= 4 and all(row.split("\t")[0] == "1" for row in rows), rows
    for packet in rdpcap(str(capture)):
        assert packet[IPv6].fl != 0 and IPv6ExtHdrSegmentRouting in packet
        assert raw(packet) == raw(Ether(raw(packet)))


def test_failed_gateway_leaves_the_others(fabric, peer, vm1):
    """Two ways, of which one has no route: every packet takes the other. When it comes back, both are used."""
    lead(fabric, {"paths": [{"segments": [THEIRS4]}, {"segments": ["fc00:0:9:4::"]}]}, tunnel(THEIRS6))
    vm1.ping(FAR4, 5)
    explained = fabric.lab.daemon.call("explain", port=vm1.port, src=VM4, dst=FAR4, proto="udp", sport=1, dport=2)
    assert "by its group to a tunnel to fc00:0:2:4::" in str(explained)


@pytest.mark.parametrize("change, path", [
    ({"vrf": 99}, "$.params.routes[0].vrf"),
    ({"vrf": 0, "prefixes": ["fc00:0:2:1::/128"], "next_hop": {"sid": {"behavior": "end"}}},
     "$.params.routes[0].next_hop.sid"),
    ({"vrf": 0, "prefixes": ["fc00:0:1:5::/128"], "next_hop": {"sid": {"behavior": "end.dt4", "vrf": 99}}},
     "$.params.routes[0].next_hop.sid.vrf"),
], ids=["no-vrf", "outside-the-locator", "no-table"])
def test_bad_input_is_refused_and_changes_nothing(fabric, vm1, change, path):
    daemon = fabric.lab.daemon
    route = {"vrf": 7, "prefixes": ["192.0.2.0/24"], "next_hop": {"segments": [THEIRS4]}, **change}
    before = daemon.call("status")["revision"]
    with pytest.raises(RpcError) as error:
        daemon.call("route.apply", routes=[route])
    assert error.value.path == path
    assert daemon.call("status")["revision"] == before


def test_vrf_with_a_machine_is_not_deleted(fabric, vm1):
    with pytest.raises(RpcError) as error:
        fabric.lab.daemon.call("vrf.delete", vrf=7)
    assert vm1.port in error.value.message


def test_locator_is_announced(fabric, vm1):
    """The kernel has it, with the routes of the machines, for a routing daemon to redistribute."""
    assert "dev slash32" in fabric.host.ip("-6", "route", "show", "fc00:0:1::/48", "proto", "132")


def test_segment_routes_of_the_kernel_are_followed(fabric, peer):
    """seg6 and seg6local routes of the host's kernel, as a routing daemon or an operator would put there."""
    vm2, behind, ours = fabric.lab.machine(2), "2001:db8:99::9", "fc00:0:1:dd::"
    encap = ("encap", "seg6", "mode", "encap", "segs")
    fabric.host.ip("-6", "route", "add", f"{behind}/128", *encap, THEIRS6, "dev", "up0")
    fabric.host.ip("-6", "route", "add", f"{ours}/128", "encap", "seg6local", "action", "End.DT6", "table", "254",
                   "dev", "up0")
    peer.far.ip("address", "add", f"{behind}/128", "dev", "lo", "nodad")
    peer.far.ip("-6", "route", "add", vm2.ip6, "via", "2001:db8:7::fe")
    peer.tor.ip("-6", "route", "add", vm2.ip6, *encap, ours, "dev", "eth0")
    vm2.ping(behind, 3)
    shown = {route["prefix"]: route for route in fabric.lab.daemon.call("host.routes", limit=1000)["routes"]}
    assert shown[f"{behind}/128"]["ways"][0]["segments"] == [THEIRS6]
    assert shown[f"{ours}/128"]["resolved"] and shown[f"{behind}/128"]["resolved"]
    fabric.host.ip("-6", "route", "del", f"{ours}/128")
    vm2.no_ping(behind)
    fabric.host.ip("-6", "route", "del", f"{behind}/128")
    before = vm2.drops("no_route")
    vm2.no_ping(behind)
    vm2.dropped("no_route", before)
