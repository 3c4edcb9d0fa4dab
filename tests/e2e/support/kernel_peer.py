# SPDX-License-Identifier: Apache-2.0
"""A neighbour of tor0 in a Fabric whose kernel does segment routing for a machine behind it.

    router - up0 - tor0 (seg6, seg6local) - far: 10.7.0.9, 2001:db8:7::9

The router's machine is 10.7.0.11, 2001:db8:7::11, of VRF 7; its locator is fc00:0:1::/48, the neighbour's
fc00:0:2::/48."""

from .fabric import HOST6, connect

VM4, VM6, FAR4, FAR6 = "10.7.0.11", "2001:db8:7::11", "10.7.0.9", "2001:db8:7::9"
OURS = "fc00:0:1:7::"
THEIRS4, THEIRS6, THEIR_END = "fc00:0:2:4::", "fc00:0:2:6::", "fc00:0:2:1::"


class Peer:
    """Has End.DX4, End.DX6 and End. send_by() says by which segments it sends what is for the router's machine.

    hmac    its key's id, with which it signs and which it requires of others
    """

    def __init__(self, fabric, resources, hmac=None):
        self.hmac = ("hmac", hmac) if hmac else ()
        self.tor = fabric.tors[0]
        self.far = resources.namespace("far")
        connect(self.tor, "eth9", self.far, "eth0", ["10.7.0.254/24", "2001:db8:7::fe/64"],
                [f"{FAR4}/24", f"{FAR6}/64"])
        seg6 = ["seg6_enabled", *(["seg6_require_hmac"] if hmac else [])]
        for name in ("ipv4.ip_forward", "ipv6.conf.all.forwarding",
                     *(f"ipv6.conf.{device}.{one}" for device in ("all", "eth0") for one in seg6)):
            self.tor.sysctl(f"net.{name}", 1)
        # What it sends by our End comes back with its own address.
        for name in ("all.rp_filter", "eth0.rp_filter"):
            self.tor.sysctl(f"net.ipv4.conf.{name}", 0)
        for name in ("all.accept_local", "eth0.accept_local"):
            self.tor.sysctl(f"net.ipv4.conf.{name}", 1)
        self.tor.ip("sr", "tunsrc", "set", "fc00:0:2::")
        self.tor.ip("-6", "route", "add", "fc00:0:1::/48", "via", HOST6[0], "dev", "eth0")
        for address, via in ((VM4, "10.7.0.254"), (VM6, "2001:db8:7::fe")):
            # The kernel tells nobody behind it of what its tunnels take.
            self.far.ip("route", "add", address, "via", via, "mtu", "1300" if hmac else "1400")
        self.local(THEIRS4, "End.DX4", "nh4", FAR4, device="eth9")
        self.local(THEIRS6, "End.DX6", "nh6", FAR6, device="eth9")
        self.local(THEIR_END, "End", device="eth9")

    def local(self, sid, action, *arguments, device):
        self.tor.ip("-6", "route", "add", f"{sid}/128", "encap", "seg6local", "action", action, *arguments,
                    "dev", device)

    def send_by(self, *segments, mode="encap", hmac=None):
        for address in (VM4, VM6):
            self.tor.ip("route", "replace", address, "encap", "seg6", "mode", mode, "segs", ",".join(segments),
                        *(self.hmac if hmac is None else hmac), "dev", "eth0")
