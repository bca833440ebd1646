"""Panoptic quality against a slow reference, and the rules one by one."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from project.data.categories import Categories
from project.evaluation import panoptic_quality
from project.evaluation.panoptic_quality import (
    IOU,
    MATCHED,
    MISSED,
    WRONG,
    count_segments,
    overlaps,
    panoptic_scores,
)

CATEGORIES = Categories(things=("cat", "dog"), stuff=("sky", "road"))
K = 4


def segment(number: int, semantic_id: int, iscrowd: int = 0) -> dict[str, Any]:
    isthing = CATEGORIES.is_thing(semantic_id)
    return {"id": number, "semantic_id": semantic_id, "isthing": isthing, "iscrowd": iscrowd}


def counted(truth_ids: Any, truth: list, prediction_ids: Any, prediction: dict) -> np.ndarray:
    overlap = overlaps(np.array(truth_ids), np.array(prediction_ids))
    return count_segments(overlap, truth, prediction, K)


def reference(
    truth_ids: np.ndarray, truth: list[dict], prediction_ids: np.ndarray, prediction: dict[int, int]
) -> dict[int, dict[str, float]]:
    """Panoptic quality by class, from masks and straight from the rules."""
    counts = {k: {"iou": 0.0, "tp": 0, "fp": 0, "fn": 0} for k in range(K)}
    void = truth_ids == 0
    taken = set()
    for s in truth:
        if s["iscrowd"]:
            continue
        t = truth_ids == s["id"]
        partner = None
        for p, k in prediction.items():
            mask = prediction_ids == p
            iou = (t & mask).sum() / ((t | mask) & ~(void & mask)).sum()
            if k == s["semantic_id"] and iou > 0.5:
                partner = p, iou
        if partner:
            taken.add(partner[0])
            counts[s["semantic_id"]]["tp"] += 1
            counts[s["semantic_id"]]["iou"] += partner[1]
        else:
            counts[s["semantic_id"]]["fn"] += 1
    for p, k in prediction.items():
        mask = prediction_ids == p
        crowds = [truth_ids == s["id"] for s in truth if s["iscrowd"] and s["semantic_id"] == k]
        excused = np.logical_or.reduce([void, *crowds])
        if p not in taken and (mask & excused).sum() <= 0.5 * mask.sum():
            counts[k]["fp"] += 1
    return counts


def random_scene(rng: np.random.Generator) -> tuple[np.ndarray, list, np.ndarray, dict]:
    """Columns of different classes, and a prediction of them that is shifted and has errors."""
    widths = rng.integers(2, 9, 14)
    truth_ids = np.repeat(np.arange(14), widths)[None].repeat(5, axis=0)
    truth = [segment(i, int(rng.integers(0, K))) for i in range(1, 14)]
    for s in truth:
        s["iscrowd"] = int(s["isthing"] and rng.random() < 0.3)
    prediction_ids = np.roll(truth_ids, int(rng.integers(-2, 3)), axis=1) * 1000
    prediction_ids[rng.random(prediction_ids.shape) < 0.1] = 0
    prediction = {}
    for s in truth:
        wrong = rng.random() < 0.3
        prediction[s["id"] * 1000] = int(rng.integers(0, K)) if wrong else s["semantic_id"]
    return truth_ids, truth, prediction_ids, prediction


def test_counts_are_those_of_the_slow_reference():
    rng = np.random.default_rng(5)
    totals = np.zeros(4)
    for _ in range(40):
        scene = random_scene(rng)
        found, expected = counted(*scene), reference(*scene)
        for k in range(K):
            assert found[k, [MATCHED, WRONG, MISSED]].tolist() == [
                expected[k][key] for key in ("tp", "fp", "fn")
            ]
            assert found[k, IOU] / 2**40 == pytest.approx(expected[k]["iou"], abs=1e-10)
        totals += found.sum(axis=0)
    assert (totals[1:] > 30).all(), "each kind must occur"
    assert 0.5 < totals[IOU] / 2**40 / totals[MATCHED] < 0.95


def test_formula():
    """Class cat: IoU 0.8 and 0.6, one wrong, two missed: PQ = 1.4 / (2 + 0.5 + 1)."""
    counts = np.zeros((K, 4), dtype=np.int64)
    counts[2] = [round(1.4 * 2**40), 2, 1, 2]
    counts[0] = [round(0.9 * 2**40), 1, 0, 0]
    counts[1] = [0, 0, 3, 0]
    scores = panoptic_scores(counts, CATEGORIES)
    assert scores["per_class"]["cat"] == pytest.approx({"PQ": 40, "SQ": 70, "RQ": 400 / 7})
    assert scores["per_class"]["road"] == {"PQ": 0, "SQ": 0, "RQ": 0}
    assert scores["per_class"]["dog"] == {"PQ": None, "SQ": None, "RQ": None}
    assert scores["PQ_th"] == pytest.approx(40)
    assert scores["PQ_st"] == pytest.approx((90 + 0) / 2)
    assert scores["PQ"] == pytest.approx((40 + 90 + 0) / 3)
    assert scores["SQ"] == pytest.approx((70 + 90 + 0) / 3)


def test_nothing_to_score_is_none():
    scores = panoptic_scores(np.zeros((K, 4), dtype=np.int64), CATEGORIES)
    assert all(value is None for name, value in scores.items() if name != "per_class")


def test_an_iou_of_one_half_is_no_match():
    counts = counted([[1, 1, 0, 0]], [segment(1, 2)], [[7, 0, 0, 0]], {7: 2})
    assert counts[2].tolist() == [0, 0, 1, 1]


def test_predicted_pixels_on_void_do_not_lower_the_iou():
    counts = counted([[1, 1, 1, 0, 0]], [segment(1, 2)], [[7, 7, 7, 7, 7]], {7: 2})
    assert counts[2].tolist() == [2**40, 1, 0, 0]


def test_segments_mostly_on_void_are_no_mistake():
    truth = [segment(1, 2)]
    assert (
        counted([[1, 1, 1, 1, 1, 0, 0]], truth, [[7, 7, 7, 7, 7, 8, 8]], {7: 2, 8: 3})[3].sum() == 0
    )
    # Exactly half on void is not most.
    counts = counted([[1, 1, 1, 1, 1, 0]], truth, [[7, 7, 7, 7, 8, 8]], {7: 2, 8: 3})
    assert counts[3].tolist() == [0, 0, 1, 0]


def test_crowds_excuse_their_own_class_only_and_are_never_missed():
    truth = [segment(1, 2, iscrowd=1)]
    assert counted([[1, 1, 1]], truth, [[7, 7, 0]], {7: 2}).sum() == 0
    assert counted([[1, 1, 1]], truth, [[7, 7, 0]], {7: 3})[3, WRONG] == 1


def test_several_crowds_of_a_class_excuse_together():
    truth = [segment(1, 2, iscrowd=1), segment(2, 2, iscrowd=1), segment(3, 0)]
    counts = counted([[1, 1, 2, 2, 3, 3, 3]], truth, [[7, 7, 7, 7, 7, 7, 0]], {7: 2})
    assert counts[2].sum() == 0


def test_large_ids_are_kept_apart():
    top = 2**24 - 1
    counts = counted(
        [[1, 2]], [segment(1, 2), segment(2, 2)], [[top, top - 1]], {top: 2, top - 1: 2}
    )
    assert counts[2].tolist() == [2 * 2**40, 2, 0, 0]


@pytest.mark.parametrize("block", [1, 3, 20])
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 9), (40, 50)])
def test_overlaps_are_those_of_single_pixels(monkeypatch, shape, block):
    """In runs of one pixel and of many, ids up to the largest, in strips."""
    monkeypatch.setattr(panoptic_quality, "_ROWS", 16)
    rng = np.random.default_rng(block)
    maps = []
    for _ in range(2):
        coarse = rng.choice([0, 1, 2, 2**24, 2**31 - 1], (40, 50)).astype(np.int32)
        blocks = coarse.repeat(block, axis=0).repeat(block, axis=1)
        maps.append(blocks[: shape[0], : shape[1]])
    expected = Counter(zip(maps[0].ravel().tolist(), maps[1].ravel().tolist()))
    assert overlaps(*maps) == dict(expected)
    assert overlaps(maps[0][:0], maps[1][:0]) == {}
