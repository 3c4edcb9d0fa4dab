# SPDX-License-Identifier: Apache-2.0
"""The code's method list, the schemas and the protocol reference say the same."""

import json
import re

import jsonschema
import pytest
from protocol_schema import NOTIFICATIONS, ROOT, Schemas

SCHEMAS = Schemas()
REFERENCE = (ROOT / "docs" / "protocol.md").read_text()
METHODS_H = (ROOT / "ctrl" / "rpc" / "methods.h").read_text()


def methods_of_code():
    found = re.findall(r'Method\{"([a-z.]+)",\s*Access::k(Read|Write)\}', METHODS_H)
    return {name: access.lower() for name, access in found}


def methods_of_reference():
    found = {}
    for heading in re.findall(r"^### (.*)$", REFERENCE, re.M):
        # A letter holds for the names before it.
        for names, letter in re.findall(r"([^()]*)\(([RW])\)", heading):
            for name in re.findall(r"[a-z]+(?:\.[a-z]+)?", names):
                found[name] = "read" if letter == "R" else "write"
    return found


def test_every_method_has_a_schema_and_the_same_access():
    assert {name: SCHEMAS.access(name) for name in SCHEMAS.methods()} == methods_of_code()


def test_every_method_is_in_the_reference():
    assert methods_of_reference() == methods_of_code()


@pytest.mark.parametrize("name", sorted(SCHEMAS.documents))
def test_schema_is_a_schema(name):
    document = SCHEMAS.documents[name]
    assert document["$id"] == f"{name}.json"
    for part in document["$defs"].values():
        jsonschema.Draft202012Validator.check_schema(part)


@pytest.mark.parametrize("name", SCHEMAS.methods())
def test_params_are_closed_and_may_pin_the_instance(name):
    params = SCHEMAS.documents[name]["$defs"]["params"]
    assert params["additionalProperties"] is False
    assert "instance" in params["properties"]


def test_event_types_of_the_schema_are_those_of_the_reference():
    rules = SCHEMAS.documents["event"]["$defs"]["params"]["allOf"]
    of_schema = {rule["if"]["properties"]["type"]["const"] for rule in rules}
    table = REFERENCE.split("| type | further members | |")[1].split("\n\n")[0]
    of_reference = set()
    for line in table.splitlines():
        if line.startswith("| `"):
            of_reference.update(re.findall(r"`([a-z_.]+)`", line.split("|")[1]))
    assert of_schema == of_reference
    assert set(NOTIFICATIONS) <= set(SCHEMAS.documents)


def test_error_codes_of_the_reference_are_those_of_the_code():
    header = (ROOT / "dp" / "base" / "result.h").read_text()
    codes = dict(
        (name, int(number)) for name, number in re.findall(r"k(\w+) = (\d+),", header)
    )
    rows = dict(re.findall(r"^\| (\d+) \| (\w+) \|", REFERENCE, re.M))
    for name, number in codes.items():
        if name == "Invalid":
            continue  # goes out as JSON-RPC's own -32602
        kind = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
        assert rows[str(number)] == kind


VM = {"name": "vm1", "mac": "52:54:00:00:00:01", "socket": "/run/vm1"}

GOOD = [
    ("port.apply", VM),
    ("port.apply", {"name": "t", "mac": "52:54:00:00:00:01", "kind": "tap", "tap": "tap0"}),
    ("port.apply", {**VM, "addresses": ["10.0.0.1/24", "2001:db8::1"], "vrf": 4095, "mtu": 9216}),
    ("route.apply", {"routes": [{"prefixes": ["::/0"], "next_hop": {"port": "u", "via": "10.0.0.1"}}]}),
    ("route.get", {"address": "10.0.0.1"}),
    ("vrf.apply", {"vrf": 7, "name": "tenant a", "labels": {"project": "x"}}),
    ("route.apply", {"routes": [{"vrf": 7, "prefixes": ["::/0"], "next_hop": {
        "segments": ["fc00::1"], "encap": "full"}}]}),
    ("route.apply", {"routes": [{"vrf": 7, "prefixes": ["::/0"], "next_hop": {"paths": [
        {"segments": ["fc00::1"], "weight": 3}, {"segments": ["fc00::2", "fc00::3"]}], "report_misses": True}}]}),
    ("route.apply", {"routes": [{"vrf": 7, "prefixes": ["10.0.0.1"], "next_hop": {
        "segments": ["fc00::1"], "idle_timeout": 300}}]}),
    ("route.apply", {"routes": [{"prefixes": ["fc00::/48"], "next_hop": {"sid": {
        "behavior": "end", "flavors": ["psp", "next-csid"], "block": 32}}}]}),
    ("sg.apply", {"name": "3f0c2d7e-58f2-4a6e-9c1e-0d8f5b1a2c3d", "rules": [
        {"direction": "ingress"},
        {"direction": "egress", "ethertype": "ipv6", "protocol": 253, "remote_set": "a"}]}),
    ("addrset.update", {"name": "a", "add": ["10.0.0.0/8", "::1"]}),
    ("conntrack.list", {"port": "vm1", "protocol": "tcp", "src": "10.0.0.0/8"}),
    ("conntrack.config", {"timeouts": {"udp_timeout": 60}}),
    ("worker.stages", {"enabled": True}),
    ("host.drain", {"mode": "worsen"}),
    ("host.undrain", {}),
    ("host.routes", {"vrf": 0, "within": "10.0.0.0/8", "unresolved": True, "limit": 5}),
    ("explain", {"port": "a", "src": "::1", "dst": "::2", "proto": 47}),
    ("watch", {"since": 0, "types": ["port.*", "denied"]}),
]
BAD = [
    ("port.apply", {"name": "vm1", "mac": "52:54:00:00:00:01"}),
    ("port.apply", {**VM, "kind": "tap"}),
    ("port.apply", {**VM, "tap": "x"}),
    ("port.apply", {**VM, "name": "0123456789abcdef"}),
    ("port.apply", {**VM, "name": ".."}),
    ("port.apply", {**VM, "mtu": 1279}),
    ("port.apply", {**VM, "queues": 9}),
    ("port.apply", {**VM, "adresses": []}),
    ("port.apply", {**VM, "labels": {"x": 1}}),
    ("route.apply", {"routes": [{"prefixes": ["::/0"], "next_hop": {"port": "u", "blackhole": True}}]}),
    ("route.apply", {"routes": []}),
    ("route.apply", {"routes": [{"prefixes": ["::/0"], "next_hop": {"segments": []}}]}),
    ("route.apply", {"routes": [{"prefixes": ["::/0"], "next_hop": {"segments": ["fc00::1"] * 9}}]}),
    ("route.apply", {"routes": [{"prefixes": ["::/0"], "next_hop": {"segments": ["fc00::1"], "idle_timeout": 0}}]}),
    ("route.apply", {"routes": [{"prefixes": ["::/0"], "next_hop": {"blackhole": True, "report_misses": True}}]}),
    ("route.apply", {"routes": [{"prefixes": ["fc00::1"], "next_hop": {"sid": {"behavior": "end.b6"}}}]}),
    ("vrf.apply", {"vrf": 0}),
    ("route.get", {"address": "10.0.0.1", "prefix": "10.0.0.0/8"}),
    ("sg.apply", {"name": "a", "rules": [{"ethertype": "ipv4"}]}),
    ("sg.apply", {"name": "a", "rules": [{"direction": "ingress", "protocol": "quic"}]}),
    ("sg.apply", {"name": "a", "rules": [{"direction": "ingress", "port_min": 65536}]}),
    ("conntrack.config", {"half_open": 0}),
    ("worker.stages", {}),
    ("worker.stages", {"enabled": "on"}),
    ("host.drain", {"mode": "gently"}),
    ("host.routes", {"unresolved": "yes"}),
    ("status", {"x": 1}),
]


@pytest.mark.parametrize("method,params", GOOD)
def test_good_params_pass(method, params):
    SCHEMAS.check(method, "params", params)


@pytest.mark.parametrize("method,params", BAD)
def test_bad_params_fail(method, params):
    with pytest.raises(jsonschema.ValidationError):
        SCHEMAS.check(method, "params", params)


def test_examples_of_the_reference_are_json():
    for block in re.findall(r"(?:^    .*\n)+", REFERENCE, re.M):
        if "every member of" in block:
            continue
        text = re.sub(r"^    ", "", block, flags=re.M)
        for piece in re.split(r"^[→←] ", text, flags=re.M):
            if piece.strip():
                json.loads(piece)
