# SPDX-License-Identifier: Apache-2.0
"""What was answered outlives the daemon, and a store that fails takes nothing with it."""

import os
import subprocess

import pytest
from support import Lab, RpcError, until

UPLINK = "name=up0;devargs=net_null0;address=192.0.2.2"


def vm(number, **more):
    return {"name": f"vm{number}", "mac": f"52:54:00:00:00:{number:02x}",
            "socket": f"/tmp/s32e-none/vm{number}.sock", "addresses": [f"10.0.{number}.1"],
            "labels": {"instance": f"i-{number}"}, **more}


def names(daemon):
    return [p["name"] for p in daemon.call("port.list")["ports"] if p["kind"] != "uplink"]


def test_what_was_answered_is_back_after_a_kill(make_daemon):
    daemon = make_daemon("--uplink", UPLINK)
    daemon.start()
    daemon.call("port.apply", **vm(1), owner="neutron")
    daemon.call("vrf.apply", vrf=3, name="tenant")
    daemon.call("neighbor.apply", port="up0", address="192.0.2.1", mac="52:54:00:00:ff:01")
    daemon.call("route.apply", routes=[
        {"prefixes": ["0.0.0.0/0"], "next_hop": {"port": "up0", "via": "192.0.2.1"}},
        {"vrf": 3, "prefixes": ["10.0.0.0/8"], "next_hop": {"unreachable": True}}])
    desired = daemon.port("vm1")["desired"]
    for turn in range(2, 6):
        daemon.call("port.apply", **vm(turn))
        daemon.restart()  # the instant that the reply is there
        assert f"vm{turn}" in names(daemon)
    assert daemon.port("vm1")["desired"] == desired
    assert daemon.port("vm1")["actual"]["programmed"]
    assert daemon.call("neighbor.get", port="up0", address="192.0.2.1")["neighbor"]["stale"]
    route = daemon.call("route.get", address="8.8.8.8")["route"]
    assert route["next_hop"] == {"port": "up0", "via": "192.0.2.1"}
    assert daemon.call("vrf.get", vrf=3)["vrf"]["name"] == "tenant"
    assert daemon.call("route.get", vrf=3, prefix="10.0.0.0/8")["route"]["next_hop"] == {
        "unreachable": True}
    daemon.call("port.delete", name="vm5")
    daemon.restart()
    assert names(daemon) == ["vm1", "vm2", "vm3", "vm4"]


def test_restored_objects_are_stale_until_their_owner_has_synced(make_daemon):
    daemon = make_daemon()
    daemon.start()
    for number, owner in ((1, "neutron"), (2, "neutron"), (3, "cli")):
        daemon.call("port.apply", **vm(number), owner=owner)
    assert not daemon.port("vm1")["actual"]["stale"]
    daemon.restart()
    assert [daemon.port(f"vm{n}")["actual"]["stale"] for n in (1, 2, 3)] == [True] * 3
    owners = {o["owner"]: o["stale"] for o in daemon.call("status")["owners"]}
    assert owners == {"neutron": 2, "cli": 1}
    sync = daemon.call("sync.begin", owner="neutron")["sync"]
    daemon.call("port.apply", **vm(1), owner="neutron", sync=sync)
    result = daemon.call("sync.commit", sync=sync)
    assert (result["unchanged"], result["removed"]) == (1, 1)
    assert not daemon.port("vm1")["actual"]["stale"] and daemon.port("vm3")["actual"]["stale"]


def test_traffic_flows_again_after_a_kill_with_no_other_command(lab: Lab):
    vm1, vm2 = lab.machine(1), lab.machine(2)
    vm1.ping(vm2.ip4)
    lab.daemon.restart()
    lab.attach_all()  # the kernel took the TAPs away with their process
    vm1.ping(vm2.ip4)
    vm1.ping(vm2.ip6)


def test_routes_of_a_volatile_owner_are_not_stored(make_daemon):
    daemon = make_daemon("--daemon-volatile-owners", "routing,bgp")
    daemon.start()
    for owner, prefix in (("routing", "10.1.0.0/16"), ("bgp", "10.2.0.0/16"), ("cli", "10.3.0.0/16")):
        daemon.call("route.apply", owner=owner,
                    routes=[{"prefixes": [prefix], "next_hop": {"blackhole": True}}])
    assert len(daemon.call("route.list")["routes"]) == 3
    daemon.restart()
    assert [r["prefix"] for r in daemon.call("route.list")["routes"]] == ["10.3.0.0/16"]


def test_without_a_state_directory_nothing_is_stored(make_daemon):
    daemon = make_daemon("--daemon-state-dir", "")
    daemon.start()
    assert daemon.call("status")["store"]["state"] == "memory"
    daemon.call("port.apply", **vm(1))
    daemon.restart()
    assert names(daemon) == []


DAMAGE = {
    "header": lambda data: b"\0" * 100 + data[100:],
    "truncated": lambda data: data[:len(data) // 2],
    "text": lambda data: b"this was a database" * 300,
    "page": lambda data: data[:4096] + os.urandom(len(data) - 4096),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_store_is_set_aside_and_a_sync_fills_it_again(make_daemon, how):
    daemon = make_daemon()
    daemon.start()
    for number in range(1, 40):
        daemon.call("port.apply", **vm(number))
    daemon.stop()
    store = daemon.state_directory / "intent.db"
    for extra in ("-wal", "-shm"):
        assert not os.path.exists(f"{store}{extra}") or os.path.getsize(f"{store}{extra}") == 0
    store.write_bytes(DAMAGE[how](store.read_bytes()))
    damaged = store.read_bytes()
    daemon.start()
    status = daemon.call("status")
    assert status["store"]["state"] == "set_aside", status["store"]
    aside = [p for p in daemon.state_directory.iterdir() if p.name not in
             ("intent.db", "intent.db-wal", "intent.db-shm")]
    assert len(aside) == 1 and aside[0].read_bytes() == damaged
    assert aside[0].name in status["store"]["detail"]
    assert status["warnings"]
    assert "set_aside" in daemon.ctl("status").stdout or "set aside" in daemon.ctl("status").stdout
    assert names(daemon) == []
    sync = daemon.call("sync.begin", owner="cli")["sync"]
    daemon.call("port.apply", **vm(1), sync=sync, owner="cli")
    assert daemon.call("sync.commit", sync=sync)["added"] == 1
    daemon.restart()
    assert names(daemon) == ["vm1"]


@pytest.fixture
def small_disk(needs_root, run_dir):
    """A tmpfs of 512 KiB for the state directory."""
    path = run_dir / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_full_disk_refuses_the_request_and_forwarding_goes_on(needs_tap, small_disk, resources):
    lab = Lab(resources, "--daemon-state-dir", small_disk)
    vm1, vm2 = lab.machine(1), lab.machine(2)
    daemon = lab.daemon
    with vm1.stream(vm2) as stream:
        (small_disk / "ballast").write_bytes(b"")
        with open(small_disk / "ballast", "wb", buffering=0) as ballast:
            with pytest.raises(OSError):
                while True:
                    ballast.write(bytes(4096))
        before = daemon.call("status")
        routes = [{"prefixes": [f"10.9.{n >> 8}.{n & 255}/32" for n in range(5000)],
                   "next_hop": {"blackhole": True}}]
        with pytest.raises(RpcError) as failure:
            daemon.call("route.apply", routes=routes)
        assert failure.value.kind == "storage" and failure.value.code == 6
        assert "full" in failure.value.message
        with pytest.raises(RpcError) as failure:
            for number in range(10, 200):
                daemon.call("port.apply", **{**vm(number), "labels": {"x": "y" * 255}})
        assert failure.value.kind == "storage"
        after = daemon.call("status")
        assert after["routes"] == {**before["routes"], "ipv4": after["routes"]["ipv4"]}
        with pytest.raises(RpcError):
            daemon.call("route.get", prefix="10.9.0.1/32")
        stream.pass_packets(100)
        # Room again: the same request is taken.
        (small_disk / "ballast").unlink()
        until(lambda: apply_ok(daemon, vm(201)), "the store to take it", 5)
        assert stream.stop() == 0
    held = names(daemon)
    daemon.restart()
    assert names(daemon) == held


def apply_ok(daemon, port):
    try:
        return daemon.call("port.apply", **port)["programmed"]
    except RpcError:
        return False
