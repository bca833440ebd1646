"""The score of one image, by hand."""

import pytest

from coco_cases import box_detections as detections
from coco_cases import box_truth as truth
from project.evaluation.f1 import f1_score
from project.evaluation.instance_confusion import image_ious


@pytest.mark.parametrize(
    ("found", "objects", "expected"),
    [
        (detections(), truth(), None),
        (detections(), truth((0, 0, 0)), 0),
        (detections((0, 0.9, 0)), truth(), 0),
        (detections((0, 0.9, 0)), truth((0, 0, 0)), 100),
        (detections((0, 0.49, 0)), truth((0, 0, 0)), 0),  # not confident
        (detections((0, 0.9, 1)), truth((0, 0, 0)), 0),  # another class
        (detections((3, 0.9, 0)), truth((0, 0, 0)), 100),  # IoU 70 / 130
        (detections((4, 0.9, 0)), truth((0, 0, 0)), 0),  # IoU 60 / 140
        (detections((0, 0.9, 0), (1, 0.8, 0)), truth((0, 0, 0)), 200 / 3),  # found twice
        (detections((1, 0.6, 0), (0, 0.9, 0)), truth((0, 0, 0), (3, 0, 0)), 100),
        (detections((0, 0.9, 0)), truth((0, 0, 1)), None),  # a crowd asks for nothing
        (detections((0, 0.9, 0), (20, 0.9, 0)), truth((0, 0, 1), (20, 0, 0)), 100),
        (detections((0, 0.9, 1), (20, 0.9, 0)), truth((0, 0, 1), (20, 0, 0)), 200 / 3),
    ],
)
def test_hand_values(found, objects, expected):
    score = f1_score(found, objects, image_ious(found, objects, "bbox"))
    assert score == (None if expected is None else pytest.approx(expected))
