"""COCO's numbers from the table of matches: pycocotools' own, without the masks."""

import pytest

from coco_cases import random_set, with_areas
from project.evaluation.coco_backend import evaluate_coco, score_and_match
from project.evaluation.table_scores import table_scores


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("limit", [1, 3, 10, 100])
def test_the_tables_numbers_are_pycocotools(seed, iou_type, limit):
    truth, found = random_set(seed)
    truth["annotations"] = with_areas(truth["annotations"], "segm")
    found = with_areas(found, iou_type)
    expected = evaluate_coco(truth, found, iou_type, "pycocotools", limit)
    assert 2 < expected["AP"] < 90 and expected[f"AR{limit}"] > expected["AP"]
    _, table, _ = score_and_match(truth, found, iou_type, max_detections=limit)
    scores = table_scores(table, limit)
    assert list(scores) == list(expected)
    for name, of in expected.pop("per_class").items():
        assert scores["per_class"][name] == pytest.approx(of, abs=1e-9)
    del scores["per_class"]
    assert scores == pytest.approx(expected, abs=1e-9)
