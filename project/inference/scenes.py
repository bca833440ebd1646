"""From a model's output, a data set's record or the loader's item to what pictures show.

N objects, H x W pixels.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances, PolygonMasks

from project.data.categories import Categories
from project.data.labels import Segment, decode_mask, decode_masks, panoptic_truth, read_semantic
from project.data.mask_crops import MaskCrops, SampledMasks
from project.data.records import Record
from project.data.register import DatasetInfo
from project.layers.best_class import best_class
from project.report.canvas import sampled, scale_labels, scaled_size
from project.report.example import CONFIDENCE, Objects, Panoptic, Scene

_ROWS = 1024  # of a map that are counted at a time


def predicted_scene(
    output: dict[str, Any],
    categories: Categories,
    confidence: float = CONFIDENCE,
    scale: float = 1.0,
) -> Scene:
    """What a model found in one image.

    Args:
        output: of a `Predictor`.
        categories: of the data set.
        confidence: objects with a lower score are left out; panoptic segments stay as merged.
        scale: factor of the image's size; areas of segments stay those of the image.
    """
    parts = Scene(predicted_semantic(output), None, predicted_panoptic(output, categories))
    found = output.get("instances")
    objects = None if found is None else _objects(found, confidence, scale)
    return replace(parts.scaled(scale), objects=objects)


def predicted_semantic(output: dict[str, Any]) -> np.ndarray | None:
    """(H, W) uint8 semantic ids, None where the model has no semantics."""
    if "sem_seg" not in output:
        return None
    found = output["sem_seg"]  # (K, H, W) logits or (H, W) labels
    return (best_class(found) if found.dim() == 3 else found).numpy().astype(np.uint8)


def predicted_panoptic(output: dict[str, Any], categories: Categories) -> Panoptic | None:
    """The segments, None where the model has none."""
    if "panoptic_seg" not in output:
        return None
    ids, found = output["panoptic_seg"]
    return Panoptic(ids.numpy(), segments(ids.numpy(), found, categories))


def true_scene(record: Record, info: DatasetInfo, like: Scene, scale: float = 1.0) -> Scene:
    """What a data set says of an image, for the tasks that `like` has, at a factor of its size."""
    objects = panoptic = None
    if like.objects is not None and "annotations" in record:
        annotations = record["annotations"]
        height, width = record["height"], record["width"]
        # One after the other: at their own size there may be no room for all.
        masks = [scale_labels(decode_masks([a], height, width)[0], scale) for a in annotations]
        shape = scaled_size((height, width), scale)
        objects = Objects(
            np.array(masks, bool).reshape(-1, *shape),
            np.array([a["category_id"] for a in annotations], np.int64),
            crowd=np.array([a["iscrowd"] for a in annotations], bool),
        )
    if like.panoptic is not None and "annotations" in record:
        panoptic = Panoptic(*panoptic_truth(record, info))
    semantic = None if like.semantic is None else read_semantic(record, info)
    return replace(Scene(semantic, None, panoptic).scaled(scale), objects=objects)


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
    areas = _areas(ids, max((segment["id"] for segment in found), default=0))
    return [
        Segment(
            id=segment["id"],
            semantic_id=categories.semantic_of_segment(segment),
            isthing=bool(segment["isthing"]),
            iscrowd=0,
            area=int(areas[segment["id"]]),
        )
        for segment in found
    ]


def _areas(ids: np.ndarray, largest: int) -> np.ndarray:
    """(largest + 1,) pixels of each id of an (H, W) map, without a second map's memory."""
    strips = (ids[top : top + _ROWS] for top in range(0, len(ids), _ROWS))
    return np.sum([np.bincount(s.ravel(), minlength=largest + 1) for s in strips], axis=0)


def _objects(instances: Instances, confidence: float, scale: float) -> Objects:
    """Objects by falling score."""
    instances = instances[instances.scores >= confidence]
    instances = instances[instances.scores.argsort(descending=True, stable=True)]
    classes, scores = instances.pred_classes.numpy(), instances.scores.numpy()
    if not instances.has("pred_masks"):
        size = scaled_size(instances.image_size, scale)
        return Objects(_filled(instances.pred_boxes.tensor * scale, size), classes, scores)
    masks = instances.pred_masks
    if isinstance(masks, MaskCrops):
        return Objects(SampledMasks(masks, *sampled(masks.size, scale)), classes, scores)
    return Objects(masks.numpy().astype(bool), classes, scores).scaled(scale)


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
