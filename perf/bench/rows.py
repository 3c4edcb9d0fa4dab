# SPDX-License-Identifier: Apache-2.0
"""Every row of `make bench`, in the order in which they run."""

from __future__ import annotations

import dataclasses
from typing import Callable

from . import control_rows, firewall, forwarding, restart, segments, stages, tenants, uplinks
from .context import Context
from .figures import Figure


@dataclasses.dataclass(frozen=True)
class Row:
    name: str  # what --rows matches; its figures are named "name: ..."
    what: str
    measure: Callable[[Context], list[Figure]]


ALL = [
    Row("forwarding", "64-byte UDP between two VMs, over testpmd io", forwarding.forwarding),
    Row("scale", "one busy pair among 1,000 connected ports", forwarding.scale),
    Row("tso", "64 KB TCP segments between two VMs, over testpmd io", forwarding.tso),
    Row("sizes", "frames of 64 to 1,514 bytes, filtered, over testpmd io", forwarding.sizes),
    Row("latency", "latency at half of the own throughput, over testpmd io", forwarding.latency),
    Row("search", "RFC 2544 throughput and partial drop rate", forwarding.search),
    Row("pipeline", "the pipeline without devices, stage by stage", forwarding.pipeline),
    Row("workers", "two workers that share every flow, over one", forwarding.workers),
    Row("many-routes", "a million host routes over one route", forwarding.many_routes),
    Row("established", "connections that are there, both ports filtered by 100 rules", firewall.established),
    Row("rules", "10,000 rules at both ports over one", firewall.many_rules),
    Row("new-flows", "every packet begins a connection", firewall.new_connections),
    Row("connections", "TCP connections that are opened and closed", firewall.tcp_connections),
    Row("stages", "cycle accounting on over off, established flows", stages.stages),
    Row("flow-table", "memory of a connection", firewall.flow_memory),
    Row("changes", "a member of a large set, a policy of 10,000 rules", firewall.changes),
    Row("routes", "host routes in bulk, and the memory of each", control_rows.routes),
    Row("port", "ports added and removed under traffic", control_rows.ports),
    Row("restart", "from SIGKILL and exec to the first packet", restart.restart),
    Row("frontend", "from a frontend's return to its first packet", restart.frontend),
    Row("uplink", "64-byte UDP between a VM and an uplink, over two VMs", uplinks.uplink),
    Row("tunnels", "64-byte UDP into and out of SRv6 tunnels, over plain", segments.tunnels),
    Row("tunnel-tso", "64 KB TCP segments into SRv6 tunnels, over plain", segments.tso),
    Row("vrfs", "4,096 VRFs with 250 routes each", tenants.vrfs),
    Row("encapsulations", "routes into tunnels, one and in bulk", tenants.encapsulations),
    Row("gateway-loss", "a flow by one of two gateways whose route is withdrawn", tenants.gateway_loss),
    Row("kernel-routes", "routes of the kernel in bulk, and the same read at a start", uplinks.kernel_routes),
    Row("loading", "traffic between VMs while a million routes of the kernel come in", uplinks.loading),
    Row("announce", "from a VM's connection to its /32 in a neighbour's table", uplinks.announce),
    Row("link", "a link that is cut, and a daemon that is killed, under traffic over it", uplinks.link),
    Row("idle", "CPU time of an idle daemon with ten VMs", control_rows.idle),
    Row("memory", "memory at start", control_rows.memory),
]
