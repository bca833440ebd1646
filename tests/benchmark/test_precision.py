"""The comparison of our arithmetic with stock's: which runs it makes, and what it says of them."""

import json
from pathlib import Path

import pytest

from project.benchmark import precision
from project.benchmark.precision import Finding, Score, average, markdown, run_precision
from project.benchmark.zoo import Row
from project.errors import ConfigError
from tool_runner import REPOSITORY

CONFIG = REPOSITORY / "configs" / "double_digits" / "mask_unet_demo.yaml"


@pytest.fixture
def trained(monkeypatch):
    """Stands for trainings: AP 80 + seed, one less where EXACT is on; intervals of 2 each way."""
    calls: list[tuple[int, bool]] = []

    def run_zoo(configs, output, overrides, *, limit_s, judges):
        pairs = dict(zip(overrides[0::2], overrides[1::2]))
        seed, exact = int(pairs["SEED"]), pairs["EXACT"] == "True"
        calls.append((seed, exact))
        assert configs == [CONFIG] and limit_s == 1 and not judges
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
    (found,) = run_precision([CONFIG], tmp_path, [], seeds=[1, 3], limit_s=1)
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
    assert run_precision([CONFIG], tmp_path, [], seeds=[1], limit_s=1) == []


@pytest.mark.parametrize(
    ("config", "words", "seeds", "expected"),
    [
        (Path("nope.yaml"), [], [1], "nope.yaml: no such config"),
        (CONFIG, ["EXACT", "True"], [1], "--opts EXACT"),
        (CONFIG, ["TEST.BOOTSTRAP", "0"], [1], "TEST.BOOTSTRAP is 0"),
        (CONFIG, ["SOLVER.MAX_ITERS", "9"], [1], "SOLVER.MAX_ITERS"),
        (CONFIG, [], [1, 2, 1], "each once"),
    ],
)
def test_what_cannot_be_compared_is_told_before_it_is_trained(
    tmp_path, trained, config, words, seeds, expected
):
    with pytest.raises(ConfigError, match=expected):
        run_precision([config], tmp_path, words, seeds=seeds, limit_s=1)
    assert trained == []
