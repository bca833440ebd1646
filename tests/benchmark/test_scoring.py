"""Each comparison of what scores: one small pair, and a check that finds a difference."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from project.benchmark import coco_eval, memory, panoptic
from tool_runner import load_tool


def run(capsys, *words: str) -> str:
    assert load_tool("tools/benchmark.py").main([*words, "--rounds", "1"]) == 0
    return capsys.readouterr().out


def test_coco_eval(capsys):
    assert "of the 1 comparisons agree" in run(capsys, "coco-eval", "--only", "of 8 images")


def test_rle(capsys):
    assert "byte by byte" in run(capsys, "rle", "--only", "3 masks")


def test_semantic(capsys):
    assert "of the 1 comparisons agree" in run(capsys, "semantic", "--only", "128x256")


def test_panoptic(capsys):
    if importlib.util.find_spec("torchmetrics"):
        assert "agree to 1e-08" in run(capsys, "panoptic", "--only", "80x60")
    else:
        assert run(capsys, "panoptic").startswith("torchmetrics is not installed")


def test_made_panoptics_are_not_trivial():
    """Of our side alone, which needs no other library."""
    scenes = [panoptic._scene(np.random.default_rng(n), (60, 80)) for n in range(3)]
    scores = panoptic._ours(scenes)
    of = scores["per_class"].values()
    expected = np.array([[c[m] or 0.0 for m in ("PQ", "SQ", "RQ")] for c in of]) / 100
    panoptic.check(expected, scores)
    expected[np.flatnonzero(expected[:, 0])[0], 0] += 1e-7
    with pytest.raises(AssertionError, match=r"PQ of .* by torchmetrics"):
        panoptic.check(expected, scores)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_memory_of_ours():
    """Stock's takes longer than a test may; both ways are the same code."""
    assert 0 <= memory.growth("ours", images=8, warm=4) < 100


def test_scores_that_differ_are_told():
    metrics = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), 50.0)
    same = {task: {**metrics, "per_class": {"a": {"AP": 50.0}}} for task in ("bbox", "segm")}
    coco_eval.check(same, same)
    other = {**same, "segm": {**metrics, "per_class": {"a": {"AP": 50.0 + 1e-8}}}}
    with pytest.raises(AssertionError, match=r"segm a: 50\.0 by the other .*, 50\.00000001 by"):
        coco_eval.check(same, other)
