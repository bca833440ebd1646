"""The matches of single images, held compactly until those of all are one table.

What is kept of a detection are 20 bytes; its mask is not needed any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from project.evaluation.boundary import boundary_ious
from project.evaluation.detections import ImageDetections
from project.evaluation.instance_truth import InstanceTruth
from project.evaluation.matches import Ious, MatchTable, match_table

# One detection; see `MatchTable`.
ROW = np.dtype([("class", "i4"), ("score", "f8"), ("hits", "u1", 5), ("ignored", "u1", 5)])


def image_rows(
    detections: ImageDetections,
    truth: Mapping[str, Any],
    ious: np.ndarray,
    task: str,
    limit: int,
) -> np.ndarray:
    """Matches the detections of one image by COCO's rules.

    Args:
        detections: of the image.
        truth: of the image alone, a COCO dict, see `InstanceTruth.coco_of_image`.
        ious: (D, G) IoU of all detections and objects, see `image_ious`; of masks for "boundary".
        task: "bbox", "segm" or "boundary".
        limit: the best so many of a class count.

    Returns:
        (D',) of `ROW`: class by class, within a class by falling score.
    """
    number = truth["images"][0]["id"]
    shape = "bbox" if task == "bbox" else "segm"
    found = [{**entry, "image_id": number} for entry in detections.coco(shape)]
    pairs = _by_class(detections, truth["annotations"], ious, number, limit)
    if task == "boundary":
        pairs = boundary_ious(truth, found, pairs, limit)
    table = match_table(truth, found, pairs, limit)
    rows = np.empty(len(table.scores), dtype=ROW)
    rows["class"], rows["score"] = table.detection_class, table.scores
    rows["hits"], rows["ignored"] = table.hits, table.ignored
    return rows


def joined(rows: Mapping[int, np.ndarray], truth: InstanceTruth, task: str) -> MatchTable:
    """The table of a data set.

    Args:
        rows: of each image that was predicted, by its number in the truth.
        truth: of the data set.
        task: "bbox", "segm" or "boundary".
    """
    numbers = sorted(rows)  # of equal scores COCO ranks that of the first image first
    parts = [rows[number] for number in numbers]
    together = np.concatenate(parts) if parts else np.empty(0, dtype=ROW)
    # Numbers are from 1 on, positions from 0.
    images = np.repeat(np.array(numbers, dtype=np.int32) - 1, [len(part) for part in parts])
    order = np.lexsort((-together["score"], together["class"]))
    together = together[order]
    return MatchTable(
        classes=truth.classes,
        images=len(truth.image_numbers),
        detection_class=together["class"].copy(),
        detection_image=images[order],
        scores=together["score"].copy(),
        hits=together["hits"].copy(),
        ignored=together["ignored"].copy(),
        **truth.object_columns("bbox" if task == "bbox" else "segm"),
    )


def _by_class(
    detections: ImageDetections,
    objects: Sequence[Mapping[str, Any]],
    ious: np.ndarray,
    number: int,
    limit: int,
) -> Ious:
    """The IoUs of each class alone, as `match_table` takes them."""
    of_objects = np.array([o["category_id"] for o in objects], dtype=np.int64)
    ranked = np.argsort(-detections.scores, kind="stable")
    pairs = {}
    for thing in np.intersect1d(detections.classes, of_objects).tolist():
        rows = ranked[detections.classes[ranked] == thing][:limit]
        pairs[number, thing] = ious[np.ix_(rows, np.flatnonzero(of_objects == thing))]
    return pairs
