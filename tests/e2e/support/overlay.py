# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses, over two hypervisors and a node whose kernel does the segment routing.

    a1, b1 - hypervisor0 -+         +- hypervisor1 - a2, b2        node N has the locator fc00:0:N::/48
                          +- tors --+
                              |
                            spine (Linux) - a3, b3                 node 3

Machine N of both tenants is 10.7.0.N. Tenant a is VRF 7, b is VRF 8."""

from .fabric import BgpFabric, connect
from .wait import until

TENANTS = {"a": 7, "b": 8}
GATEWAY = "10.7.0.254"


def address(number):
    return f"10.7.0.{number}"


def sid(node, tenant):
    """The segment by which a node takes what is for a tenant."""
    return f"fc00:0:{node}:{TENANTS[tenant]}::"


class Overlay(BgpFabric):
    """`machines`: by tenant and number. Those of the third node are namespaces behind the spine's kernel."""

    def __init__(self, resources, kind):
        super().__init__(resources, kind, "--srv6-locator", "fc00:0:{node}::/48", "--srv6-locators", "fc00::/32",
                         hypervisors=2)
        self.machines = {}
        for node, hypervisor in enumerate(self.hypervisors, 1):
            self._fill(hypervisor, node)
        self._make_linux_node(resources)
        for one in self.hypervisors:
            until(lambda o=one: all(f"fc00:0:{n}::/48" in o.host.ip("-6", "route", "show") for n in (1, 2, 3)),
                  lambda o=one: "all locators, not:\n" + o.host.ip("-6", "route", "show"), 30)

    def _fill(self, hypervisor, node):
        daemon = hypervisor.lab.daemon
        for tenant, vrf in TENANTS.items():
            daemon.call("vrf.apply", vrf=vrf, name=f"tenant {tenant}")
            daemon.call("route.apply", routes=[{"prefixes": [f"{sid(node, tenant)}/128"],
                                                "next_hop": {"sid": {"behavior": "end.dt46", "vrf": vrf}}}])
            for other in {1, 2, 3} - {node}:
                daemon.call("route.apply", routes=[{"vrf": vrf, "prefixes": [f"{address(other)}/32"],
                                                    "next_hop": {"segments": [sid(other, tenant)]}}])
            number = 10 * vrf + node  # of the port: names and MACs are of a hypervisor, not of a VRF
            self.machines[tenant, node] = hypervisor.lab.machine(
                number, [f"{address(node)}/24"], gateways=[GATEWAY], vrf=vrf)

    def _make_linux_node(self, resources):
        """The spine as a third node. Its kernel has no VRFs: each tenant has a routing table of its own."""
        self.spine.ip("-6", "address", "add", "fc00:0:3::1/48", "dev", "lo", "nodad")
        for name in ("ipv4.ip_forward", "ipv6.conf.all.forwarding", "ipv6.conf.all.seg6_enabled",
                     *(f"ipv6.conf.eth{i}.seg6_enabled" for i in (0, 1))):
            self.spine.sysctl(f"net.{name}", 1)
        self.spine.sysctl("net.ipv4.conf.all.rp_filter", 0)
        self.spine.ip("sr", "tunsrc", "set", "fc00:0:3::1")
        for tenant, vrf in TENANTS.items():
            machine = resources.namespace(f"{tenant}3")
            device = f"tenant-{tenant}"
            # By its own address alone the kernel could not tell the tenants apart.
            apart = f"10.{10 * vrf}.0.3"
            connect(self.spine, device, machine, "eth0", [], [f"{address(3)}/24", f"{apart}/32"])
            self.spine.ip("route", "add", apart, "dev", device)
            self.spine.sysctl(f"net.ipv4.conf.{device}.proxy_arp", 1)
            self.spine.sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)
            self.spine.ip("rule", "add", "iif", device, "lookup", vrf)
            for node in (1, 2):
                self.spine.ip("route", "add", address(node), "encap", "seg6", "mode", "encap", "segs",
                              sid(node, tenant), "dev", "eth0", "table", vrf)
            self.spine.ip("-6", "route", "add", f"{sid(3, tenant)}/128", "encap", "seg6local", "action", "End.DX4",
                          "nh4", apart, "dev", device)
            self.machines[tenant, 3] = machine
