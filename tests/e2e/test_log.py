# SPDX-License-Identifier: Apache-2.0
"""The daemon's log: where it goes, its two forms, and levels that change while it runs."""

import json
import re

import pytest
from support import RpcError, until


def vm(directory, number):
    return {"name": f"vm{number}", "mac": f"52:54:00:00:00:{number:02x}",
            "socket": f"{directory}/vm{number}.sock", "socket_mode": "server"}


def levels(daemon):
    return {m["module"]: m["level"] for m in daemon.call("log.get")["modules"]}


def test_text_goes_to_stderr(daemon):
    lines = daemon.log_text().splitlines()
    assert any("serves" in line for line in lines)
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (info|warning)\s+\w+: ", line), line


def test_json_is_one_object_a_line(make_daemon):
    daemon = make_daemon("--log-format", "json", "--log-level", "debug")
    daemon.start()
    daemon.call("port.apply", **vm(daemon.directory, 1))
    daemon.call("port.delete", name="vm1")
    daemon.stop()
    lines = [json.loads(line) for line in daemon.log_text().splitlines()]
    assert len(lines) >= 3
    for line in lines:
        assert set(line) == {"time_ms", "level", "module", "message"}
        assert line["level"] in ("debug", "info", "warning")
    assert "stopping" in [line["message"] for line in lines]


def test_log_goes_to_a_file(make_daemon, run_dir):
    path = run_dir / "s32.log"
    daemon = make_daemon("--log-to", path)
    daemon.start()
    assert "serves" in path.read_text()
    assert daemon.log_text() == ""
    first = path.read_text()
    daemon.stop()
    daemon.start()
    assert path.read_text().startswith(first), "a restart appends"


def test_level_of_one_module_changes_while_it_runs(daemon):
    def logged(text):
        return [line for line in daemon.log_text().splitlines() if text in line]

    before = levels(daemon)
    assert before["vhost"] == "info"
    daemon.call("log.set", level="debug", module="vhost")
    assert levels(daemon) == {**before, "vhost": "debug"}
    daemon.call("port.apply", **vm(daemon.directory, 1))
    until(lambda: logged("debug") and logged("vhost:"), "lines of the module", 5)
    daemon.call("log.set", level="off", module="vhost")
    count = len(logged("vhost:"))
    daemon.call("port.apply", **vm(daemon.directory, 2))
    daemon.call("port.delete", name="vm2")
    assert len(logged("vhost:")) == count


def test_all_levels_change_at_once(daemon):
    daemon.call("log.set", level="warning")
    assert set(levels(daemon).values()) == {"warning"}
    daemon.call("log.set", level="info")
    assert set(levels(daemon).values()) == {"info"}


@pytest.mark.parametrize("params, path", [
    ({"level": "loud"}, "$.params.level"),
    ({"level": "debug", "module": "kitchen"}, "$.params.module"),
])
def test_unknown_level_or_module_is_an_error(daemon, params, path):
    before = levels(daemon)
    with pytest.raises(RpcError) as failure:
        daemon.client.call("log.set", check_params=False, **params)
    assert failure.value.path == path and failure.value.kind == "invalid"
    assert levels(daemon) == before


def test_slash32ctl_shows_and_sets_levels(daemon):
    assert re.search(r"vhost\s+info", daemon.ctl("log", "level").stdout)
    daemon.ctl("log", "level", "vhost", "error")
    assert re.search(r"vhost\s+error", daemon.ctl("log", "level").stdout)
    assert levels(daemon)["vhost"] == "error"
    assert daemon.ctl("log", "level", "vhost", "loud", check=False).returncode != 0
