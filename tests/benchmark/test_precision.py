"""The comparison of our arithmetic with stock's: which runs it makes, and what it says of them."""

import json
from pathlib import Path

import pytest

from project.benchmark import precision
from project.benchmark.precision import Finding, Score, average, markdown, run_precision
from project.benchmark.zoo import Row


@pytest.fixture
def trained(monkeypatch):
    """Stands for trainings: AP 80 + seed, one less where EXACT is on; intervals of 2 each way."""
    calls: list[tuple[int, bool]] = []

    def run_zoo(configs, output, overrides, *, limit_s):
        pairs = dict(zip(overrides[0::2], overrides[1::2]))
        seed, exact = int(pairs["SEED"]), pairs["EXACT"] == "True"
        calls.append((seed, exact))
        assert configs == [Path("y")] and limit_s == 1
        folder = output / "x" / "y"
        folder.mkdir(parents=True)
        ap = 80.0 + seed - exact
        segm = {"AP": ap, "AP50": 99.0, "intervals": {"AP": [ap - 2, ap + 2]}}
        tasks = {"segm": segm, "sem_seg": {"mIoU": None, "intervals": {"mIoU": None}}}
        (folder / "results.json").write_text(json.dumps({"datasets": {"d": tasks}}))
        return [Row("X", "configs/x/y.yaml", "digest")]

    monkeypatch.setattr(precision, "run_zoo", run_zoo)
    return calls


def test_both_ways_with_each_seed(tmp_path, trained):
    (found,) = run_precision([Path("y")], tmp_path, [], seeds=[1, 3], limit_s=1)
    assert trained == [(1, False), (1, True), (3, False), (3, True)]
    assert found.metric == "AP"
    assert [score.value for score in found.quick] == [81, 83]
    assert [score.value for score in found.exact] == [80, 82]
    assert average(found.quick) == Score(82, 80, 84)
    assert found.overlap
    assert "| 81.0, 83.0 | 80.0, 82.0 | 82.0 (80.0 to 84.0) and" in markdown([found])


def test_intervals_that_lie_apart_do_not_overlap():
    found = Finding("c", "AP", (Score(80, 78, 82),), (Score(85, 82.1, 88),))
    assert not found.overlap and markdown([found]).rstrip().endswith("| no |")
    assert Finding("c", "AP", (Score(80, 78, 82),), (Score(85, 82, 88),)).overlap


def test_a_run_that_failed_gives_no_finding(tmp_path, monkeypatch):
    row = Row("X", "configs/x/y.yaml", "digest", error="took longer than 1 s")
    monkeypatch.setattr(precision, "run_zoo", lambda *_, **__: [row])
    assert run_precision([Path("y")], tmp_path, [], seeds=[1], limit_s=1) == []
