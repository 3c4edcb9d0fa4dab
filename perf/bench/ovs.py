# SPDX-License-Identifier: Apache-2.0
"""OVS-DPDK with connection tracking, from its Debian package, as a peer of the same generator. Its flows do
what slash32d does: they check each port's sources, track, hold new connections against the rules of the
sending and of the receiving port, route by host routes, rewrite both MAC addresses and decrement the TTL.
As Neutron's OVS firewall has it, a packet is tracked once when both ports are local."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

from . import traffic
from .context import Context
from .processes import BenchError, Children
from .router import ROUTER_MAC
from .traffic import Sample

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def _matches(rules: list[dict[str, Any]], direction: str) -> Iterator[str]:
    """The rules of a direction as matches of OpenFlow, which has no ranges of ports but masks."""
    remote = "nw_dst" if direction == "egress" else "nw_src"
    for rule in rules:
        if rule["direction"] != direction:
            continue
        match = rule["protocol"]
        if "remote_prefix" in rule:
            match += f",{remote}={rule['remote_prefix']}"
        if "port_min" not in rule:
            yield match
            continue
        low, high = rule["port_min"], rule["port_max"]
        while low <= high:
            size = 1 << 15
            while low % size != 0 or low + size - 1 > high:
                size >>= 1
            yield f"{match},tp_dst={low:#x}/{0x10000 - size:#x}"
            low += size


def _ports() -> Iterator[tuple[int, str, str, list[str]]]:
    """Number, MAC, source network and destinations of each port."""
    ports = zip(traffic.MACS, traffic.SOURCES, traffic.SOURCE_NETWORKS, traffic.addresses_behind())
    for number, (mac, own, network, behind) in enumerate(ports, 1):
        yield number, mac, network, [own, *behind]


def _flows(rules: list[dict[str, Any]]) -> list[str]:
    """Both ports filtered by `rules`, with connection tracking."""
    flows = ["table=1,priority=20,ct_state=+trk+est,ip,actions=resubmit(,2)",
             "table=3,priority=20,ct_state=+trk+est,ip,actions=output:NXM_NX_REG0[]"]
    for number, mac, network, hosts in _ports():
        flows.append(f"table=0,priority=10,ip,in_port={number},dl_src={mac},nw_src={network},"
                     "actions=ct(table=1)")
        for match in _matches(rules, "egress"):
            flows.append(f"table=1,priority=10,ct_state=+trk+new,in_port={number},{match},"
                         "actions=resubmit(,2)")
        send = f"mod_dl_src:{ROUTER_MAC},mod_dl_dst:{mac},dec_ttl,load:{number}->NXM_NX_REG0[]"
        for host in hosts:
            flows.append(f"table=2,priority=10,ip,nw_dst={host},actions={send},resubmit(,3)")
        for match in _matches(rules, "ingress"):
            flows.append(f"table=3,priority=10,ct_state=+trk+new,reg0={number},{match},"
                         "actions=ct(commit),output:NXM_NX_REG0[]")
    return flows


def _stateless_flows() -> list[str]:
    """Sources and host routes alone."""
    flows = []
    for number, mac, network, hosts in _ports():
        flows.append(f"table=0,priority=10,ip,in_port={number},dl_src={mac},nw_src={network},"
                     "actions=resubmit(,1)")
        for host in hosts:
            flows.append(f"table=1,priority=10,ip,nw_dst={host},actions=mod_dl_src:{ROUTER_MAC},"
                         f"mod_dl_dst:{mac},dec_ttl,output:{number}")
    return flows


class Ovs:
    """One ovs-vswitchd with two vhost-user client ports, everything of it in one directory."""

    def __init__(self, context: Context, children: Children, directory: Path,
                 rules: list[dict[str, Any]] | None) -> None:
        if not Path(VSWITCHD).exists() or shutil.which("ovsdb-server") is None:
            raise BenchError("OVS-DPDK is not installed (package openvswitch-switch-dpdk)")
        self._directory = directory
        self._environment = {**os.environ, "OVS_RUNDIR": str(directory), "OVS_LOGDIR": str(directory),
                             "OVS_DBDIR": str(directory), "OVS_SYSCONFDIR": str(directory)}
        database = directory / "conf.db"
        self._run("ovsdb-tool", "create", database, SCHEMA)
        self._db = f"unix:{directory}/db.sock"
        children.start(["ovsdb-server", database, f"--remote=p{self._db}"], context.other_core,
                       environment=self._environment)
        self._wait(directory / "db.sock")
        memory = "dpdk-socket-mem=1024" if context.huge else "dpdk-alloc-mem=1024"
        extra = "--no-pci --iova-mode=va --in-memory" + ("" if context.huge else " --no-huge -m 1024")
        self._vsctl("--no-wait", "init")
        self._vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                    f"other_config:{memory}", f"other_config:pmd-cpu-mask={1 << context.worker_core:#x}",
                    f"other_config:dpdk-lcore-mask={1 << context.other_core:#x}",
                    f"other_config:dpdk-extra={extra}")
        # In a network namespace that ends with it: the TAPs of its bridge are persistent.
        children.start(["unshare", "--net", VSWITCHD, self._db, f"--unixctl={directory}/vswitchd.ctl"],
                       environment=self._environment)
        self._wait(directory / "vswitchd.ctl")
        self._vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for number, socket in enumerate(traffic.sockets(directory), 1):
            self._vsctl("add-port", "br0", f"p{number}", "--", "set", "Interface", f"p{number}",
                        "type=dpdkvhostuserclient", f"options:vhost-server-path={socket}",
                        f"ofport_request={number}")
        self._load(_stateless_flows() if rules is None else _flows(rules))
        self._appctl("dpctl/ct-set-maxconns", "3000000")

    def _load(self, flows: list[str]) -> None:
        path = self._directory / "flows"
        path.write_text("\n".join(flows) + "\n")
        self._run("ovs-ofctl", "--bundle", "replace-flows", f"unix:{self._directory}/br0.mgmt", path)

    def counters(self) -> tuple[int, int]:
        """(busy cycles, packets) of the forwarding thread so far."""
        text = self._appctl("dpif-netdev/pmd-stats-show")
        cycles = re.search(r"processing cycles: (\d+)", text)
        packets = re.search(r"packets received: (\d+)", text)
        return (int(cycles[1]), int(packets[1])) if cycles and packets else (0, 0)

    def _run(self, *argv: object) -> str:
        done = subprocess.run([str(word) for word in argv], env=self._environment, text=True,
                              capture_output=True, check=False, timeout=60)
        if done.returncode != 0:
            raise BenchError(f"{argv[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _vsctl(self, *argv: object) -> str:
        return self._run("ovs-vsctl", f"--db={self._db}", "--timeout=30", *argv)

    def _appctl(self, *argv: object) -> str:
        return self._run("ovs-appctl", "-t", self._directory / "vswitchd.ctl", *argv)

    @staticmethod
    def _wait(path: Path) -> None:
        deadline = time.monotonic() + 30
        while not path.exists():
            if time.monotonic() > deadline:
                raise BenchError(f"{path.name} of OVS-DPDK did not appear within 30 s")
            time.sleep(0.05)


def sample(context: Context, options: list[object], rules: list[dict[str, Any]] | None,
           window: float | None = None) -> Sample:
    """A fresh OVS-DPDK, both ports filtered by `rules` or without connection tracking, measured once."""
    directory = context.fresh("pair")
    with context.children() as children:
        ovs = Ovs(context, children, directory, rules)
        return traffic.measure(context, children, traffic.listening(directory), options, ovs.counters,
                               window)
