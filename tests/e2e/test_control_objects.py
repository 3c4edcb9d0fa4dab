# SPDX-License-Identifier: Apache-2.0
"""Ports, routes, neighbours, syncs and events over the control socket of a daemon.

Every call of RpcClient is held to docs/schema, request and answer, here and in all other files.
"""

import pytest
from support import RpcError, until
from support.rpc import SCHEMAS

UPLINK = "name=up0;devargs=net_null0;address=192.0.2.2"


@pytest.fixture(scope="module")
def shared(module_resources):
    made = module_resources.daemon("--uplink", UPLINK)
    made.start()
    return made


@pytest.fixture
def client(shared):
    """A connection to a daemon that holds nothing but its uplink."""
    with shared.rpc() as made:
        for owner in ("cli", "neutron", "other"):
            sync = made.call("sync.begin", owner=owner)["sync"]
            made.call("sync.commit", sync=sync, force=True)
        yield made
        for owner in ("cli", "neutron", "other"):
            try:
                sync = made.call("sync.begin", owner=owner)["sync"]
                made.call("sync.commit", sync=sync, force=True)
            except RpcError:
                pass  # a test that failed may have left a sync open; the next client clears it


def vm(number, **more):
    return {"name": f"vm{number}", "mac": f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}",
            "socket": f"/tmp/s32e-none/vm{number}.sock",
            "addresses": [f"10.{number >> 8}.{number & 255}.1/24"], **more}


def refused(client, kind, path, method, **params):
    with pytest.raises(RpcError) as failure:
        client.call(method, **params)
    assert (failure.value.kind, failure.value.path) == (kind, path), str(failure.value)
    return failure.value


def sync_of(client, owner, ports=(), routes=(), neighbors=(), **commit):
    """A whole sync; returns the answer to the commit."""
    number = client.call("sync.begin", owner=owner)["sync"]
    for port in ports:
        assert client.call("port.apply", **port, owner=owner, sync=number) == {"staged": True}
    if routes:
        client.call("route.apply", routes=list(routes), owner=owner, sync=number)
    for neighbor in neighbors:
        client.call("neighbor.apply", **neighbor, owner=owner, sync=number)
    return client.call("sync.commit", sync=number, **commit)


def test_every_method_answers_as_its_schema_says(client):
    """What is called here, with the methods that other tests are about, is every method."""
    called = set()

    def call(method, **params):
        called.add(method)
        return client.call(method, **params)

    call("hello", client="every method")
    call("status")
    call("port.apply", **vm(1))
    call("port.get", name="vm1")
    call("port.list", limit=10)
    route = {"prefixes": ["198.51.100.0/24"], "next_hop": {"port": "up0", "via": "192.0.2.1"}}
    call("neighbor.apply", port="up0", address="192.0.2.1", mac="52:54:00:00:ff:01")
    call("neighbor.get", port="up0", address="192.0.2.1")
    call("neighbor.list", port="up0")
    call("route.apply", routes=[route])
    assert call("route.get", address="198.51.100.9")["route"]["prefix"] == "198.51.100.0/24"
    assert call("route.get", prefix="10.0.1.1/32")["route"]["origin"] == "port"
    call("route.list", family="ipv4", within="198.51.0.0/16")
    call("vrf.apply", vrf=9, name="tenant")
    call("vrf.get", vrf=9)
    call("vrf.list")
    call("sid.list")
    call("vrf.delete", vrf=9)
    call("addrset.apply", name="trusted", members=["10.0.0.0/8"])
    call("addrset.update", name="trusted", add=["2001:db8::1"], remove=["10.0.0.0/8"])
    call("addrset.get", name="trusted")
    call("addrset.list")
    rules = [{"direction": "ingress", "protocol": "tcp", "port_min": 80, "remote_set": "trusted"}]
    call("sg.apply", name="web", rules=rules)
    call("sg.members", name="web", add=["10.0.9.1"])
    call("sg.get", name="web")
    call("sg.list", limit=1)
    call("conntrack.list", port="vm1")
    call("conntrack.count")
    call("conntrack.flush", protocol="tcp")
    call("conntrack.config", timeouts={"udp_timeout": 31})
    call("watch", types=["port.*"])
    call("stats")
    call("stats", sections=["drops"], port="vm1")
    call("worker.stages", enabled=True)
    call("stats", sections=["workers"])
    call("worker.stages", enabled=False)
    call("rings")
    call("memory")
    call("offload")
    call("host.status")
    call("host.routes")
    call("host.drain", mode="worsen")
    call("host.undrain")
    level = {m["module"]: m["level"] for m in call("log.get")["modules"]}["rpc"]
    call("log.set", level=level, module="rpc")
    answer = call("explain", port="vm1", src="10.0.1.1", dst="10.0.9.9", proto="udp", dport=53)
    assert answer["verdict"] == "drop" and answer["reason"] == "no_group"
    capture = call("capture.start", port="vm1", direction="both", filter="udp port 53")["capture"]
    call("capture.stop", capture=capture)
    call("route.delete", routes=[{"prefixes": ["198.51.100.0/24"]}])
    call("neighbor.delete", port="up0", address="192.0.2.1")
    call("port.delete", name="vm1")
    call("sg.delete", name="web")
    call("addrset.delete", name="trusted")
    sync = call("sync.begin", owner="other", objects=["route"])["sync"]
    call("sync.abort", sync=sync)
    sync = call("sync.begin", owner="other")["sync"]
    call("sync.commit", sync=sync)
    assert called == set(SCHEMAS.methods())


def test_apply_is_idempotent(client):
    first = client.call("port.apply", **vm(1))
    assert first["change"] == "added" and first["programmed"]
    again = client.call("port.apply", **vm(1))
    assert again["change"] == "unchanged"
    assert (again["revision"], again["seq"], again["id"]) == (first["revision"], first["seq"], first["id"])
    changed = client.call("port.apply", **vm(1, mtu=9000))
    assert changed["change"] == "changed" and changed["revision"] > first["revision"]
    # What is left out has its default again, not its last value.
    client.call("port.apply", **vm(1))
    assert client.call("port.get", name="vm1")["port"]["desired"]["mtu"] == 1500


def test_port_is_accepted_before_its_socket_exists(client):
    client.call("port.apply", **vm(1, groups=["any"], labels={"instance": "i-1"}))
    port = client.call("port.get", name="vm1")["port"]
    assert port["actual"]["state"] == "waiting" and port["actual"]["programmed"]
    assert not port["actual"]["wired"]
    assert "vm1.sock" in port["actual"]["reason"]
    assert port["desired"]["labels"] == {"instance": "i-1"}
    assert port["desired"]["owner"] == "cli"


def test_address_of_another_port_is_refused_and_named(client):
    client.call("port.apply", **vm(1))
    error = refused(client, "conflict", "$.params.addresses[1]", "port.apply",
                    **vm(2, addresses=["10.0.2.1", "10.0.1.1/32"]))
    assert "vm1" in error.message and error.code == 3
    refused(client, "not_found", "$.params.name", "port.get", name="vm2")
    # Another VRF is another world.
    client.call("vrf.apply", vrf=7)
    assert client.call("port.apply", **vm(2, addresses=["10.0.1.1"], vrf=7))["programmed"]


def test_socket_and_tap_of_another_port_are_refused(client):
    client.call("port.apply", **vm(1))
    error = refused(client, "conflict", "$.params.socket", "port.apply",
                    **{**vm(2), "socket": vm(1)["socket"]})
    assert "vm1" in error.message


def test_dry_run_changes_nothing_and_says_what_would_change(client):
    client.call("port.apply", **vm(1))
    before = client.call("status")
    difference = client.call("port.apply", **vm(1, mtu=9000), dry_run=True)["difference"]
    assert difference["changed"] == 1
    assert difference["objects"] == [{"op": "change", "object": "port", "name": "vm1",
                                      "fields": {"mtu": {"from": 1500, "to": 9000}}}]
    assert client.call("port.apply", **vm(2), dry_run=True)["difference"]["added"] == 1
    assert client.call("port.delete", name="vm1", dry_run=True)["difference"]["removed"] == 1
    routes = [{"prefixes": ["10.77.0.0/16", "10.78.0.0/16"], "next_hop": {"blackhole": True}}]
    assert client.call("route.apply", routes=routes, dry_run=True)["difference"]["added"] == 2
    after = client.call("status")
    for member in ("revision", "seq", "ports", "routes"):
        assert before[member] == after[member], member
    # A dry run of what is refused is refused.
    refused(client, "conflict", "$.params.addresses[0]", "port.apply",
            **vm(2, addresses=["10.0.1.1"]), dry_run=True)


def test_another_owners_object_needs_force(client):
    client.call("port.apply", **vm(1), owner="neutron")
    error = refused(client, "not_owner", "$.params.name", "port.apply", **vm(1, mtu=9000))
    assert error.code == 4 and "neutron" in error.message
    refused(client, "not_owner", "$.params.name", "port.delete", name="vm1")
    taken = client.call("port.apply", **vm(1, mtu=9000), force=True)
    assert taken["change"] == "changed"
    assert client.call("port.get", name="vm1")["port"]["desired"]["owner"] == "cli"
    refused(client, "not_owner", "$.params.name", "port.delete", name="vm1", owner="neutron")
    assert client.call("port.delete", name="vm1", owner="neutron", force=True)["change"] == "removed"


def test_port_that_routes_lead_to_needs_force_to_go(client):
    client.call("port.apply", **vm(1))
    client.call("route.apply", routes=[{"prefixes": ["10.99.0.0/24"], "next_hop": {"port": "vm1"}}])
    refused(client, "conflict", "$.params.name", "port.delete", name="vm1")
    client.call("port.delete", name="vm1", force=True)
    refused(client, "not_found", "$.params.address", "route.get", address="10.99.0.1")


def test_bulk_of_routes_is_all_or_nothing(client):
    client.call("port.apply", **vm(1))
    prefixes = [f"10.50.{n >> 8}.{n & 255}/32" for n in range(10000)]
    result = client.call("route.apply", routes=[{"prefixes": prefixes, "next_hop": {"port": "vm1"}}])
    assert result["added"] == 10000 and result["programmed"]
    bad = [{"prefixes": ["10.51.0.1/32"], "next_hop": {"port": "vm1"}},
           {"prefixes": ["10.51.0.2/32"], "next_hop": {"port": "nobody"}}]
    refused(client, "not_found", "$.params.routes[1].next_hop.port", "route.apply", routes=bad)
    refused(client, "not_found", "$.params.prefix", "route.get", prefix="10.51.0.1/32")
    refused(client, "invalid", "$.params.routes[0].prefixes[1]", "route.apply", routes=[
        {"prefixes": ["10.52.0.0/24", "10.52.0.0/24"], "next_hop": {"blackhole": True}}])
    gone = client.call("route.delete", routes=[{"prefixes": [*prefixes, "10.51.0.1/32"]}])
    assert (gone["removed"], gone["missing"]) == (10000, 1)


def test_route_of_a_ports_own_address_is_refused(client):
    client.call("port.apply", **vm(1))
    error = refused(client, "conflict", "$.params.routes[0].prefixes[0]", "route.apply", routes=[
        {"prefixes": ["10.0.1.1/32"], "next_hop": {"blackhole": True}}])
    assert "vm1" in error.message


def test_route_over_an_uplink_waits_for_no_neighbour(client):
    route = {"prefixes": ["2001:db8:5::/48"], "next_hop": {"port": "up0", "via": "2001:db8:f::1"}}
    assert client.call("route.apply", routes=[route])["programmed"]
    assert client.call("neighbor.apply", port="up0", address="2001:db8:f::1",
                       mac="52:54:00:00:ff:02")["change"] == "added"
    refused(client, "invalid", "$.params.port", "neighbor.apply",
            **{"port": client.call("port.apply", **vm(1))["name"], "address": "10.0.1.9",
               "mac": "52:54:00:00:ff:03"})


def test_uplink_is_listed_and_cannot_be_changed(client):
    uplink = client.call("port.get", name="up0")["port"]
    assert uplink["kind"] == "uplink" and uplink["desired"]["owner"] == "config"
    for method, params in (("port.apply", {**vm(1), "name": "up0"}), ("port.delete", {"name": "up0"})):
        with pytest.raises(RpcError):
            client.call(method, **params, force=True)
    assert [p["name"] for p in client.call("port.list", kind="uplink")["ports"]] == ["up0"]


def test_lists_come_in_pages_and_filters(client):
    for number in range(1, 26):
        client.call("port.apply", **vm(number, labels={"odd": str(number % 2)}))
    names, cursor = [], None
    while True:
        page = client.call("port.list", limit=7, kind="vhost", **({"cursor": cursor} if cursor else {}))
        assert len(page["ports"]) <= 7
        names += [port["name"] for port in page["ports"]]
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert names == sorted(f"vm{number}" for number in range(1, 26))
    odd = client.call("port.list", labels={"odd": "1"})["ports"]
    assert len(odd) == 13
    assert client.call("port.list", labels={"odd": "1"}, state="running")["ports"] == []
    refused(client, "invalid", "$.params.cursor", "route.list", cursor="nonsense")
    # Deleting behind and before the cursor does not upset the rest.
    page = client.call("port.list", limit=10, kind="vhost")
    last = page["ports"][-1]["name"]
    client.call("port.delete", name=last)
    rest = client.call("port.list", limit=100, kind="vhost", cursor=page["cursor"])["ports"]
    assert [p["name"] for p in rest] == [n for n in names if n > last]

    client.call("route.apply", routes=[{"prefixes": [f"10.60.{n}.0/24" for n in range(50)],
                                        "next_hop": {"blackhole": True}}])
    prefixes, cursor = set(), None
    while True:
        page = client.call("route.list", limit=9, within="10.60.0.0/16",
                           **({"cursor": cursor} if cursor else {}))
        prefixes.update(route["prefix"] for route in page["routes"])
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert len(prefixes) == 50


def test_sync_removes_what_is_missing_and_touches_nothing_else(client):
    for number in (1, 2, 3):
        client.call("port.apply", **vm(number), owner="neutron")
    client.call("port.apply", **vm(4), owner="other")
    ids = {n: client.call("port.get", name=f"vm{n}")["port"] for n in (1, 2)}
    result = sync_of(client, "neutron", [vm(1), vm(2, mtu=9000), vm(5)])
    assert [result[k] for k in ("added", "changed", "removed", "unchanged")] == [1, 1, 1, 1]
    names = [p["name"] for p in client.call("port.list", kind="vhost")["ports"]]
    assert names == ["vm1", "vm2", "vm4", "vm5"]
    after = client.call("port.get", name="vm1")["port"]
    assert after["actual"]["revision"] == ids[1]["actual"]["revision"]
    assert client.call("port.get", name="vm2")["port"]["id"] == ids[2]["id"]


def test_sync_dry_run_then_abort_changes_nothing(client):
    client.call("port.apply", **vm(1), owner="neutron")
    before = client.call("status")["revision"]
    number = client.call("sync.begin", owner="neutron")["sync"]
    client.call("port.apply", **vm(2), owner="neutron", sync=number)
    difference = client.call("sync.commit", sync=number, dry_run=True)["difference"]
    assert (difference["added"], difference["removed"]) == (1, 1)
    assert client.call("sync.abort", sync=number) == {}
    refused(client, "not_found", "$.params.sync", "sync.commit", sync=number)
    assert client.call("status")["revision"] == before


def test_sync_may_swap_addresses(client):
    client.call("port.apply", **vm(1), owner="neutron")
    client.call("port.apply", **vm(2), owner="neutron")
    one, two = vm(1), vm(2)
    one["addresses"], two["addresses"] = two["addresses"], one["addresses"]
    assert sync_of(client, "neutron", [one, two])["changed"] == 2
    assert client.call("route.get", address="10.0.1.1")["route"]["next_hop"]["port"] == "vm2"


def test_sync_that_conflicts_fails_whole_and_stays_open(client):
    client.call("port.apply", **vm(1), owner="other")
    number = client.call("sync.begin", owner="neutron")["sync"]
    client.call("port.apply", **vm(2), owner="neutron", sync=number)
    client.call("port.apply", **vm(3, addresses=["10.0.1.1"]), owner="neutron", sync=number)
    with pytest.raises(RpcError) as failure:
        client.call("sync.commit", sync=number)
    assert failure.value.kind == "conflict" and "vm1" in failure.value.message
    refused(client, "not_found", "$.params.name", "port.get", name="vm2")
    client.call("port.apply", **vm(3), owner="neutron", sync=number)
    assert client.call("sync.commit", sync=number)["added"] == 2


def test_one_sync_an_owner_at_a_time(shared, client):
    number = client.call("sync.begin", owner="neutron")["sync"]
    with shared.rpc() as second:
        refused(second, "conflict", "$.params.owner", "sync.begin", owner="neutron")
        refused(second, "not_found", "$.params.sync", "sync.commit", sync=number)
    client.call("sync.abort", sync=number)


def test_sync_of_a_dropped_connection_sweeps_nothing(shared, client):
    client.call("port.apply", **vm(1), owner="neutron")
    before = client.call("status")["revision"]
    with shared.rpc() as second:
        number = second.call("sync.begin", owner="neutron")["sync"]
        second.call("port.apply", **vm(2), owner="neutron", sync=number)

    def begin_again():
        try:
            return client.call("sync.begin", owner="neutron")["sync"]
        except RpcError:
            return None

    number = until(begin_again, "the end of the dropped sync")
    client.call("sync.abort", sync=number)
    assert client.call("status")["revision"] == before
    assert [p["name"] for p in client.call("port.list", kind="vhost")["ports"]] == ["vm1"]


def test_watch_brings_events_in_order(client, shared):
    with shared.rpc() as watcher:
        begin = watcher.call("watch")
        assert not begin["lost"]
        client.call("port.apply", **vm(1, labels={"instance": "i-1"}))
        client.call("port.apply", **vm(1, mtu=9000))
        client.call("route.apply", routes=[{"prefixes": ["10.9.0.0/16"], "next_hop": {"blackhole": True}}])
        client.call("neighbor.apply", port="up0", address="192.0.2.7", mac="52:54:00:00:ff:07")
        client.call("port.delete", name="vm1")
        sync_of(client, "neutron", [vm(9)])
        seen = []
        while not seen or seen[-1]["type"] != "sync.committed":
            seen.append(watcher.notification(lambda m, p: m == "event"))
    assert [e["seq"] for e in seen] == list(range(begin["seq"] + 1, begin["seq"] + 1 + len(seen)))
    types = [e["type"] for e in seen]
    for wanted in ("port.added", "port.changed", "route.changed", "neighbor.changed", "port.removed"):
        assert wanted in types
    added = seen[types.index("port.added")]
    assert added["labels"] == {"instance": "i-1"} and added["desired"]["mtu"] == 1500


def test_watch_resumes_after_a_list(client, shared):
    client.call("port.apply", **vm(1))
    seq = client.call("port.list")["seq"]
    client.call("port.apply", **vm(2))
    client.call("port.apply", **vm(3))
    instance = client.call("hello")["instance"]
    with shared.rpc() as watcher:
        assert watcher.call("watch", instance=instance, since=seq, types=["port.added"])["lost"] is False
        assert watcher.event("port.added")["port"] == "vm2"
        assert watcher.event("port.added")["port"] == "vm3"


def test_watch_answers_lost(client, shared):
    seq = client.call("status")["seq"]
    instance = client.call("hello")["instance"]
    with shared.rpc() as watcher:
        assert watcher.call("watch", instance="f" * 16, since=seq)["lost"] is True
        assert watcher.call("watch", instance=instance, since=seq + 1000)["lost"] is True
        assert watcher.call("watch", instance=instance, since=seq)["lost"] is False


def test_no_traffic_is_lost_through_a_sync_of_the_same_objects(lab):
    vm1, vm2 = lab.machine(1), lab.machine(2)
    ports = [lab.params(vm1), lab.params(vm2)]
    with vm1.stream(vm2) as stream, lab.daemon.rpc() as made:
        for turn in range(20):
            result = sync_of(made, "cli", ports)
            assert result["unchanged"] == 2 and result["changed"] == result["removed"] == 0
            stream.pass_packets(20)
        # Changing what does not concern the stream, with its ports in the set.
        for turn in range(10):
            sync_of(made, "cli", [*ports, vm(40 + turn)])
            made.call("port.apply", **{**ports[1], "labels": {"turn": str(turn)}})
            stream.pass_packets(20)
        assert stream.stop() == 0


def test_hold_and_withdrawn_are_kept(client):
    client.call("port.apply", **vm(1, announce="hold"))
    assert client.call("port.get", name="vm1")["port"]["desired"]["announce"] == "hold"
    client.call("port.apply", **vm(1, announce="withdrawn"))
    assert client.call("port.get", name="vm1")["port"]["desired"]["announce"] == "withdrawn"


def test_interface_that_exists_already_is_a_failed_port_or_refused(lab):
    lab.router.ip("tuntap", "add", "taken", "mode", "tun")
    with lab.daemon.rpc() as made:
        try:
            made.call("port.apply", name="taken", kind="tap", mac="52:54:00:00:00:77")
        except RpcError as error:
            assert error.kind in ("conflict", "unavailable") and "taken" in error.message
            refused(made, "not_found", "$.params.name", "port.get", name="taken")
        else:
            actual = made.call("port.get", name="taken")["port"]["actual"]
            assert actual["state"] == "failed" and "taken" in actual["reason"]
