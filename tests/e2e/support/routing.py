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
    """With a neighbour on a link: addresses of both families at its two ends. Unnumbered, by `device`: the
    neighbour's link-local address alone, which carries IPv4 too (RFC 8950)."""

    local_as: int
    remote_as: int
    remote4: str
    local6: str
    remote6: str
    device: str = ""


@dataclasses.dataclass
class Peer:
    address: str
    remote_as: int
    families: tuple
    device: str = ""


class Speaker:
    """One router. What it learns by BGP goes into the namespace's main table, over all equal ways."""

    def __init__(self, namespace, directory, router_id, sessions, redistribute=None):
        self.namespace = namespace
        self.directory = directory
        self.router_id = router_id
        self.sessions_wanted = sessions if isinstance(sessions, list) else [sessions]
        self.redistribute = redistribute
        self.processes = []

    @property
    def peers(self):
        """Of all sessions: one of both families on an unnumbered link, else one of each."""
        made = []
        for s in self.sessions_wanted:
            if s.device:
                made.append(Peer(s.remote6, s.remote_as, ("ipv4", "ipv6"), s.device))
            else:
                made += [Peer(s.remote4, s.remote_as, ("ipv4",)), Peer(s.remote6, s.remote_as, ("ipv6",))]
        return made

    @property
    def local_as(self):
        return self.sessions_wanted[0].local_as

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="ascii")
        return path

    def start(self):
        raise NotImplementedError

    def sessions(self):
        """How many are established."""
        raise NotImplementedError

    def marks(self):
        """Changes when a session is lost, though it comes back."""
        raise NotImplementedError

    def established(self):
        return self.sessions() == len(self.peers)

    def kill(self):
        """Without a word to anybody."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

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
    REDISTRIBUTE = {None: "", "host": "  redistribute kernel route-map HOST\n",
                    "connected": "  redistribute connected\n"}

    def start(self):
        # A hypervisor is no way between its neighbours.
        out = "  neighbor {} filter-list OWN out\n" if self.redistribute == "host" else ""
        families = "".join(
            f" address-family {family} unicast\n{self.REDISTRIBUTE[self.redistribute]}  maximum-paths 8\n" +
            "".join(f"  neighbor {name} activate\n  neighbor {name} next-hop-self\n{out.format(name)}"
                    for name, peer in self.named_peers() if family in peer.families) + " exit-address-family\n"
            for family in ("ipv4", "ipv6"))
        peers = "".join(
            f" neighbor {name} {'interface ' if peer.device else ''}remote-as {peer.remote_as}\n" +
            (f" neighbor {name} capability extended-nexthop\n" if peer.device else "") +
            f" neighbor {name} timers connect 1\n neighbor {name} advertisement-interval 0\n"
            for name, peer in self.named_peers())
        # They run as the package's own user.
        shutil.chown(self.directory, "frr", "frr")
        # The kernel takes a link that is down out of its next-hop objects, and zebra 8.4 goes on by them.
        zebra = self.write("zebra.conf", "log stdout\nno zebra nexthop kernel enable\n")
        bgpd = self.write("bgpd.conf", f"""log stdout
route-map HOST permit 10
 match interface slash32
bgp as-path access-list OWN permit ^$
router bgp {self.local_as}
 bgp router-id {self.router_id}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
{peers}{families}""")
        for program, config in (("zebra", zebra), ("bgpd", bgpd)):
            vty = self.directory / f"{program}.vty"
            vty.unlink(missing_ok=True)
            log = open(self.directory / f"{program}.log", "w", encoding="ascii")
            with log:
                self.processes.append(self.namespace.start(
                    f"{self.FOLDER}/{program}", "-f", config, "-i", self.directory / f"{program}.pid",
                    "-z", self.directory / "zserv.api", "--vty_socket", self.directory,
                    "-P", 0, stdout=log))
            until(vty.exists, f"{program} of {self.namespace.label}")

    def named_peers(self):
        """With what the configuration calls them."""
        return [(peer.device or peer.address, peer) for peer in self.peers]

    def sessions(self):
        return len(re.findall(r"BGP state = Established", self.ask("show bgp neighbors")))

    def marks(self):
        return re.findall(r"Connections established \d+; dropped \d+", self.ask("show bgp neighbors"))

    def ask(self, *commands):
        words = [word for command in commands for word in ("-c", command)]
        return self.namespace.run("vtysh", "--vty_socket", self.directory, *words).stdout

    def drain(self):
        """Out of service, as for maintenance: its neighbours prefer others, and it goes on (RFC 8326)."""
        self.ask("configure terminal", f"router bgp {self.local_as}", "bgp graceful-shutdown")


class Bird(Speaker):
    """The package bird2, without its own service."""

    # Of what is connected only its own addresses: a link's prefix would lead to the link by way of itself.
    REDISTRIBUTE = {None: "false", "host": f"krt_source = {PROTOCOL}",
                    "connected": "(source = RTS_DEVICE && net.len >= 32 && net.len != 127)"}

    def start(self):
        own = self.REDISTRIBUTE[self.redistribute]
        learn = " learn;" if self.redistribute == "host" else ""
        direct = "protocol direct { ipv4; ipv6; }\n" if self.redistribute == "connected" else ""
        # A hypervisor is no way between its neighbours.
        told = own if self.redistribute == "host" else f"source = RTS_BGP || {own}"
        imported = own if self.redistribute == "host" else "false"
        kernel = "".join(
            f"protocol kernel {{{learn} merge paths on; {family} {{ import where {imported}; "
            f"export where source = RTS_BGP; }}; }}\n" for family in ("ipv4", "ipv6"))
        def channel(family, peer):
            extended = "extended next hop; " if peer.device and family == "ipv4" else ""
            return f" {family} {{ {extended}import all; next hop self; export where {told}; }};\n"

        sessions = "".join(
            f"protocol bgp peer{i} {{\n local as {self.local_as};\n"
            f" neighbor {peer.address}{'%' + peer.device if peer.device else ''} as {peer.remote_as};\n"
            f" connect retry time 1; connect delay time 0; error wait time 1, 2;\n" +
            "".join(channel(family, peer) for family in peer.families) + "}\n"
            for i, peer in enumerate(self.peers))
        config = self.write("bird.conf", f"log stderr all;\nrouter id {self.router_id};\n"
                                         f"protocol device {{ }}\n{direct}{kernel}{sessions}")
        self.control.unlink(missing_ok=True)
        with open(self.directory / "bird.log", "w", encoding="ascii") as log:
            self.processes.append(self.namespace.start(
                "bird", "-f", "-c", config, "-s", self.control, "-P", self.directory / "bird.pid",
                stdout=log))
        until(self.control.exists, f"bird of {self.namespace.label}")

    @property
    def control(self):
        return self.directory / "bird.ctl"

    def marks(self):
        # Since when, which it reckons anew each time: to the second, not to the millisecond.
        since = re.findall(r"^(peer\d+) .*?([\d:.]+)\s+Established", self.ask("show", "protocols"), re.MULTILINE)
        return [(name, time[:-6], round(float(time[-6:]))) for name, time in since]

    def ask(self, *words):
        return self.namespace.run("birdc", "-s", self.control, *words).stdout

    def sessions(self):
        return len(re.findall(r"Established", self.ask("show", "protocols")))

    def drain(self):
        """Out of service, as for maintenance: its neighbours prefer others, and it goes on."""
        config = self.directory / "bird.conf"
        text = config.read_text(encoding="ascii")
        longer = f"{{ bgp_path.prepend({self.local_as}); bgp_path.prepend({self.local_as}); accept; }}"
        config.write_text(re.sub(r"export where source = RTS_BGP \|\| [^;]*;", f"export filter {longer};", text),
                          encoding="ascii")
        assert "Reconfigured" in self.ask("configure")
