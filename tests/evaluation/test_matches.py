"""Match tables: the libraries' AP from them, and exactly the AP of any resample of the images."""

from typing import Any

import numpy as np
import pytest

from coco_cases import SIDE, random_set, with_areas
from project.evaluation import average_precision as module
from project.evaluation.average_precision import (
    METRICS,
    class_precision,
    mean_precision,
    precision_scores,
    sum_by_finds,
    sum_by_levels,
)
from project.evaluation.coco_backend import BACKENDS, evaluate_coco, score_and_match
from project.evaluation.matches import AREA_RANGES, IOU_THRESHOLDS


@pytest.fixture(scope="module")
def case() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Three classes, crowds, sizes, and many equal scores within an image."""
    truth, found = random_set(1)
    truth["annotations"] = with_areas(truth["annotations"], "segm")
    return truth, with_areas(found, "segm")


def duplicated(
    truth: dict[str, Any], found: list[dict[str, Any]], weights: np.ndarray
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data set in which each image is there as often as its weight says."""
    images, annotations, detections = [], [], []
    for new, old in enumerate(np.repeat([image["id"] for image in truth["images"]], weights), 1):
        images.append({"id": new, "height": SIDE, "width": SIDE})
        annotations += [
            {**a, "image_id": new} for a in truth["annotations"] if a["image_id"] == old
        ]
        detections += [{**d, "image_id": new} for d in found if d["image_id"] == old]
    numbered = [{**a, "id": i} for i, a in enumerate(annotations, start=1)]
    return {**truth, "images": images, "annotations": numbered}, detections


@pytest.mark.parametrize("limit", [100, 3])
def test_the_table_gives_the_libraries_scores(case, limit):
    truth, found = case
    for backend in BACKENDS:
        expected, table, _ = score_and_match(truth, found, "segm", backend, limit)
        scores = precision_scores(table, f"AR{limit}")
        assert 1 < expected["AP"] < 90 and expected["APs"] != expected["APl"]
        for metric in (*METRICS, f"AR{limit}"):
            assert scores[metric] == pytest.approx(expected[metric], abs=1e-9)
        for name, of in expected["per_class"].items():
            assert scores["per_class"][name] == pytest.approx(of, abs=1e-9)


@pytest.mark.parametrize("few", [0, 10**6], ids=["by levels", "by finds"])
def test_resamples_are_scored_as_pycocotools_scores_duplicated_images(case, monkeypatch, few):
    monkeypatch.setattr(module, "_FEW_FINDS", few)
    truth, found = case
    _, table, _ = score_and_match(truth, found, "segm")
    weights = np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), size=6)
    weights[0] = [0, 0, 3, 0, 5, 0, 0, 0]
    fast = mean_precision(class_precision(table, weights))
    slow = [evaluate_coco(*duplicated(truth, found, w), "segm", "pycocotools") for w in weights]
    assert len({scores["AP"] for scores in slow}) == len(weights), "the resamples must differ"
    for metric in METRICS:
        expected = [scores[metric] for scores in slow]
        assert list(fast[metric]) == pytest.approx(expected, abs=1e-9)


def test_equal_scores_within_an_image_stay_together():
    """An image drawn twice, a right and a wrong detection of one score: right, wrong, both again.

    Recalls up to 1/2 have the precision 1, those above 2/3: (51 + 50 * 2 / 3) / 101.
    """
    box = {"image_id": 1, "category_id": 0, "area": 100.0, "score": 0.5}
    truth = {
        "images": [{"id": 1, "height": 50, "width": 50}],
        "categories": [{"id": 0, "name": "a"}],
        "annotations": [{**box, "id": 1, "bbox": [0, 0, 10, 10], "iscrowd": 0}],
    }
    found = [{**box, "bbox": [0, 0, 10, 10]}, {**box, "bbox": [30, 30, 10, 10]}]
    _, table, _ = score_and_match(truth, found, "bbox")
    twice = mean_precision(class_precision(table, np.array([[1], [2]])))["AP"]
    assert list(twice) == pytest.approx([100, 100 * (51 + 50 * 2 / 3) / 101])


def test_classes_and_sizes_that_a_resample_lacks_are_undefined(case):
    truth, found = case
    first = truth["images"][0]["id"]
    kept = [a for a in truth["annotations"] if a["image_id"] == first and a["category_id"] == 0]
    _, table, _ = score_and_match({**truth, "annotations": kept}, found, "segm")
    weights = np.zeros((2, 8), dtype=int)
    weights[0, 0] = weights[1, 1] = 8
    of_classes = class_precision(table, weights)
    assert not np.isnan(of_classes[0, 0, 0])
    assert np.isnan(of_classes[1]).all() and np.isnan(of_classes[:, 1:]).all()
    assert np.isnan(mean_precision(of_classes)["AP"][1])


def test_both_sums_over_recalls_are_one():
    rng = np.random.default_rng(0)
    found = rng.integers(0, 3, (40, 30)).cumsum(axis=0)
    best = np.sort(rng.random((40, 30)), axis=0)[::-1]
    objects = found[-1] + rng.integers(0, 5, 30) + 1
    expected = sum_by_finds(best, found, objects)
    assert expected.std() > 0.1
    np.testing.assert_allclose(sum_by_levels(best, found, objects), expected, atol=1e-12)


def test_the_table_is_small(case):
    truth, found = case
    _, table, _ = score_and_match(truth, found, "segm")
    assert len(AREA_RANGES) * len(IOU_THRESHOLDS) == 40
    of_detection = sum(table.arrays()[n][0].nbytes for n in ("hits", "ignored", "scores"))
    assert of_detection == 5 + 5 + 8
