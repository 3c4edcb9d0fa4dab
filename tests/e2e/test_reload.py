# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the configuration is read again under traffic."""

import signal

import pytest
from support import Lab, until
from support.wire import Stream


@pytest.fixture
def lab(needs_tap, resources):
    file = resources.directory() / "slash32.toml"
    file.write_text("[conntrack]\ntimeouts = [\"udp_timeout=77\"]\n")
    made = Lab(resources, "--config", file)
    made.file = file
    return made


def reload(lab, text, wanted):
    begin = len(lab.daemon.log_text())
    lab.file.write_text(text)
    lab.daemon.process.send_signal(signal.SIGHUP)
    until(lambda: wanted in lab.daemon.log_text()[begin:],
          lambda: f"'{wanted}' in the log:\n{lab.daemon.log_text()[begin:]}", 5)


def udp_timeout(lab):
    return lab.daemon.call("conntrack.config")["timeouts"]["udp_timeout"]


def test_what_can_change_does_and_no_packet_is_lost(lab):
    one, two = lab.machine(1), lab.machine(2)
    assert udp_timeout(lab) == 77
    with Stream(one, two, two.ip4) as stream:
        for seconds in range(60, 70):
            reload(lab, f"[conntrack]\ntimeouts = [\"udp_timeout={seconds}\"]\n[log]\nlevel = \"debug\"\n",
                   "read again: conntrack.timeouts")
            assert udp_timeout(lab) == seconds
            stream.pass_packets(20)
        assert stream.stop() == 0
    modules = lab.daemon.call("log.get")["modules"]
    assert {one["level"] for one in modules} == {"debug"}


def test_what_only_a_restart_changes_is_named(lab):
    reload(lab, "[host]\nmetric = 7\n[[uplink]]\nname = \"up0\"\ndevargs = \"net_null0\"\n",
           "only a restart changes host.metric, uplink")
    assert lab.daemon.call("status")["ports"]["uplinks"] == 0


@pytest.mark.parametrize("text, wanted", [
    ("[conntrack]\ntimeouts = [\"udp_timeout=5\"]\n[log]\nlevel = \"loud\"\n", "log.level"),
    ("[conntrack\n", ":1"),
    ("[conntrak]\nflows = 1\n", "conntrak"),
])
def test_bad_configuration_changes_nothing(lab, text, wanted):
    reload(lab, text, "the configuration stays as it is")
    assert wanted in lab.daemon.log_text()
    assert udp_timeout(lab) == 77
