"""From a model's output, a data set's record or the loader's item to what pictures show.

N objects, H x W pixels.
"""

from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances, PolygonMasks

from project.data.categories import Categories
from project.data.labels import Segment, decode_mask, decode_masks, panoptic_truth, read_semantic
from project.data.records import Record
from project.data.register import DatasetInfo
from project.report.example import CONFIDENCE, Objects, Panoptic, Scene


def predicted_scene(
    output: dict[str, Any], categories: Categories, confidence: float = CONFIDENCE
) -> Scene:
    """What a model found in one image.

    Args:
        output: of a `Predictor`.
        categories: of the data set.
        confidence: objects with a lower score are left out; panoptic segments stay as merged.
    """
    semantic, panoptic = predicted_semantic(output), None
    if "panoptic_seg" in output:
        ids, found = output["panoptic_seg"]
        panoptic = Panoptic(ids.numpy(), segments(ids.numpy(), found, categories))
    objects = _objects(output["instances"], confidence) if "instances" in output else None
    return Scene(semantic, objects, panoptic)


def predicted_semantic(output: dict[str, Any]) -> np.ndarray | None:
    """(H, W) uint8 semantic ids, None where the model has no semantics."""
    if "sem_seg" not in output:
        return None
    return output["sem_seg"].argmax(dim=0).numpy().astype(np.uint8)


def true_scene(record: Record, info: DatasetInfo, like: Scene) -> Scene:
    """What a data set says of an image, for the tasks that `like` has."""
    objects = panoptic = None
    if like.objects is not None and "annotations" in record:
        annotations = record["annotations"]
        shape = record["height"], record["width"]
        objects = Objects(
            np.array(decode_masks(annotations, *shape), bool).reshape(-1, *shape),
            np.array([a["category_id"] for a in annotations], np.int64),
            crowd=np.array([a["iscrowd"] for a in annotations], bool),
        )
    if like.panoptic is not None and "annotations" in record:
        panoptic = Panoptic(*panoptic_truth(record, info))
    semantic = None if like.semantic is None else read_semantic(record, info)
    return Scene(semantic, objects, panoptic)


def fed_scene(item: dict[str, Any]) -> Scene:
    """What a `SegmentationMapper` gives a model to learn from, with the boxes of its objects."""
    semantic = item["sem_seg"].numpy().astype(np.uint8) if "sem_seg" in item else None
    if "instances" not in item:
        return Scene(semantic)
    truth: Instances = item["instances"]
    boxes, size = truth.gt_boxes.tensor, truth.image_size
    masks = _masks(truth.gt_masks, size) if truth.has("gt_masks") else _filled(boxes, size)
    return Scene(semantic, Objects(masks, truth.gt_classes.numpy(), boxes=boxes.numpy()))


def segments(ids: np.ndarray, found: list[dict[str, Any]], categories: Categories) -> list[Segment]:
    """Detectron2's `segments_info` in the form of the truth: classes by semantic id, with areas."""
    return [
        Segment(
            id=segment["id"],
            semantic_id=categories.semantic_of_segment(segment),
            isthing=bool(segment["isthing"]),
            iscrowd=0,
            area=int((ids == segment["id"]).sum()),
        )
        for segment in found
    ]


def _objects(instances: Instances, confidence: float) -> Objects:
    """Objects by falling score."""
    instances = instances[instances.scores >= confidence]
    instances = instances[instances.scores.argsort(descending=True, stable=True)]
    if instances.has("pred_masks"):
        masks = instances.pred_masks.numpy().astype(bool)
    else:
        masks = _filled(instances.pred_boxes.tensor, instances.image_size)
    return Objects(masks, instances.pred_classes.numpy(), instances.scores.numpy())


def _masks(held: BitMasks | PolygonMasks, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool, from either way of holding masks."""
    if isinstance(held, BitMasks):
        return held.tensor.numpy()
    masks = [decode_mask([p.tolist() for p in polygons], *size) for polygons in held.polygons]
    return np.array(masks, bool).reshape(-1, *size)


def _filled(boxes: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool: boxes (N, 4) filled, where there are no masks."""
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.round().int().tolist()):
        mask[max(0, y0) : y1, max(0, x0) : x1] = True
    return masks
