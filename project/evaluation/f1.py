"""One number for the detections of one image, to tell good images from bad ones.

D confident detections, G true objects.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from project.evaluation.detections import ImageDetections

CONFIDENT = 0.5  # score from which a detection counts
MIN_IOU = 0.5


def f1_score(
    detections: ImageDetections, objects: Sequence[dict[str, Any]], iou_type: str
) -> float | None:
    """How well the confident detections of an image fit: 2 TP / (objects + detections).

    The most confident detection chooses first. Crowds do not count, nor do detections that fit
    nothing but a crowd.

    Args:
        detections: of the image.
        objects: the truth, see `InstanceTruth.of_image`.
        iou_type: "bbox" or "segm".

    Returns:
        0 to 100; None where there is neither object nor detection.
    """
    confident = np.flatnonzero(detections.scores >= CONFIDENT)
    order = confident[np.argsort(-detections.scores[confident], kind="stable")]
    crowd = np.array([o["iscrowd"] for o in objects], dtype=bool)
    ious = _class_ious(detections, objects, iou_type)[order]  # (D, G)
    free = ~crowd
    hits = excused = 0
    for row in ious:
        best = int(np.argmax(np.where(free, row, -1))) if len(row) else 0
        if free.any() and row[best] >= MIN_IOU:
            free[best] = False
            hits += 1
        else:
            excused += int((row[crowd] >= MIN_IOU).any())
    total = int((~crowd).sum()) + len(order) - excused
    return 100 * 2 * hits / total if total else None


def _class_ious(
    detections: ImageDetections, objects: Sequence[dict[str, Any]], iou_type: str
) -> np.ndarray:
    """(N, G) IoU of all detections and objects, 0 where their classes differ."""
    if not len(detections) or not objects:
        return np.zeros((len(detections), len(objects)))
    key, found = (
        ("segmentation", detections.rles) if iou_type == "segm" else ("bbox", detections.boxes)
    )
    truth = [o[key] for o in objects]
    ious = mask_util.iou(
        found, truth if iou_type == "segm" else np.array(truth), [o["iscrowd"] for o in objects]
    )
    return ious * (detections.classes[:, None] == [o["category_id"] for o in objects])
