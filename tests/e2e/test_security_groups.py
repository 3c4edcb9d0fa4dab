# SPDX-License-Identifier: Apache-2.0
"""Security groups on real machines: what a Neutron port expects of its filter, through the control socket."""

import json
import socket
import threading
import time

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from support import GATEWAY_MAC, SEND_ALL, RpcError, until



def ingress(**rule):
    return {"direction": "ingress", **rule}


@pytest.fixture
def pair(lab):
    """Two machines that may send all and receive nothing; each has a group of its own."""
    for number in (1, 2):
        lab.daemon.call("sg.apply", name=f"sg{number}", rules=SEND_ALL)
        lab.machine(number, groups=[f"sg{number}"])
    return lab.machines[1], lab.machines[2]


def allow(lab, number, *rules):
    lab.daemon.call("sg.apply", name=f"sg{number}", rules=SEND_ALL + list(rules))


class Server:
    """Answers TCP connections with what they send."""

    def __init__(self, machine, port, address=None):
        family = socket.AF_INET6 if ":" in (address or machine.ip4) else socket.AF_INET
        self.socket = machine.inside(lambda: socket.socket(family, socket.SOCK_STREAM))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address or machine.ip4, port))
        self.socket.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _accept(self):
        try:
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._echo, args=[connection], daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def _echo(connection):
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass


class Question:
    """Whether a UDP question to port 7000 is answered."""

    def __init__(self, source, target):
        self.sockets = [m.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                        for m in (source, target)]
        self.address = (target.ip4, 7000)

    def __enter__(self):
        asking, answering = self.sockets
        answering.bind(self.address)
        for one in self.sockets:
            one.settimeout(1)
        asking.sendto(b"?", self.address)
        _, back = answering.recvfrom(10)
        answering.sendto(b"!", back)
        try:
            return asking.recv(10) == b"!"
        except socket.timeout:
            return False

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()


def connect(machine, address, port, timeout_s=3.0):
    """A connection, or None."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = machine.inside(lambda: socket.socket(family, socket.SOCK_STREAM))
    made.settimeout(timeout_s)
    try:
        made.connect((address, port))
    except OSError:
        made.close()
        return None
    return made


def talks(connection, timeout_s=3.0):
    """Whether what is sent comes back."""
    connection.settimeout(timeout_s)
    try:
        connection.sendall(b"hello")
        return connection.recv(5) == b"hello"
    except OSError:
        return False


def test_default_denies_what_comes_in_and_answers_pass(pair):
    one, two = pair
    one.no_ping(two.ip4)
    one.no_ping(two.ip6)
    one.dropped("denied_ingress")
    allow(one.lab, 2, ingress(protocol="icmp"), ingress(ethertype="ipv6", protocol="icmp"))
    one.ping(two.ip4)
    one.ping(two.ip6)
    two.no_ping(one.ip4)


def test_port_without_a_group_passes_nothing(lab):
    one, two = lab.machine(1), lab.machine(2, groups=[])
    one.no_ping(two.ip4)
    two.no_ping(one.ip4)
    two.dropped("no_group")
    lab.apply(two, groups=[], port_security=False)
    one.ping(two.ip4)


def test_egress_counts_too(pair):
    one, two = pair
    allow(one.lab, 2, ingress(protocol="icmp"))
    one.lab.daemon.call("sg.apply", name="sg1", rules=[])
    one.no_ping(two.ip4)
    one.dropped("denied_egress")


def test_one_port_is_open_and_the_next_is_not(pair):
    one, two = pair
    allow(one.lab, 2, ingress(protocol="tcp", port_min=80, port_max=81))
    with Server(two, 80), Server(two, 81), Server(two, 82), Server(two, 80, two.ip6):
        for port, is_open in ((80, True), (81, True), (82, False)):
            connection = connect(one, two.ip4, port, 1.0)
            assert (connection is not None) == is_open, port
            if connection:
                assert talks(connection)
                connection.close()
        assert connect(one, two.ip6, 80, 1.0) is None, "a rule of IPv4 says nothing of IPv6"


def test_removed_rule_cuts_the_connection_and_readding_revives_it(pair):
    one, two = pair
    web, icmp = ingress(protocol="tcp", port_min=80), ingress(protocol="icmp")
    allow(one.lab, 2, web, icmp)
    with Server(two, 80):
        connection = connect(one, two.ip4, 80)
        assert connection and talks(connection)
        allow(one.lab, 2, icmp)
        connection.settimeout(0.5)
        connection.sendall(b"lost?")
        with pytest.raises(socket.timeout):
            connection.recv(5)
        one.ping(two.ip4)  # what is still allowed does not blink
        allow(one.lab, 2, web, icmp)
        connection.settimeout(10)
        assert connection.recv(5) == b"lost?", "TCP sends it again, and it passes"
        connection.close()


def test_remote_group_follows_its_members(pair):
    one, two = pair
    lab, daemon = one.lab, one.lab.daemon
    daemon.call("sg.apply", name="friends")
    allow(lab, 2, ingress(protocol="icmp", remote_group="friends"))
    one.no_ping(two.ip4)
    lab.apply(one, groups=["sg1", "friends"])
    one.ping(two.ip4)
    lab.apply(one, groups=["sg1"])
    one.no_ping(two.ip4)
    # A member on another hypervisor is told.
    daemon.call("sg.members", name="friends", add=[f"{one.ip4}/32"])
    one.ping(two.ip4)
    daemon.call("sg.members", name="friends", remove=[f"{one.ip4}/32"])
    one.no_ping(two.ip4)


def test_member_in_another_vrf_is_another_machine(pair):
    """A machine of another VRF with one's address has the group that two lets in: one has not, and stays outside."""
    one, two = pair
    lab, daemon = one.lab, one.lab.daemon
    daemon.call("vrf.apply", vrf=7)
    daemon.call("sg.apply", name="friends")
    allow(lab, 2, ingress(protocol="icmp", remote_group="friends"))
    lab.machine(3, one.addresses, groups=["friends"], vrf=7)
    one.no_ping(two.ip4)
    lab.apply(one, groups=["sg1", "friends"])
    one.ping(two.ip4)


def test_address_set_member_comes_and_goes(pair):
    one, two = pair
    daemon = one.lab.daemon
    daemon.call("addrset.apply", name="trusted", members=["192.0.2.0/24"])
    allow(one.lab, 2, ingress(protocol="tcp", port_min=80, remote_set="trusted"))
    with Server(two, 80):
        assert connect(one, two.ip4, 80, 0.5) is None
        assert daemon.call("addrset.update", name="trusted", add=[f"{one.ip4}/32"])["added"] == 1
        connection = connect(one, two.ip4, 80)
        assert connection and talks(connection)
        daemon.call("addrset.update", name="trusted", remove=[f"{one.ip4}/32"])
        assert not talks(connection, 0.5)
        connection.close()


def test_remote_groups_and_sets_of_one_group_all_count(pair):
    one, two = pair
    lab, daemon = one.lab, one.lab.daemon
    three = lab.machine(3, groups=["sg1"])
    daemon.call("sg.apply", name="friends")
    daemon.call("sg.apply", name="family")
    daemon.call("addrset.apply", name="trusted", members=[f"{three.ip4}/32"])
    allow(lab, 2, ingress(protocol="icmp", remote_group="friends"),
          ingress(protocol="icmp", remote_group="family"), ingress(protocol="icmp", remote_set="trusted"))
    one.no_ping(two.ip4)
    three.ping(two.ip4)
    # In both groups, then in one, then in none: the groups overlap in it.
    lab.apply(one, groups=["sg1", "friends", "family"])
    one.ping(two.ip4)
    lab.apply(one, groups=["sg1", "family"])
    one.ping(two.ip4)
    lab.apply(one, groups=["sg1"])
    one.no_ping(two.ip4)
    # In the set and in a group.
    lab.apply(three, groups=["sg1", "friends"])
    daemon.call("addrset.apply", name="trusted", members=[])
    three.ping(two.ip4)
    lab.apply(three, groups=["sg1"])
    three.no_ping(two.ip4)


def test_members_of_a_group_are_apart_unless_it_names_itself(lab):
    lab.daemon.call("sg.apply", name="web", rules=SEND_ALL)
    one, two = lab.machine(1, groups=["web"]), lab.machine(2, groups=["web"])
    one.no_ping(two.ip4)
    lab.daemon.call("sg.apply", name="web", rules=SEND_ALL + [ingress(protocol="icmp", remote_group="web")])
    one.ping(two.ip4)
    two.ping(one.ip4)


def test_group_that_comes_back_with_another_mode(pair):
    """A port's group is taken away, made stateless, and given back: answers need a rule from then on."""
    one, two = pair
    lab, daemon = one.lab, one.lab.daemon
    rules = [ingress(protocol="udp", port_min=7000)]
    daemon.call("sg.apply", name="ask", rules=rules)
    lab.apply(two, groups=["ask"])
    with Question(one, two) as answered:
        assert answered
    lab.apply(two, groups=[])
    daemon.call("sg.apply", name="ask", stateful=False, rules=rules)
    lab.apply(two, groups=["ask"])
    with Question(one, two) as answered:
        assert not answered
    lab.apply(two, groups=[])
    daemon.call("sg.apply", name="ask", stateful=True, rules=rules)
    lab.apply(two, groups=["ask"])
    with Question(one, two) as answered:
        assert answered


def test_stateless_group_needs_rules_both_ways(pair):
    one, two = pair
    rules = SEND_ALL[:1] + [ingress(protocol="udp", port_min=7000)]
    one.lab.daemon.call("sg.apply", name="sg2", stateful=False, rules=rules)
    with one.stream(two, port=7000) as stream:
        stream.pass_packets(50)
    # An answer is a packet like any other, and no rule of vm2 lets one out.
    one.lab.daemon.call("sg.apply", name="sg2", stateful=False, rules=rules[1:])
    with Question(one, two) as answered:
        assert not answered
    one.lab.daemon.call("sg.apply", name="sg2", stateful=True, rules=rules[1:])
    with Question(one, two) as answered:
        assert answered


def test_established_connection_survives_a_restart(pair):
    one, two = pair
    allow(one.lab, 2, ingress(protocol="tcp", port_min=80))
    with Server(two, 80):
        connection = connect(one, two.ip4, 80)
        assert talks(connection)
        one.lab.daemon.kill()
        one.lab.daemon.start()
        one.lab.attach_all()
        assert talks(connection, 20), "picked up in its middle"
        assert connect(one, two.ip4, 81, 0.5) is None, "its groups came back too"
        connection.close()


def test_vm_cannot_ride_anothers_connection(lab):
    """Also with 0.0.0.0/0 as an allowed pair."""
    lab.daemon.call("sg.apply", name="web", rules=SEND_ALL + [ingress(protocol="tcp", port_min=80)])
    lab.daemon.call("sg.apply", name="mute", rules=[])
    one, two = lab.machine(1, groups=["web"]), lab.machine(2, groups=["web"])
    three = lab.machine(3, groups=["mute"], allowed_pairs=[{"prefix": "0.0.0.0/0"}])
    with Server(two, 80):
        connection = connect(one, two.ip4, 80)
        assert talks(connection)
        _, sport = connection.getsockname()
        before = lab.daemon.port_stats(two.port)["tx_packets"]
        with three.wire() as wire:
            wire.send(Ether(src=three.mac, dst=GATEWAY_MAC) / IP(src=one.ip4, dst=two.ip4) /
                      TCP(sport=sport, dport=80, flags="PA", seq=1) / Raw(b"evil"))
            three.dropped("denied_egress")
        assert lab.daemon.port_stats(two.port)["tx_packets"] == before
        assert talks(connection)
        connection.close()


def test_fragments_are_filtered_by_their_first_part(pair):
    one, two = pair
    allow(one.lab, 2, *(ingress(ethertype=family, protocol="udp", port_min=7000)
                        for family in ("ipv4", "ipv6")))
    payload = bytes(range(250)) * 32
    for family, address in ((socket.AF_INET, two.ip4), (socket.AF_INET6, two.ip6)):
        with two.inside(lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as server, \
                two.inside(lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as closed, \
                one.inside(lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as client:
            server.bind((address, 7000))
            closed.bind((address, 7001))
            server.settimeout(5)
            closed.settimeout(0.5)
            before = one.drops("denied_ingress")
            client.sendto(payload, (address, 7001))
            with pytest.raises(socket.timeout):
                closed.recv(10000)
            assert one.drops("denied_ingress") >= before + 6  # 8,000 bytes over an MTU of 1,500
            client.sendto(payload, (address, 7000))
            received, back = server.recvfrom(10000)
            assert received == payload
            # The answer needs no rule, whole or in parts.
            server.sendto(payload[::-1], back)
            client.settimeout(5)
            assert client.recv(10000) == payload[::-1]


def test_fragments_in_reverse_order_reach_the_machine(pair):
    one, two = pair
    allow(one.lab, 2, ingress(protocol="udp", port_min=7000))
    payload = bytes(range(250)) * 16
    datagram = IP(src=one.ip4, dst=two.ip4, id=77) / UDP(sport=4000, dport=7000) / Raw(payload)
    with two.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server, one.wire() as wire:
        server.bind((two.ip4, 7000))
        server.settimeout(5)
        for part in reversed(fragment(datagram, fragsize=1400)):
            wire.send(Ether(src=one.mac, dst=GATEWAY_MAC) / part)
        assert server.recv(10000) == payload


def test_flows_are_listed_counted_and_flushed(pair):
    one, two = pair
    daemon = one.lab.daemon
    allow(one.lab, 2, ingress(protocol="tcp", port_min=80))
    with Server(two, 80):
        connection = connect(one, two.ip4, 80)
        assert talks(connection)
        flows = daemon.call("conntrack.list", port="vm1", protocol="tcp", dport=80)["flows"]
        assert len(flows) == 1
        flow = flows[0]
        assert (flow["src"], flow["dst"], flow["in"], flow["out"]) == (one.ip4, two.ip4, "vm1", "vm2")
        assert (flow["state"], flow["phase"]) == ("established", "assured")
        assert flow["sport"] == connection.getsockname()[1]
        assert 0 < flow["expires_s"] <= 432000
        assert daemon.call("conntrack.list", src="192.0.2.0/24")["flows"] == []
        assert daemon.call("conntrack.count")["flows"] >= 1
        text = daemon.ctl("conntrack", "list", "--port", "vm2", "--proto", "tcp").stdout
        assert "established" in text and "vm1" in text
        daemon.call("conntrack.config", tcp_loose=False)
        assert daemon.call("conntrack.flush", port="vm1")["flushed"] >= 1
        assert not talks(connection, 0.5), "strict: nothing is picked up in its middle"
        connection.close()
    until(lambda: daemon.call("conntrack.list", dport=80)["flows"] == [], "the flow to be gone")


def test_timeouts_change_while_it_runs(pair):
    one, two = pair
    daemon = one.lab.daemon
    allow(one.lab, 2, ingress(protocol="icmp"))
    assert daemon.call("conntrack.config", timeouts={"icmp_timeout": 1})["timeouts"]["icmp_timeout"] == 1
    one.ping(two.ip4)
    until(lambda: daemon.call("conntrack.list", protocol="icmp")["flows"] == [], "it to expire", 10)
    with pytest.raises(RpcError) as error:
        daemon.call("conntrack.config", timeouts={"icmp_timeuot": 1}, half_open=7)
    assert error.value.path == "$.params.timeouts.icmp_timeuot"
    assert daemon.call("conntrack.count")["config"]["half_open"] != 7


def test_rules_count_what_they_decide(pair):
    one, two = pair
    daemon = one.lab.daemon
    allow(one.lab, 2, ingress(protocol="icmp"))
    one.run("ping", "-n", "-q", "-c", 3, "-i", "0.01", "-W", "10", two.ip4)  # one flow
    shown = daemon.call("sg.get", name="sg2")["group"]
    index = next(i for i, r in enumerate(shown["desired"]["rules"]) if r.get("protocol") == "icmp")
    assert shown["hits"][index] == 1, "the first packet of the flow"
    assert "icmp" in daemon.ctl("sg", "show", "sg2").stdout


def test_explain_names_the_rule_that_decides(pair):
    one, two = pair
    daemon = one.lab.daemon
    allow(one.lab, 2, ingress(protocol="tcp", port_min=80))

    def ask(dport):
        answer = daemon.call("explain", port="vm1", src=one.ip4, dst=two.ip4, proto="tcp", sport=1000,
                             dport=dport)
        return answer, {step["stage"]: step["detail"] for step in answer["steps"]}

    answer, why = ask(80)
    assert answer["verdict"] == "forward", answer
    assert "security group sg1 (egress ipv4)" in why["filter_egress"], why
    assert "security group sg2 (ingress ipv4 tcp 80)" in why["filter_ingress"], why
    answer, why = ask(81)
    assert (answer["verdict"], answer["reason"]) == ("drop", "denied_ingress")
    assert "vm2" in why["filter_ingress"]


def test_denied_packets_are_told_with_their_tuple(pair):
    one, two = pair
    daemon = one.lab.daemon
    one.lab.apply(two, groups=["sg2"], log_denied=True)
    with daemon.rpc() as watcher, one.wire() as wire:
        watcher.call("watch", types=["denied"])
        wire.send(Ether(src=one.mac, dst=GATEWAY_MAC) / IP(src=one.ip4, dst=two.ip4) /
                  UDP(sport=1234, dport=53) / Raw(b"?"))
        event = watcher.event("denied", dport=53)
    assert event["port"] == "vm2" and event["reason"] == "denied_ingress"
    assert (event["src"], event["dst"], event["protocol"]) == (one.ip4, two.ip4, "udp")
    assert (event["sport"], event["dport"], event["groups"]) == (1234, 53, ["sg2"])
    until(lambda: "denied_ingress" in daemon.log_text(), "the log to say so", 5)


def test_policy_published_every_10_ms_costs_no_packet(pair):
    one, two = pair
    stream_rule = ingress(protocol="udp", port_min=7000)
    allow(one.lab, 2, stream_rule)
    with one.stream(two, port=7000) as stream:
        end = time.monotonic() + 3
        extra = 0
        while time.monotonic() < end:
            extra += 1
            allow(one.lab, 2, stream_rule, ingress(protocol="tcp", port_min=1 + extra % 2))
            time.sleep(0.01)
        assert stream.stop() == 0
    assert one.drops("denied_ingress") == 0


def test_slash32ctl_makes_and_shows_groups(lab, tmp_path):
    daemon = lab.daemon
    daemon.ctl("addrset", "apply", "trusted", "10.0.0.0/8", "2001:db8::/32")
    daemon.ctl("sg", "apply", "web", "--rule", "ingress tcp 80-81 from set trusted",
               "--rule", "ingress ipv6 icmpv6 type 128", "--rule", "egress any")
    rules = daemon.call("sg.get", name="web")["group"]["desired"]["rules"]
    assert {"direction": "ingress", "ethertype": "ipv4", "protocol": "tcp", "port_min": 80, "port_max": 81,
            "remote_set": "trusted"} in rules
    assert {"direction": "ingress", "ethertype": "ipv6", "protocol": "icmpv6", "icmp_type": 128} in rules
    assert {"direction": "egress", "ethertype": "ipv4"} in rules
    assert "web" in daemon.ctl("sg", "list").stdout
    assert "10.0.0.0/8" in daemon.ctl("addrset", "show", "trusted").stdout
    daemon.ctl("sg", "member", "add", "web", "192.0.2.1")
    assert daemon.call("sg.get", name="web")["members"] == ["192.0.2.1/32"]
    refused = daemon.ctl("addrset", "del", "trusted", check=False)
    assert refused.returncode != 0 and "is in use by a rule of security group web" in refused.stderr
    wanted = tmp_path / "wanted.json"
    wanted.write_text(json.dumps({"sgs": [{"name": "db"}], "addrsets": []}))
    daemon.ctl("sync", str(wanted))
    assert [g["name"] for g in daemon.call("sg.list")["groups"]] == ["db"]
    assert daemon.call("addrset.list")["sets"] == []
