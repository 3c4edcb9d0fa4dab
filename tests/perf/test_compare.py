# SPDX-License-Identifier: Apache-2.0
"""What the benchmark makes of measurements: ratios, peers that cannot run, plots."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("S32_SOURCE", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "perf"))

from bench.compare import Comparison  # noqa: E402
from bench.figures import Figure, Point  # noqa: E402
from bench.processes import BenchError  # noqa: E402
from bench.traffic import Sample  # noqa: E402


class Quiet:
    """Of the context, what a comparison uses."""

    def __init__(self, near=lambda: True):
        self.said = []
        self._near = near

    def cores_are_near(self, _seconds=0):
        return self._near()

    def say(self, text):
        self.said.append(text)


def sample(mpps, cycles, busy):
    return Sample(mpps=mpps, gbps=mpps, cycles=cycles, busy_percent=busy, result={"total": {"received": 1}})


def compare(**takes):
    return Comparison(Quiet(), 2, {name: (lambda one=one: one) for name, one in takes.items()})


def test_a_ratio_is_of_rates_only_where_both_were_saturated():
    both = compare(ours=sample(6, 400, 99), theirs=sample(3, 900, 98)).over("x", "ours", "theirs", 2)
    assert (both.value, both.reached) == (2, True)
    assert both.note == "by rate"
    idle = compare(ours=sample(6, 300, 80), theirs=sample(3, 900, 98)).over("x", "ours", "theirs", 4)
    assert (idle.value, idle.reached) == (3, False)
    assert "ours 20 %" in idle.note and "cycles" in idle.note


def test_a_sample_with_the_cores_apart_is_taken_again():
    near = iter([True, False, False, True, True, True])  # before and after each
    taken = iter([sample(6, 400, 99), sample(6, 300, 99), sample(6, 200, 99)])
    context = Quiet(lambda: next(near))
    got = Comparison(context, 1, {"ours": lambda: next(taken)})
    assert [one.cycles for one in got.samples("ours")] == [200]
    assert len(context.said) == 3 and "apart" in context.said[0]


def test_cores_that_stay_apart_are_said_to():
    got = Comparison(Quiet(lambda: False), 1, {"ours": lambda: sample(6, 400, 99),
                                               "theirs": lambda: sample(3, 900, 98)})
    assert got.over_by_rate("x", "ours", "theirs").note == "by rate; 2 samples of the row with the cores apart"


def test_waiting_for_the_cores_has_an_end(monkeypatch):
    monkeypatch.setattr("bench.compare.BUDGET", 0)
    context = Quiet(lambda: False)
    got = Comparison(context, 3, {"ours": lambda: sample(6, 400, 99)})
    assert len(got.samples("ours")) == 3 and len(context.said) == 6  # each once in vain, and kept


def test_a_peer_that_cannot_run_is_left_out():
    tried = []

    def missing():
        tried.append(1)
        raise BenchError("is not installed")

    got = Comparison(Quiet(), 3, {"ours": lambda: sample(6, 400, 99), "peer": missing})
    assert len(tried) == 1
    assert len(got.samples("ours")) == 3
    over = got.over("x", "ours", "peer", 7)
    assert over.value is None and over.reached is None
    assert over.note == "peer was not measured: is not installed"
    assert got.rate("r", "peer").note == over.note


def test_a_peer_that_forwards_nothing_is_left_out():
    silent = sample(0, 0, 0)
    silent.result["total"]["received"] = 0
    got = Comparison(Quiet(), 2, {"peer": lambda: silent})
    assert "nothing was forwarded" in got.rate("r", "peer").note


def test_plots_are_drawn_of_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib")
    from bench import plots
    rows = [Figure("a", "Mpps", [1.0, 2.0], point=Point("flows", "slash32d", 1024)).to_json(),
            Figure("b", "Mpps", [2.0], point=Point("flows", "slash32d", 100_000)).to_json(),
            Figure("c", "Mpps", [], point=Point("sizes", "not measured", 64)).to_json(),
            Figure("d", "cycles/pkt", [9.0], point=Point("stages", "established", "parse")).to_json()]
    assert plots.draw(rows, tmp_path) == ["flows", "stages"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flows.svg", "stages.svg"]
    first = (tmp_path / "flows.svg").read_bytes()
    plots.draw(rows, tmp_path)
    assert (tmp_path / "flows.svg").read_bytes() == first
