"""COCO's numbers: both libraries, pycocotools' own summary, other limits, and the empty cases."""

import contextlib
import copy
import io
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coco_cases import SIDE, random_set, with_areas
from project.errors import ConfigError
from project.evaluation.coco_backend import BACKENDS, evaluate_coco

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def own_summary(truth: dict[str, Any], found: list[dict[str, Any]], iou_type: str) -> list[float]:
    """Pycocotools as everybody uses it."""
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = copy.deepcopy(truth)
        api.createIndex()
        dropped = "bbox" if iou_type == "segm" else "segmentation"
        results = [{k: v for k, v in d.items() if k not in (dropped, "area")} for d in found]
        evaluation = COCOeval(api, api.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.fixture(params=["bbox", "segm"])
def case(request) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    truth, found = random_set()
    truth["annotations"] = with_areas(truth["annotations"], "segm")
    return truth, with_areas(found, request.param), request.param


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_backends_give_pycocotools_own_summary(case, backend, capfd):
    truth, found, iou_type = case
    expected = own_summary(truth, found, iou_type)
    assert all(0.02 < value < 0.9 for value in expected), "the case must not be trivial"
    assert len(set(expected)) == len(expected)
    scores = evaluate_coco(truth, found, iou_type, backend)
    assert list(scores)[:12] == NAMES
    assert [scores[name] / 100 for name in NAMES] == pytest.approx(expected, abs=1e-9)
    assert capfd.readouterr() == ("", "")


def test_backends_agree_on_classes(case):
    truth, found, iou_type = case
    fast, slow = (evaluate_coco(truth, found, iou_type, b)["per_class"] for b in BACKENDS)
    assert list(fast) == list("abc")
    assert len({of["AP"] for of in fast.values()}) == 3
    for name in fast:
        assert fast[name] == pytest.approx(slow[name], abs=1e-9)


def test_class_scores_are_those_of_the_class_alone(case):
    truth, found, iou_type = case
    scores = evaluate_coco(truth, found, iou_type)
    for number, name in enumerate("abc"):
        alone = {
            **truth,
            "annotations": [a for a in truth["annotations"] if a["category_id"] == number],
        }
        own = own_summary(alone, [d for d in found if d["category_id"] == number], iou_type)
        assert scores["per_class"][name]["AP"] / 100 == pytest.approx(own[0], abs=1e-9)
        assert scores["per_class"][name]["AP50"] / 100 == pytest.approx(own[1], abs=1e-9)


def test_inputs_are_left_as_they_are(case):
    truth, found, iou_type = case
    before = copy.deepcopy((truth, found))
    for backend in BACKENDS:
        evaluate_coco(truth, found, iou_type, backend)
    assert (truth, found) == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limit", [1, 3, 10])
def test_other_limits_score_the_best_so_many(case, backend, limit):
    truth, found, iou_type = case
    kept = []
    for image in truth["images"]:
        for category in range(3):
            of_pair = [
                d for d in found if (d["image_id"], d["category_id"]) == (image["id"], category)
            ]
            kept += sorted(of_pair, key=lambda d: -d["score"])[:limit]
    cut, whole = (own_summary(truth, entries, iou_type) for entries in (kept, found))
    scores = evaluate_coco(truth, found, iou_type, backend, max_detections=limit)
    assert scores["AP"] / 100 == pytest.approx(cut[0], abs=1e-9)
    assert scores[f"AR{limit}"] / 100 == pytest.approx(cut[8], abs=1e-9)
    assert scores["AR1"] / 100 == pytest.approx(whole[6], abs=1e-9)
    assert "AR100" not in scores
    if limit < 10:
        assert cut[0] < whole[0] - 0.01, "the limit must matter"
        assert "AR10" not in scores


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_than_100_detections_can_be_scored(backend):
    """150 objects in one image, all found: 100 of them give recall 2/3, 150 give all."""
    boxes = [[x * 10.0, y * 10.0, 8.0, 8.0] for x in range(15) for y in range(10)]
    entries = [{"image_id": 1, "category_id": 0, "bbox": b, "area": 64.0} for b in boxes]
    truth = {
        "images": [{"id": 1, "height": SIDE, "width": SIDE}],
        "categories": [{"id": 0, "name": "a"}],
        "annotations": [{**e, "id": i, "iscrowd": 0} for i, e in enumerate(entries, start=1)],
    }
    found = [{**e, "score": 0.9 - i / 1000} for i, e in enumerate(entries)]
    scores = evaluate_coco(truth, found, "bbox", backend)
    assert scores["AR100"] == pytest.approx(100 * 2 / 3)
    more = evaluate_coco(truth, found, "bbox", backend, max_detections=150)
    assert more["AP"] == more["AR150"] == 100
    assert more["AR10"] == pytest.approx(100 / 15)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_detections_score_zero_and_no_objects_score_none(case, backend):
    truth, found, iou_type = case
    scores = evaluate_coco(truth, [], iou_type, backend)
    assert {scores[name] for name in NAMES} == {0.0}
    assert {of["AP"] for of in scores["per_class"].values()} == {0.0}
    scores = evaluate_coco({**truth, "annotations": []}, found, iou_type, backend)
    assert {scores[name] for name in NAMES} == {None}


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_object_found_perfectly_is_exactly_100(case, backend):
    truth, _, iou_type = case
    (first, *_) = [a for a in truth["annotations"] if not a["iscrowd"]]
    scores = evaluate_coco(
        {**truth, "annotations": [first]}, [{**first, "score": 0.5}], iou_type, backend
    )
    assert scores["AP"] == scores["AP75"] == scores["AR100"] == 100.0


def test_wrong_settings_are_told():
    truth, found = random_set()
    with pytest.raises(ConfigError, match=r"'fast'.*faster-coco-eval"):
        evaluate_coco(truth, found, "bbox", "fast")
    with pytest.raises(ConfigError, match="MAX_DETECTIONS must be at least 1, found 0"):
        evaluate_coco(truth, found, "bbox", max_detections=0)
