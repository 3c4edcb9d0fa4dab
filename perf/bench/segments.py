# SPDX-License-Identifier: Apache-2.0
"""Rows about segment routing: into and out of tunnels, over the same packets without one.

    vm (VRF 7) - slash32d - wire (an uplink, DPDK's virtio device on a vhost-user socket of the generator's)"""

from __future__ import annotations

from typing import Any, Sequence

from . import traffic
from .compare import Comparison
from .context import Context
from .figures import Figure
from .router import ROUTER_MAC, Router
from .uplinks import measure_behind_wire

LOCATOR, OURS, THEIRS, PEER = "fc00:0:1::/48", "fc00:0:1:7::", "fc00:0:2:7::", "fc00:0:2::"
NEIGHBOUR = "2001:db8::1"
TENANT = 7


def _routes(router: Router, tunnel: bool) -> None:
    """The generator's destinations: behind the wire, and behind the VM."""
    behind_wire, behind_vm = traffic.addresses_behind()
    vrf = TENANT if tunnel else 0
    wire: dict[str, Any] = {"segments": [THEIRS]} if tunnel else {"port": "wire", "via": NEIGHBOUR}
    if tunnel:
        router.control.call("route.apply", routes=[
            {"prefixes": [f"{PEER}/48"], "next_hop": {"port": "wire", "via": NEIGHBOUR}},
            {"prefixes": [f"{OURS}/128"], "next_hop": {"sid": {"behavior": "end.dt46", "vrf": vrf}}}])
    for addresses, to in ((behind_vm, {"port": "b"}), (behind_wire, wire)):
        router.control.call("route.apply", routes=[
            {"vrf": vrf, "prefixes": [f"{address}/32" for address in addresses], "next_hop": to}])


def _sample(context: Context, sends: str, tunnel: bool, more: Sequence[object] = (), mtu: int = 1500,
            ) -> traffic.Sample:
    """A fresh slash32d; one side sends to the other, 64-byte UDP unless `more` says otherwise. The generator makes
    the wire's socket, so it comes first."""
    directory = context.fresh("pair")
    wire, vm = traffic.sockets(directory)
    options: list[object] = ["--one-way", *(["--reverse"] if sends == "vm" else []), *more]
    if tunnel:  # what the wire sends, and what is taken for a packet there
        options += ["--srv6-sid", f"{OURS},none", "--srv6-src", PEER]
    with context.children() as children:
        device = f"net_virtio_user0,path={wire},queue_size=1024,mac={ROUTER_MAC}"
        router = Router(context, children, directory, "busy", options=[
            "--uplink", f"name=wire;devargs={device};mtu={mtu};address=192.0.2.0;address=2001:db8::",
            *(["--srv6-locator", LOCATOR, "--srv6-locators", "fc00::/32"] if tunnel else [])])

        def set_up() -> None:
            if tunnel:
                router.control.call("vrf.apply", vrf=TENANT)
            router.add_port("b", vm, traffic.MACS[1], traffic.SOURCES[1], mtu=mtu,
                            **({"vrf": TENANT} if tunnel else {}))
            router.control.call("neighbor.apply", port="wire", address=NEIGHBOUR, mac=traffic.MACS[0])
            _routes(router, tunnel)

        return measure_behind_wire(context, children, router, set_up, wire,
                                   [f"net_vhost0,iface={wire}", f"listen:{vm}"], options)


def tunnels(context: Context) -> list[Figure]:
    """Cycles a packet into and out of a tunnel of one segment, over the same inner packets routed plainly."""
    got = Comparison(context, context.runs(15, 2), {
        "plain, from the VM": lambda: _sample(context, "vm", False),
        "into a tunnel": lambda: _sample(context, "vm", True),
        "plain, from the uplink": lambda: _sample(context, "wire", False),
        "out of a tunnel": lambda: _sample(context, "wire", True),
    })
    return [
        got.over_by_cycles("tunnels: 64 B into a tunnel over plain, by cycles", "into a tunnel",
                           "plain, from the VM", 0.8),
        got.over_by_cycles("tunnels: 64 B out of a tunnel over plain, by cycles", "out of a tunnel",
                           "plain, from the uplink", 0.8),
        *(got.cycles(f"tunnels: {name}, busy", name)
          for name in ("plain, from the VM", "into a tunnel", "plain, from the uplink", "out of a tunnel")),
    ]


def tso(context: Context) -> list[Figure]:
    """TCP segments of 64 KB from a VM into a tunnel, over the same out of the uplink without one. Both are cut by the
    router: the uplink's device cuts none."""
    figures = []
    for mtu in (9000, 1500):
        # What fits the tunnel as well.
        options: list[object] = ["--tso", "--window", 16, "--flows", 64, "--dst-count", 64, "--mss", mtu - 100]

        def take(tunnel: bool, mtu: int = mtu, options: list[object] = options) -> traffic.Sample:
            return _sample(context, "vm", tunnel, options, mtu)

        got = Comparison(context, context.runs(5, 2), {
            "plain": lambda take=take: take(False),
            "tunnel": lambda take=take: take(True),
        })
        figures += [
            got.over_by_cycles(f"tunnel-tso: 64 KB segments, {mtu:,} bytes of MTU, over plain, by cycles", "tunnel",
                               "plain", 0.85),
            *(got.cycles(f"tunnel-tso: {name}, {mtu:,} bytes of MTU, busy", name) for name in ("plain", "tunnel")),
        ]
    return figures
