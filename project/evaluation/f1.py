"""One number for the detections of one image, to tell good images from bad ones.

D detections, G true objects.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from project.evaluation.detections import ImageDetections

CONFIDENT = 0.5  # score from which a detection counts
MIN_IOU = 0.5


def f1_score(
    detections: ImageDetections, objects: Sequence[dict[str, Any]], ious: np.ndarray
) -> float | None:
    """How well the confident detections of an image fit: 2 TP / (objects + detections).

    The most confident detection chooses first. Crowds do not count, nor do detections that fit
    nothing but a crowd.

    Args:
        detections: of the image.
        objects: the truth, see `InstanceTruth.of_image`.
        ious: (D, G) of `image_ious`.

    Returns:
        0 to 100; None where there is neither object nor detection.
    """
    confident = np.flatnonzero(detections.scores >= CONFIDENT)
    order = confident[np.argsort(-detections.scores[confident], kind="stable")]
    crowd = np.array([o["iscrowd"] for o in objects], dtype=bool)
    same_class = detections.classes[:, None] == [o["category_id"] for o in objects]
    free = ~crowd
    hits = excused = 0
    for row in (ious * same_class)[order]:
        best = int(np.argmax(np.where(free, row, -1))) if len(row) else 0
        if free.any() and row[best] >= MIN_IOU:
            free[best] = False
            hits += 1
        else:
            excused += int((row[crowd] >= MIN_IOU).any())
    total = int((~crowd).sum()) + len(order) - excused
    return 100 * 2 * hits / total if total else None
