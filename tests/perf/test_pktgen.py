# SPDX-License-Identifier: Apache-2.0
"""s32-pktgen over a ring that gives back what is sent."""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("S32_BUILD", Path(__file__).resolve().parents[2] / "build"))
DEVICE = ["--device", "net_ring0", "--src-mac", "02:00:00:00:00:01", "--src-ip", "10.0.0.1",
          "--dst-mac", "02:00:00:00:00:02", "--dst-ip", "10.0.0.2", "--memory", "128"]


def run(*options, device=True):
    program = BUILD / "perf" / "pktgen" / "s32-pktgen"
    done = subprocess.run([program, *(DEVICE if device else []), *options], capture_output=True, text=True,
                          check=False, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    return done.returncode, lines, done.stderr


def test_latency_is_measured_at_a_rate():
    status, lines, _ = run("--warmup", "0.1", "--seconds", "0.5", "--rate", "5000", "--latency")
    assert status == 0
    latency = lines[-1]["latency_ns"]
    assert latency["samples"] > 500
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"]
    assert latency["p999"] <= latency["max"]
    assert 4000 < lines[-1]["total"]["received_pps"] < 5500


@pytest.mark.parametrize("options", [
    ["--imix", "simple"], ["--imix", "64:1,9000:1", "--check", "all"],
    ["--src-ip", "2001:db8::1", "--dst-ip", "2001:db8::2", "--flows", "1000", "--dst-count", "10"],
    ["--src-ip", "2001:db8::1", "--dst-ip", "2001:db8::2", "--imix", "84:2,1514:1", "--check", "all"]])
def test_ipv6_and_mixes_come_back(options):
    device = [word for word in DEVICE if word not in ("--src-ip", "10.0.0.1", "--dst-ip", "10.0.0.2")] \
        if "--src-ip" in options else DEVICE
    status, lines, _ = run(*device, "--warmup", "0", "--seconds", "0.3", "--rate", "5000", *options,
                           device=False)
    assert status == 0
    whole = lines[-1]["whole_run"]
    assert whole["received"] == whole["sent"] > 1000
    total = lines[-1]["total"]
    assert total["lost"] == total["other"] == total["duplicated"] == total["cut"] == 0


def test_latency_is_not_measured_unasked():
    _, lines, _ = run("--warmup", "0", "--seconds", "0.1", "--rate", "1000")
    assert "latency_ns" not in lines[-1]


def test_a_search_says_that_nothing_was_lost_at_the_highest_rate():
    status, lines, _ = run("--warmup", "0.1", "--search", "throughput", "--trial-seconds", "0.1",
                           "--rate", "5000")
    assert status == 0
    trials = [line for line in lines if line["event"] == "trial"]
    found = lines[-1]["search"]
    assert found["trials"] == len(trials) == 3  # most of five
    assert all(trial["loss"] == 0 for trial in trials)
    assert found["bounded_by_generator"] and found["fails_pps"] is None
    assert 4000 < found["holds_pps"] < 5500


def test_results_and_trials_are_written_as_csv(tmp_path):
    path = tmp_path / "out.csv"
    run("--warmup", "0.1", "--seconds", "0.2", "--rate", "1000", "--latency", "--csv", str(path))
    with open(path, encoding="ascii") as file:
        (row,) = csv.DictReader(file)
    assert row["event"] == "result" and row["bytes"] == "64" and float(row["loss"]) == 0
    assert float(row["latency_p50_ns"]) > 0
    run("--warmup", "0", "--search", "pdr", "--trial-seconds", "0.05", "--rate", "1000", "--csv", str(path))
    with open(path, encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and {row["event"] for row in rows} == {"trial"}


@pytest.mark.parametrize("options, said", [
    (["--search", "fastest"], "--search"),
    (["--search", "pdr", "--loss-percent", "0"], "--loss-percent"),
    (["--search-width", "0"], "--search-width"),
    (["--search-trials", "0"], "--search-trials"),
    (["--trial-seconds", "0"], "--trial-seconds"),
    (["--search", "pdr", "--window", "3"], "neither --tso nor --window"),
    (["--search", "pdr", "--tso"], "neither --tso nor --window"),
    (["--csv", "/nonexistent/out.csv"], "No such file"),
    (["--bytes", "63"], "must be from 64"),
    (["--flows", "16777217"], "--flows"),
    (["--tcp"], "needs a pair of devices"),
    (["--srh"], "needs --srv6-sid"),
    (["--srv6-sid", "2001:db8::1,2001:db8::2", "--srv6-src", "2001:db8::3"], "2 values for 1 devices"),
    (["--srv6-sid", "10.0.0.1", "--srv6-src", "2001:db8::3"], "--srv6-sid"),
])
def test_an_option_out_of_range_is_refused(options, said):
    status, lines, errors = run(*options)
    assert status == 2 and not lines
    assert said in errors


def test_a_target_that_does_not_answer_ends_with_a_sentence(tmp_path):
    status, lines, errors = run("--device", f"listen:{tmp_path}/none.sock", *DEVICE[2:], "--connect", "0.2",
                                device=False)
    assert status == 3
    assert lines == [{"event": "result", "ok": False, "error": lines[0]["error"]}]
    assert lines[0]["error"] in errors
