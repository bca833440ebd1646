"""Each comparison of what scores: one small pair, and a check that finds a difference."""

import pytest

from project.benchmark import coco_eval
from tool_runner import load_tool


def run(capsys, *words: str) -> str:
    assert load_tool("tools/benchmark.py").main([*words, "--rounds", "1"]) == 0
    return capsys.readouterr().out


def test_coco_eval(capsys):
    assert "of the 1 comparisons agree" in run(capsys, "coco-eval", "--only", "of 20 images")


def test_rle(capsys):
    assert "byte by byte" in run(capsys, "rle", "--only", "3 masks")


def test_semantic(capsys):
    assert "of the 1 comparisons agree" in run(capsys, "semantic", "--only", "128x256")


def test_scores_that_differ_are_told():
    metrics = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), 50.0)
    same = {task: {**metrics, "per_class": {"a": {"AP": 50.0}}} for task in ("bbox", "segm")}
    coco_eval.check(same, same)
    other = {**same, "segm": {**metrics, "per_class": {"a": {"AP": 50.0 + 1e-8}}}}
    with pytest.raises(AssertionError, match=r"segm a: 50\.0 by the other .*, 50\.00000001 by"):
        coco_eval.check(same, other)
