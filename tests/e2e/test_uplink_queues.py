# SPDX-License-Identifier: Apache-2.0
"""An uplink with a receive queue for each worker: connections are spread over them."""

import os
import socket

import pytest
from support import Lab, until
from test_uplink import FAR4, PEER4, PEER6, ROUTER4, ROUTER6, configure_peer, program

FLOWS = 64
PACKETS = 10


@pytest.fixture(scope="module")
def wired(needs_tap, module_resources):
    """(lab, vm1): the kernel of the router's namespace is the uplink's other end."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    assert len(cores) == 2, "needs two processors"
    lab = Lab(module_resources, "--workers-cores", ",".join(map(str, cores)), "--uplink",
              f"name=up0;devargs=net_tap0,iface=wire0;queues=2;address={ROUTER4};address={ROUTER6}")
    configure_peer(lab.router, "wire0")
    program(lab.daemon, lab.router.mac("wire0"))
    return lab, lab.machine(1)


def received(daemon):
    workers = daemon.call("stats", sections=["workers"])["workers"]
    return [worker["rx_packets"] for worker in workers]


@pytest.mark.parametrize("source,target", [(FAR4, "ip4"), (PEER6, "ip6")])
def test_connections_are_spread_over_the_workers(wired, source, target):
    lab, vm1 = wired
    vm1.ping(PEER4, 1)
    before = received(lab.daemon)
    assert len(before) == 2
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    for flow in range(FLOWS):
        with lab.router.inside(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender:
            sender.bind((source, 20000 + flow))
            for _ in range(PACKETS):
                sender.sendto(b"spread", (getattr(vm1, target), 7000))
    until(lambda: sum(received(lab.daemon)) - sum(before) >= FLOWS * PACKETS, "all have come")
    for worker, (now, then) in enumerate(zip(received(lab.daemon), before)):
        assert now - then >= FLOWS * PACKETS / 8, f"worker {worker} got {now - then}"
