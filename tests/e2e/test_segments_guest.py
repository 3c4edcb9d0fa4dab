# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses, here and in a guest whose kernel has VRFs and compressed segments.

    vm1 (VRF 7), vm2 (VRF 8) - slash32d - up0 (vhost-user) - eth0, guest: vrf7, vrf8
    10.7.0.11, 2001:db8:7::11                                10.7.0.9, 2001:db8:7::9"""

import json
import shutil
import sys
from pathlib import Path

import pytest
from support import until
from support.lab import Lab

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from guest import Guest, Nic, build_image  # noqa: E402
from guest.image import with_programs  # noqa: E402

BOOT_S = 180  # without KVM, on a busy machine
HERE6, THERE6 = "2001:db8:f0::", "2001:db8:f0::1"  # the link's ends
VM4, VM6, FAR4, FAR6 = "10.7.0.11", "2001:db8:7::11", "10.7.0.9", "2001:db8:7::9"
TENANTS = (7, 8)
OTHER4 = "10.8.0.12"  # of vm2 alone


def ours(tenant, behavior="46"):
    """A segment of this node: end.dt46, end.dt4 or end.dt6 of a tenant. That of end.dt46 is a uDT46, too."""
    return f"fc00:0:1:e{behavior}{tenant}::"


def theirs(tenant, behavior="46"):
    return f"fc00:0:2:e{behavior}{tenant}::"


# The shell has an ip of its own, which knows no segments.
IP = 'ip() { /bin/ip "$@"; }; set -e\n'
SET_UP = f"""
echo 1 >/proc/sys/net/vrf/strict_mode
for one in ipv4/ip_forward ipv6/conf/all/forwarding ipv6/conf/all/seg6_enabled ipv6/conf/eth0/seg6_enabled; do
    echo 1 >/proc/sys/net/$one
done
for one in all default eth0; do echo 0 >/proc/sys/net/ipv4/conf/$one/rp_filter; done
ip sr tunsrc set fc00:0:2::
ip -6 route add fc00:0:1::/48 via {HERE6} dev eth0
ip -6 route add fc00:0:2::/48 encap seg6local action End flavors next-csid lblen 32 nflen 16 dev eth0
for tenant in {' '.join(map(str, TENANTS))}; do
    ip link add vrf$tenant type vrf table $tenant
    echo 0 >/proc/sys/net/ipv4/conf/vrf$tenant/rp_filter
    ip link set vrf$tenant up
    ip address add {FAR4}/32 dev vrf$tenant
    ip address add {FAR6}/128 dev vrf$tenant nodad
    ip -6 route add fc00:0:2:e46$tenant::/128 encap seg6local action End.DT46 vrftable $tenant dev vrf$tenant
    ip -6 route add fc00:0:e46$tenant::/48 encap seg6local action End.DT46 vrftable $tenant dev vrf$tenant
    ip -6 route add fc00:0:2:e4$tenant::/128 encap seg6local action End.DT4 vrftable $tenant dev vrf$tenant
    ip -6 route add fc00:0:2:e6$tenant::/128 encap seg6local action End.DT6 vrftable $tenant dev vrf$tenant
done
"""


@pytest.fixture(scope="module")
def lab(needs_tap, module_resources):
    path = module_resources.directory() / "up0.sock"
    made = Lab(module_resources, "--uplink", f"name=up0;devargs=net_vhost0,iface={path},client=1",
               "--srv6-locator", "fc00:0:1::/48", "--srv6-locators", "fc00::/32", "--host-interface", "slash32")
    made.path = path
    for tenant in TENANTS:
        made.daemon.call("vrf.apply", vrf=tenant)
        for behavior in ("46", "4", "6"):
            sid(made, f"{ours(tenant, behavior)}/{64 if behavior == '46' else 128}", behavior=f"end.dt{behavior}",
                vrf=tenant)
    sid(made, "fc00:0:1::/48", behavior="end", flavors=["next-csid"], block=32)
    return made


@pytest.fixture(scope="module")
def guest(lab, module_resources):
    directory = lab.path.parent
    image = with_programs(build_image(modules=("vrf",)), directory, [Path(shutil.which("ip")).resolve()])
    made = Guest("guest", image, directory, [Nic(lab.path, "52:54:00:00:00:61")])
    made.start()
    try:
        made.wait_ready(BOOT_S)
        made.configure("eth0", [f"{THERE6}/127"])
        made.run(IP + SET_UP, check=True)
        lab.router.ip("link", "set", "up0", "up")
        lab.router.ip("address", "add", f"{HERE6}/127", "dev", "up0", "nodad")
        lab.router.ip("-6", "route", "add", "fc00:0:2::/48", "via", THERE6, "dev", "up0")
        send_by(made, {tenant: ours(tenant) for tenant in TENANTS})
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def machines(lab, guest):
    """By tenant."""
    made = {}
    for number, tenant in enumerate(TENANTS, 1):
        extra = [f"{OTHER4}/24"] if tenant == 8 else []
        made[tenant] = lab.machine(number, [f"{VM4}/24", f"{VM6}/64", *extra], gateways=["10.7.0.1", "fe80::1"],
                                   vrf=tenant)
        lead(lab, tenant, theirs(tenant))
    until(lambda: made[7].ping(FAR4, check=False), "the guest by its tunnel", 30)
    return made


def sid(lab, prefix, **what):
    lab.daemon.call("route.apply", routes=[{"prefixes": [prefix], "next_hop": {"sid": what}}])


def lead(lab, tenant, segment4, segment6=None, full=False, to=(FAR4, FAR6)):
    """The tenant's packets to the guest take these segments."""
    encap = {"encap": "full"} if full else {}
    lab.daemon.call("route.apply", routes=[
        {"vrf": tenant, "prefixes": [f"{address}/{128 if ':' in address else 32}"],
         "next_hop": {"segments": [segment], **encap}}
        for address, segment in zip(to, (segment4, segment6 or segment4))])


def send_by(guest, segments, to=(VM4, VM6)):
    """What the guest's kernel sends for each tenant takes that segment."""
    guest.run(IP + "\n".join(
        f"ip route replace {address} encap seg6 mode encap segs {segment} dev eth0 table {tenant}"
        for tenant, segment in segments.items() for address in to), check=True)


def received(guest, tenant):
    shown = guest.run(IP + f"ip -s -j link show vrf{tenant}", check=True).stdout
    return json.loads(shown)[0]["stats64"]["rx"]["packets"]


@pytest.mark.parametrize("full", [False, True], ids=["reduced", "full"])
@pytest.mark.parametrize("tenant", TENANTS)
def test_tenants_packets_come_into_the_kernels_vrf(lab, guest, machines, tenant, full):
    """To End.DT46 with a VRF device, and from H.Encaps of a VRF's routes to our end.dt46. The other tenant, who has
    the same addresses, gets nothing."""
    lead(lab, tenant, theirs(tenant), full=full)
    other = next(one for one in TENANTS if one != tenant)
    before, others = received(guest, tenant), received(guest, other)
    machines[tenant].ping(FAR4, 3)
    machines[tenant].ping(FAR6, 3)
    assert received(guest, tenant) - before >= 6
    assert received(guest, other) == others


def test_kernels_dt4_and_dt6_have_vrfs(lab, guest, machines):
    lead(lab, 7, theirs(7, "4"), theirs(7, "6"))
    machines[7].ping(FAR4, 3)
    machines[7].ping(FAR6, 3)
    lead(lab, 7, theirs(7))


@pytest.mark.parametrize("behavior, address, far", [("4", VM4, FAR4), ("6", VM6, FAR6)], ids=["dt4", "dt6"])
def test_kernels_packets_come_into_our_vrf(lab, guest, machines, behavior, address, far):
    send_by(guest, {7: ours(7, behavior)}, [address])
    machines[7].ping(far, 3)
    send_by(guest, {7: ours(7)}, [address])


def test_kernel_goes_on_to_the_next_compressed_segment(lab, guest, machines):
    """A uN of the kernel and its uDT46 behind it, in one address."""
    guest.run(IP + f"ip -6 route del {theirs(7)}/128", check=True)
    machines[7].ping(FAR4, 3)
    machines[7].ping(FAR6, 3)
    guest.run(IP + f"ip -6 route add {theirs(7)}/128 encap seg6local action End.DT46 vrftable 7 dev vrf7", check=True)


def test_compressed_path_goes_by_the_kernel_and_back(lab, guest, machines):
    """From vm1 by the guest's uN and into VRF 8 by our uDT46, and back the same way."""
    lead(lab, 7, f"fc00:0:2:{ours(8).removeprefix('fc00:0:')}", to=[OTHER4])
    lead(lab, 8, f"fc00:0:2:{ours(7).removeprefix('fc00:0:')}", to=["10.7.0.13"])
    machines[7].ip("address", "add", "10.7.0.13/32", "dev", "eth0")
    lab.apply(machines[7], addresses=[f"{VM4}/24", f"{VM6}/64", "10.7.0.13/32"], gateways=["10.7.0.1", "fe80::1"],
              vrf=7)
    machines[7].ping(OTHER4, 3, options=("-I", "10.7.0.13"))


def test_kernels_compressed_path_goes_by_our_node(lab, guest, machines):
    """The guest's answers: our uN, its own, then our uDT46."""
    before = counted(lab, "fc00:0:1::/48")
    send_by(guest, {7: f"fc00:0:1:2:{ours(7).removeprefix('fc00:0:')}"})
    machines[7].ping(FAR4, 3)
    machines[7].ping(FAR6, 3)
    assert counted(lab, "fc00:0:1::/48") - before >= 6
    send_by(guest, {7: ours(7)})


def counted(lab, prefix):
    return next(one["packets"] for one in lab.daemon.call("sid.list")["sids"] if one["prefix"] == prefix)
