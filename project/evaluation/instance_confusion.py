"""Which classes detections and objects are mistaken for: a confusion matrix of instances.

D detections, G objects, C classes. A matrix holds (C + 1, C + 1) counts: row = true class, last row
= background (the detection fits no object); column = predicted class, last column = background (the
object is missed).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from project.evaluation.detections import ImageDetections


def image_ious(
    detections: ImageDetections, objects: Sequence[dict[str, Any]], iou_type: str
) -> np.ndarray:
    """(D, G) IoU of all detections and objects of an image, whatever their classes.

    Args:
        detections: of the image.
        objects: the truth, see `InstanceTruth.of_image`; crowds by COCO's own measure.
        iou_type: "bbox" or "segm".
    """
    if not len(detections) or not objects:
        return np.zeros((len(detections), len(objects)))
    crowd = [o["iscrowd"] for o in objects]
    if iou_type == "segm":
        return mask_util.iou(detections.rles, [o["segmentation"] for o in objects], crowd)
    return mask_util.iou(detections.boxes, np.array([o["bbox"] for o in objects]), crowd)


def confusion_counts(
    detections: ImageDetections,
    objects: Sequence[dict[str, Any]],
    ious: np.ndarray,
    *,
    num_classes: int,
    min_iou: float,
    min_score: float,
) -> np.ndarray:
    """Counts the pairs, inventions and misses of one image.

    Whatever their classes, the detection and the object of the largest IoU are paired first, then
    the next of those that are left, down to `min_iou`; of equal IoUs the more confident detection
    comes first. Crowds ask for no detection, and one that fits nothing but a crowd does not count.

    Args:
        detections: of the image.
        objects: the truth.
        ious: (D, G) of `image_ious`.
        num_classes: C.
        min_iou: from which on a pair fits.
        min_score: from which on a detection counts.

    Returns:
        (C + 1, C + 1) int64.
    """
    crowd = np.array([bool(o["iscrowd"]) for o in objects], dtype=bool)
    classes = np.array([o["category_id"] for o in objects], dtype=np.int64)
    kept = detections.scores >= min_score
    matrix = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    rows, columns = np.nonzero((ious >= min_iou) & kept[:, None] & ~crowd)
    order = np.lexsort((-detections.scores[rows], -ious[rows, columns]))
    free_detections, free_objects = kept.copy(), ~crowd
    for d, o in zip(rows[order].tolist(), columns[order].tolist()):
        if free_detections[d] and free_objects[o]:
            free_detections[d] = free_objects[o] = False
            matrix[classes[o], detections.classes[d]] += 1
    excused = ((ious >= min_iou) & crowd).any(axis=1)
    np.add.at(matrix[num_classes], detections.classes[free_detections & ~excused], 1)
    np.add.at(matrix[:, num_classes], classes[free_objects], 1)
    return matrix
