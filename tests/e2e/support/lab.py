# SPDX-License-Identifier: Apache-2.0
"""Machines of their own kernel's making: a namespace each, on a TAP port of the daemon.

The daemon runs in a namespace too, so that its TAPs have no neighbours of the host's.
"""

from .netns import Namespace
from .wait import until
from .wire import Stream, Wire

GATEWAY4 = "10.0.0.1"
GATEWAY6 = "fe80::1"
GATEWAY_MAC = "02:00:5e:00:01:01"
DEVICE = "eth0"
# A security group's rules: whatever a machine sends.
SEND_ALL = [{"direction": "egress"}, {"direction": "egress", "ethertype": "ipv6"}]


class Machine(Namespace):
    """A namespace whose eth0 is a TAP port."""

    def __init__(self, lab, number, addresses):
        super().__init__(f"vm{number}")
        self.lab = lab
        self.port = f"vm{number}"
        self.mac = f"52:54:00:00:00:{number:02x}"
        self.addresses = addresses
        self.gateways = [GATEWAY4, GATEWAY6]

    @property
    def ip4(self):
        return next(a.split("/")[0] for a in self.addresses if ":" not in a)

    @property
    def ip6(self):
        return next(a.split("/")[0] for a in self.addresses if ":" in a)

    def attach(self):
        """Takes the TAP of the port, which must exist, and configures it as a guest would."""
        self.lab.router.ip("link", "set", self.port, "netns", self.name)
        self.ip("link", "set", self.port, "down")
        self.ip("link", "set", self.port, "name", DEVICE, "address", self.mac)
        self.ip("link", "set", DEVICE, "up")
        for address in self.addresses:
            nodad = ["nodad"] if ":" in address else []
            self.ip("address", "add", address, "dev", DEVICE, *nodad)
        for gateway in self.gateways:
            if any((":" in gateway) == (":" in address) for address in self.addresses):
                self.ip("route", "add", "default", "via", gateway, "dev", DEVICE)

    def wire(self):
        return Wire(self, DEVICE)

    def stream(self, target, address=None, **options):
        return Stream(self, target, address or target.ip4, **options)

    def ping(self, address, count=1, check=True, options=()):
        """Whether every ping was answered; check: fails if not."""
        # One by one: after the first answer, ping waits for the others twice as long as that one took.
        for _ in range(count):
            done = self.run("ping", "-n", "-q", "-c", 1, "-W", "10", *options, address, check=False)
            good = done.returncode == 0 and " 1 received" in done.stdout
            assert good or not check, f"{self.label} to {address}:\n{done.stdout}{done.stderr}"
            if not good:
                return False
        return True

    def no_ping(self, address, count=1):
        """That no ping is answered within a third of a second."""
        done = self.run("ping", "-n", "-q", "-c", count, "-i", "0.01", "-W", "0.3", address,
                        check=False)
        assert " 0 received" in done.stdout, f"{self.label} to {address}:\n{done.stdout}"

    def drops(self, reason):
        return self.lab.daemon.drops(self.port).get(reason, 0)

    def dropped(self, reason, before=0):
        """Waits until a drop of this reason has been counted beyond `before`."""
        until(lambda: self.drops(reason) > before,
              lambda: f"a drop {reason} of {self.port}: {self.lab.daemon.drops(self.port)}", 5)


class Lab:
    """A daemon in a namespace of its own, and machines on TAP ports."""

    def __init__(self, resources, *options, start=True, **daemon_options):
        self.resources = resources
        self.router = resources.namespace("router")
        self.daemon = resources.daemon(*options, netns=self.router, **daemon_options)
        self.machines = {}
        if start:
            self.daemon.start()

    def machine(self, number, addresses=None, apply=True, attach=True, gateways=None, **port):
        """A machine vmN with 10.0.0.1N/24 and 2001:db8::1N/64. port: members of port.apply."""
        if addresses is None:
            addresses = [f"10.0.0.{10 + number}/24", f"2001:db8::{10 + number}/64"]
        made = Machine(self, number, addresses)
        self.resources.namespaces.append(made)
        if gateways is not None:
            made.gateways = gateways
        self.machines[number] = made
        if apply:
            self.apply(made, **port)
        if apply and attach:
            made.attach()
        return made

    def params(self, machine, **port):
        """The desired port of a machine; `port` overrides members."""
        return {"name": machine.port, "kind": "tap", "mac": machine.mac,
                "addresses": machine.addresses, "gateways": machine.gateways, "groups": ["any"],
                **port}

    def apply(self, machine, **port):
        result = self.daemon.call("port.apply", **self.params(machine, **port))
        until(lambda: self.daemon.port(machine.port)["actual"]["state"] == "running",
              lambda: f"{machine.port} running: {self.daemon.port(machine.port)['actual']}")
        return result

    def attach_all(self):
        """After a restart of the daemon, whose TAPs are new ones."""
        for machine in self.machines.values():
            until(lambda m=machine: self.daemon.port(m.port)["actual"]["state"] == "running",
                  f"{machine.port} running")
            machine.attach()
