# SPDX-License-Identifier: Apache-2.0
"""OVS-DPDK with connection tracking, from its Debian package, as a peer of the same generator: it tracks,
rewrites both MAC addresses and decrements the TTL, as slash32d does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from . import traffic
from .context import Context
from .processes import BenchError, Children
from .router import ROUTER_MAC
from .traffic import Sample

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Ovs:
    """One ovs-vswitchd with two vhost-user client ports, everything of it in one directory."""

    def __init__(self, context: Context, children: Children, directory: Path) -> None:
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
        children.start([VSWITCHD, self._db, f"--unixctl={directory}/vswitchd.ctl"],
                       environment=self._environment)
        self._wait(directory / "vswitchd.ctl")
        self._vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for number, socket in enumerate(traffic.sockets(directory), 1):
            self._vsctl("add-port", "br0", f"p{number}", "--", "set", "Interface", f"p{number}",
                        "type=dpdkvhostuserclient", f"options:vhost-server-path={socket}",
                        f"ofport_request={number}")
        self._flows()
        self._appctl("dpctl/ct-set-maxconns", "3000000")

    def _flows(self) -> None:
        rules = ["table=0,priority=10,ip,actions=ct(table=1)"]
        for source, to, mac in ((1, 2, traffic.MACS[1]), (2, 1, traffic.MACS[0])):
            send = f"mod_dl_src:{ROUTER_MAC},mod_dl_dst:{mac},dec_ttl,output:{to}"
            rules += [f"table=1,priority=10,ct_state=+trk+est,ip,in_port={source},actions={send}",
                      f"table=1,priority=9,ct_state=+trk+new,ip,in_port={source},"
                      f"actions=ct(commit),{send}"]
        path = self._directory / "flows"
        path.write_text("\n".join(rules) + "\n")
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


def sample(context: Context, options: list[object]) -> Sample:
    directory = context.fresh("pair")
    with context.children() as children:
        ovs = Ovs(context, children, directory)
        return traffic.measure(context, children, directory, options, ovs.counters)
