"""The panoptic evaluator on small data sets."""

import numpy as np
import pytest
import torch

import factories
from evaluation_cases import panoptic
from project.data.register import dataset_records
from project.errors import PredictionsError
from project.evaluation.panoptic import PanopticEvaluator


@pytest.fixture
def name(tmp_path, registered):
    registered(factories.make_coco(tmp_path, segmentation="mixed", crowd=True, name="pan"))
    return "pan_val"


def test_truth_as_prediction_scores_100(name):
    evaluator = PanopticEvaluator(name)
    for record in dataset_records(name):
        evaluator.process([record], [{"panoptic_seg": panoptic(record, name)}])
    results = evaluator.evaluate()
    numbers = {k: v for k, v in results["panoptic_seg"].items() if k != "per_class"}
    assert len(numbers) == 9
    assert set(numbers.values()) == {100.0}
    assert results["panoptic_seg"]["per_class"].keys() == {"background", "square", "disc"}
    assert set(evaluator.image_scores.values()) == {100.0}
    assert results["notes"] == []


def test_swapped_things_score_0_and_stuff_100(name):
    evaluator = PanopticEvaluator(name)
    for record in dataset_records(name):
        ids, segments = panoptic(record, name)
        swapped = [
            {**s, "category_id": 1 - s["category_id"]} if s["isthing"] else s for s in segments
        ]
        evaluator.process([record], [{"panoptic_seg": (ids, swapped)}])
    scores = evaluator.evaluate()["panoptic_seg"]
    assert (scores["PQ_th"], scores["PQ_st"]) == (0.0, 100.0)


def test_void_predictions_and_missing_images(name):
    evaluator = PanopticEvaluator(name)
    record = dataset_records(name)[0]
    evaluator.process([record], [{"panoptic_seg": (torch.zeros(64, 64, dtype=torch.int32), [])}])
    results = evaluator.evaluate()
    assert results["panoptic_seg"]["PQ"] == 0.0
    assert results["notes"][0].startswith("panoptic_seg: 5 of 6 images were not predicted")


def test_what_does_not_occur_is_none_with_a_reason(coco_dataset):
    name = coco_dataset([])
    record = dataset_records(name)[0]
    evaluator = PanopticEvaluator(name)
    evaluator.process([record], [{"panoptic_seg": panoptic(record, name)}])
    results = evaluator.evaluate()
    assert results["panoptic_seg"]["PQ_th"] is None
    assert results["panoptic_seg"]["PQ"] == 100.0
    assert any("PQ_th, SQ_th, RQ_th are not defined: no things" in n for n in results["notes"])
    assert any(n.endswith("left out of the means: dog, cat") for n in results["notes"])


@pytest.mark.parametrize(
    ("ids", "segments", "message"),
    [
        (np.zeros((64, 60)), [], r"000\.png: .*64 x 60"),
        (np.full((64, 64), 5), [], r"000\.png: the segment ids \[5\] are in its map, but not in"),
        (
            np.zeros((64, 64)),
            [{"id": 3, "isthing": True, "category_id": 0}],
            r"000\.png: the segment ids \[3\] are in the list of its segments, but not in its map",
        ),
    ],
)
def test_wrong_predictions_are_told(name, ids, segments, message):
    record = dataset_records(name)[0]
    prediction = torch.from_numpy(ids.astype(np.int32)), segments
    with pytest.raises(PredictionsError, match=message):
        PanopticEvaluator(name).process([record], [{"panoptic_seg": prediction}])
