# SPDX-License-Identifier: Apache-2.0
"""HMACs of routing headers (RFC 8754 section 2.1.2) against the Linux kernel: it refuses what we do not sign, and we
refuse what it does not."""

import pytest
from support import until
from support.daemon import StartFailure
from support.fabric import TOR6, Fabric
from support.kernel_peer import FAR4, FAR6, OURS, THEIR_END, THEIRS4, THEIRS6, VM4, VM6, Peer

KEY, SECRET = 42, "correct horse battery staple"


@pytest.fixture(scope="module")
def fabric(needs_tap, module_resources):
    secret = module_resources.directory() / "segments.key"
    secret.touch(0o600)
    secret.write_text(SECRET + "\n", encoding="ascii")
    made = Fabric(module_resources, "--srv6-locator", "fc00:0:1::/48", "--srv6-locators", "fc00::/32",
                  "--srv6-hmac-keys", f"id={KEY};file={secret};form=linux", "--srv6-hmac-sign", str(KEY),
                  "--srv6-hmac-require", "true", "--host-interface", "slash32", far=False)
    made.host.ip("-6", "route", "add", "fc00:0:2::/48", "via", TOR6[0], "dev", "up0")
    daemon = made.lab.daemon
    daemon.call("vrf.apply", vrf=7)
    daemon.call("route.apply", routes=[{"prefixes": [f"{OURS}/128"],
                                        "next_hop": {"sid": {"behavior": "end.dt46", "vrf": 7}}}])
    return made


@pytest.fixture(scope="module")
def kernel(fabric, module_resources):
    made = Peer(fabric, module_resources, hmac=KEY)
    set_secret(made, SECRET)
    made.send_by(OURS)
    return made


def set_secret(kernel, secret):
    # It asks the terminal, of which there is none.
    kernel.tor.run("setsid", "sh", "-c", f"echo '{secret}' | ip sr hmac set {KEY} sha256")


@pytest.fixture(scope="module")
def machine(fabric, kernel):
    made = fabric.lab.machine(1, [f"{VM4}/24", f"{VM6}/64"], gateways=["10.7.0.1", "fe80::1"], vrf=7)
    lead(fabric, [THEIRS4], [THEIRS6])
    return made


def lead(fabric, segments4, segments6, full=False):
    encap = {"encap": "full"} if full else {}
    fabric.lab.daemon.call("route.apply", routes=[
        {"vrf": 7, "prefixes": [f"{FAR4}/32"], "next_hop": {"segments": segments4, **encap}},
        {"vrf": 7, "prefixes": [f"{FAR6}/128"], "next_hop": {"segments": segments6, **encap}}])


def refused(fabric):
    return fabric.lab.daemon.drops("up0").get("bad_hmac", 0)


@pytest.mark.parametrize("full", [False, True], ids=["reduced", "full"])
@pytest.mark.parametrize("through", [[], [THEIR_END]], ids=["straight", "through-end"])
def test_kernel_and_we_take_each_others_hmacs(fabric, kernel, machine, through, full):
    lead(fabric, [*through, THEIRS4], [*through, THEIRS6], full=full)
    before = refused(fabric)
    machine.ping(FAR4, 3)
    machine.ping(FAR6, 3)
    assert refused(fabric) == before


def test_kernels_wrong_hmac_is_refused(fabric, kernel, machine):
    """The kernel has another secret: it refuses our packets, and we those that it sends."""
    lead(fabric, [THEIRS4], [THEIRS6])
    machine.ping(FAR4)
    set_secret(kernel, "another")
    try:
        before = refused(fabric)
        machine.no_ping(FAR4)
        kernel.far.run("ping", "-n", "-c", 1, "-W", 1, VM4, check=False)
        until(lambda: refused(fabric) > before, "a drop bad_hmac", 5)
    finally:
        set_secret(kernel, SECRET)
    machine.ping(FAR4)


def test_packet_without_hmac_is_refused(fabric, kernel, machine):
    kernel.send_by(OURS, hmac=())
    try:
        before = refused(fabric)
        kernel.far.run("ping", "-n", "-c", 1, "-W", 1, VM4, check=False)
        until(lambda: refused(fabric) > before, "a drop bad_hmac", 5)
    finally:
        kernel.send_by(OURS)
    machine.ping(FAR4)


def test_secret_that_anybody_may_read_is_refused(module_resources, tmp_path):
    secret = tmp_path / "key"
    secret.write_text("secret")
    secret.chmod(0o644)
    daemon = module_resources.daemon("--srv6-locator", "fc00:0:1::/48", "--srv6-hmac-keys", f"id=1;file={secret}")
    with pytest.raises(StartFailure) as failure:
        daemon.start()
    assert "srv6.hmac_keys" in failure.value.stderr and "mode should be 600" in failure.value.stderr
