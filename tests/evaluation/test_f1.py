"""The score of one image, by hand."""

import numpy as np
import pytest

from project.evaluation.detections import ImageDetections
from project.evaluation.f1 import f1_score
from project.evaluation.instance_confusion import image_ious


def detections(*rows: tuple[float, float, int]) -> ImageDetections:
    """Boxes of 10 x 10 pixels from (x, score, class)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    boxes = np.zeros((len(table), 4))
    boxes[:, 0], boxes[:, 2:] = table[:, 0], 10
    return ImageDetections((50, 50), boxes, table[:, 1], table[:, 2].astype(int), None)


def truth(*rows: tuple[float, int, int]) -> list[dict]:
    """Boxes of 10 x 10 pixels from (x, class, iscrowd)."""
    return [
        {"bbox": [x, 0.0, 10.0, 10.0], "category_id": c, "iscrowd": crowd} for x, c, crowd in rows
    ]


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
