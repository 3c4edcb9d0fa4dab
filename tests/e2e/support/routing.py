# SPDX-License-Identifier: Apache-2.0
"""BGP speakers in a namespace: FRR, or BIRD. A Speaker is given its sessions and what it redistributes.

    redistribute    "host": the routes of slash32d's protocol number; None: nothing
"""

import dataclasses
import re
import shutil

from .wait import until

PROTOCOL = 132  # of the routes of slash32d


@dataclasses.dataclass
class Session:
    """With a neighbour on a link: addresses of both families at its two ends."""

    local_as: int
    remote_as: int
    remote4: str
    local6: str
    remote6: str


class Speaker:
    """One router. What it learns by BGP goes into the namespace's main table."""

    def __init__(self, namespace, directory, router_id, session, redistribute=None):
        self.namespace = namespace
        self.directory = directory
        self.router_id = router_id
        self.session = session
        self.redistribute = redistribute
        self.processes = []

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="ascii")
        return path

    def start(self):
        raise NotImplementedError

    def route(self, address):
        """What the kernel of the namespace has for a host route; "" for nothing."""
        family = "-6" if ":" in address else "-4"
        return self.namespace.ip(family, "route", "show", address).strip()

    def has(self, *addresses):
        return all(self.route(address) for address in addresses)

    def has_none(self, *addresses):
        return not any(self.route(address) for address in addresses)


class Frr(Speaker):
    """zebra and bgpd of the package frr, without its own service."""

    FOLDER = "/usr/lib/frr"

    def start(self):
        s = self.session
        kernel = "  redistribute kernel route-map HOST\n" if self.redistribute else ""
        families = "".join(
            f" address-family {family} unicast\n{kernel}"
            f"  neighbor {peer} activate\n  neighbor {peer} next-hop-self\n exit-address-family\n"
            for family, peer in (("ipv4", s.remote4), ("ipv6", s.remote6)))
        peers = "".join(
            f" neighbor {peer} remote-as {s.remote_as}\n neighbor {peer} timers connect 1\n"
            f" neighbor {peer} advertisement-interval 0\n" for peer in (s.remote4, s.remote6))
        # They run as the package's own user.
        shutil.chown(self.directory, "frr", "frr")
        zebra = self.write("zebra.conf", "log stdout\n")
        bgpd = self.write("bgpd.conf", f"""log stdout
route-map HOST permit 10
 match interface slash32
router bgp {s.local_as}
 bgp router-id {self.router_id}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
{peers}{families}""")
        for program, config in (("zebra", zebra), ("bgpd", bgpd)):
            log = open(self.directory / f"{program}.log", "w", encoding="ascii")
            with log:
                self.processes.append(self.namespace.start(
                    f"{self.FOLDER}/{program}", "-f", config, "-i", self.directory / f"{program}.pid",
                    "-z", self.directory / "zserv.api", "--vty_socket", self.directory,
                    "-P", 0, stdout=log))
            until(lambda p=program: (self.directory / f"{p}.vty").exists(), f"{program} of {self.namespace.label}")

    def sessions(self):
        """How many are established."""
        text = self.namespace.run("vtysh", "--vty_socket", self.directory, "-c", "show bgp neighbors").stdout
        return len(re.findall(r"BGP state = Established", text))


class Bird(Speaker):
    """The package bird2, without its own service."""

    def start(self):
        s = self.session
        wanted = f"krt_source = {PROTOCOL}" if self.redistribute else "false"
        learn = " learn;" if self.redistribute else ""
        kernel = "".join(
            f"protocol kernel {{{learn} {family} {{ import where {wanted}; "
            f"export where source = RTS_BGP; }}; }}\n" for family in ("ipv4", "ipv6"))
        sessions = "".join(
            f"protocol bgp tor{family[-1]} {{\n local as {s.local_as};\n neighbor {peer} as {s.remote_as};\n"
            f" connect retry time 1; connect delay time 0; error wait time 1, 2;\n"
            f" {family} {{ import all; next hop self; export where {wanted}; }};\n}}\n"
            for family, peer in (("ipv4", s.remote4), ("ipv6", s.remote6)))
        config = self.write("bird.conf", f"log stderr all;\nrouter id {self.router_id};\n"
                                         f"protocol device {{ }}\n{kernel}{sessions}")
        with open(self.directory / "bird.log", "w", encoding="ascii") as log:
            self.processes.append(self.namespace.start(
                "bird", "-f", "-c", config, "-s", self.control, "-P", self.directory / "bird.pid",
                stdout=log))
        until(self.control.exists, f"bird of {self.namespace.label}")

    @property
    def control(self):
        return self.directory / "bird.ctl"

    def sessions(self):
        """How many are established."""
        text = self.namespace.run("birdc", "-s", self.control, "show", "protocols").stdout
        return len(re.findall(r"Established", text))
