"""The confusion matrix of instances and the curves, by hand."""

import numpy as np
import pytest

from coco_cases import box_detections as detections
from coco_cases import box_truth as truth
from evaluation_cases import instances, rectangle
from project.data.register import dataset_records
from project.evaluation.coco_backend import score_and_match
from project.evaluation.curves import detection_curves
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.instance_confusion import confusion_counts, image_ious


@pytest.mark.parametrize(
    ("found", "objects", "expected"),
    [
        (detections(), truth((0, 0, 0)), {(0, 2): 1}),  # missed
        (detections((0, 0.9, 1)), truth(), {(2, 1): 1}),  # invented
        (detections((0, 0.9, 1)), truth((0, 0, 0)), {(0, 1): 1}),  # the wrong class
        (detections((0, 0.4, 0)), truth((0, 0, 0)), {(0, 2): 1}),  # not confident
        (detections((4, 0.9, 0)), truth((0, 0, 0)), {(0, 2): 1, (2, 0): 1}),  # IoU 60 / 140
        # The better overlap wins over the better score, and the other is left over.
        (detections((1, 0.9, 0), (0, 0.6, 1)), truth((0, 0, 0)), {(0, 1): 1, (2, 0): 1}),
        # Of equal overlaps, the more confident one.
        (detections((0, 0.6, 0), (0, 0.9, 1)), truth((0, 0, 0)), {(0, 1): 1, (2, 0): 1}),
        (detections((0, 0.9, 0)), truth((0, 1, 1)), {}),  # on a crowd
        (detections((0, 0.9, 0), (20, 0.9, 0)), truth((0, 1, 1), (20, 0, 0)), {(0, 0): 1}),
    ],
)
def test_hand_values(found, objects, expected):
    ious = image_ious(found, objects, "bbox")
    matrix = confusion_counts(found, objects, ious, num_classes=2, min_iou=0.5, min_score=0.5)
    wanted = np.zeros((3, 3), dtype=int)
    for cell, count in expected.items():
        wanted[cell] = count
    np.testing.assert_array_equal(matrix, wanted)


def test_the_evaluator_counts_images_without_predictions_too(coco_dataset):
    """Things are dog (0) and cat (1); the second image has no entry."""
    name = coco_dataset(
        [{"name": "cat", "mask": rectangle(2, 2, 20, 20)}],
        [{"name": "dog", "mask": rectangle(2, 2, 20, 20)}],
    )
    evaluator = InstanceEvaluator(name, confusion_score=0.8)
    record = dataset_records(name)[0]
    evaluator.process([record], [{"instances": instances(record)}])
    scores = evaluator.evaluate()
    assert scores["segm"]["confusion"] == {
        "classes": ["dog", "cat"],
        "matrix": [[0, 0, 1], [0, 1, 0], [0, 0, 0]],
        "iou": 0.5,
        "score": 0.8,
    }
    assert "confusion" not in scores["bbox"]


def test_curves_by_hand():
    """Four objects; detections by score: right 0.9, wrong 0.8, right 0.6, right 0.6, wrong 0.3."""
    objects = [[0, 0], [20, 0], [40, 0], [60, 0]]
    found = [(0, 0.9), (100, 0.8), (20, 0.6), (40, 0.6), (120, 0.3)]
    box = {"image_id": 1, "category_id": 0, "area": 100.0}
    content = {
        "images": [{"id": 1, "height": 50, "width": 200}],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "absent"}],
        "annotations": [
            {**box, "id": i, "bbox": [*xy, 10, 10], "iscrowd": 0} for i, xy in enumerate(objects, 1)
        ],
    }
    entries = [{**box, "bbox": [x, 0, 10, 10], "score": score} for x, score in found]
    _, table, _ = score_and_match(content, entries, "bbox")
    curves = detection_curves(table)
    assert curves["classes"]["absent"] is None
    curve = curves["classes"]["a"]
    assert curves["all"] == curve
    at = dict(zip(curves["recall"], curve["precision"]))
    # The third right one: precision 3 / 4 at recall 3 / 4, better than 2 / 3 at 1 / 2.
    assert [at[r] for r in (0.0, 24.0, 26.0, 74.0, 76.0)] == [100, 100, 75, 75, 0]
    f1 = dict(zip(curves["threshold"], curve["F1"]))
    assert [f1[t] for t in (0.0, 0.3, 0.32, 0.6, 0.62, 0.9, 0.92)] == pytest.approx(
        [66.7, 66.7, 75, 75, 33.3, 40, 0]
    )
    best = {"threshold": 0.6, "F1": 75, "precision": 75, "recall": 75}
    assert curve["best"] == pytest.approx(best)
    _, nothing, _ = score_and_match(content, [], "bbox")
    empty = detection_curves(nothing)["classes"]["a"]
    assert empty["best"] is None and set(empty["precision"] + empty["F1"]) == {0}
