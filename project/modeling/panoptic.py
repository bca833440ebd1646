"""Merging instances and semantics to panoptic segments.

Semantic classes are [*stuff, *things], so the semantic head judges things too; the merge takes
things from the instances and stuff from the semantic logits.

Legend: N instances, K semantic classes of which the first S are stuff, H x W pixels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor

from project.data.mask_crops import MaskCrops
from project.layers.best_class import best_class

Merge = Callable[[Instances, Tensor], tuple[Tensor, list[dict[str, Any]]]]
Window = tuple[tuple[slice, slice], np.ndarray]  # rows and columns, (h, w) bool mask in them
_ROWS = 1024  # of the image that are counted at a time


def build_merge(cfg: CfgNode) -> Merge:
    """`merge_panoptic` with the rules of a config whose class counts are known."""
    rules = cfg.MODEL.PANOPTIC_FPN.COMBINE
    return partial(
        merge_panoptic,
        num_stuff=count_stuff(cfg),
        overlap_threshold=rules.OVERLAP_THRESH,
        stuff_area_limit=rules.STUFF_AREA_LIMIT,
        score_threshold=rules.INSTANCES_CONFIDENCE_THRESH,
    )


def count_stuff(cfg: CfgNode) -> int:
    """S of a model with instances and semantics."""
    return cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - cfg.MODEL.ROI_HEADS.NUM_CLASSES


def merge_panoptic(
    instances: Instances,
    sem_seg: Tensor,
    *,
    num_stuff: int,
    overlap_threshold: float = 0.5,
    stuff_area_limit: int = 0,
    score_threshold: float = 0.5,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Pastes instances by falling score, then fills what is free with stuff.

    The rules are those of Kirillov et al. 2019 (arXiv:1801.00868, section 5.4), but for free
    pixels that the semantic head takes for a thing. They become the likeliest stuff, not void: no
    instance confirms the thing, and a hole in the stuff is lost whenever the head was wrong.

    Args:
        instances: with `scores` (N,), `pred_classes` (N,) thing ids, `pred_masks` (N, H, W) bool
            or `MaskCrops`.
        sem_seg: (K, H, W) logits or probabilities; or (H, W) uint8, the likeliest stuff.
        num_stuff: S.
        overlap_threshold: an instance is dropped if better ones hold more than this share of it.
        stuff_area_limit: stuff of fewer pixels becomes void.
        score_threshold: instances below it are left out.

    Returns:
        (H, W) int32 segment ids on the device of `sem_seg`, 0 for void, and for each segment
        "id", "isthing", "category_id" (a thing id or a semantic id) and, for things, "score".
    """
    height, width = sem_seg.shape[-2:]
    ids = np.zeros((height, width), dtype=np.int32)
    segments = _paste_things(ids, instances, overlap_threshold, score_threshold)
    if num_stuff:
        likeliest = sem_seg if sem_seg.dim() == 2 else best_class(sem_seg[:num_stuff])
        stuff = likeliest.cpu().numpy()
        segments += _fill_stuff(ids, stuff, num_stuff, stuff_area_limit, len(segments))
    return torch.from_numpy(ids).to(sem_seg.device), segments


def _paste_things(
    ids: np.ndarray, instances: Instances, overlap_threshold: float, score_threshold: float
) -> list[dict[str, Any]]:
    """Writes segments 1, 2, ... into `ids` (H, W), in place.

    Each instance depends on those before it, in steps too small for a GPU: hence NumPy.
    """
    scores = instances.scores.detach().cpu().numpy()
    classes = instances.pred_classes.cpu().numpy()
    find = _windows(instances.pred_masks, ids.shape)
    segments: list[dict[str, Any]] = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] < score_threshold:
            break
        window, mask = find(i)
        region = ids[window]
        free = mask & (region == 0)
        area, free_area = np.count_nonzero(mask), np.count_nonzero(free)
        if free_area == 0 or area - free_area > overlap_threshold * area:
            continue
        region[free] = len(segments) + 1
        segments.append(
            {
                "id": len(segments) + 1,
                "isthing": True,
                "category_id": int(classes[i]),
                "score": float(scores[i]),
            }
        )
    return segments


def _windows(masks: Tensor | MaskCrops, shape: tuple[int, ...]) -> Callable[[int], Window]:
    """A function from the number of a mask to its window; an empty one where it has no pixel."""
    if isinstance(masks, MaskCrops):
        assert masks.size == shape, (masks.size, shape)
        return lambda i: (masks.crops[i].window, masks.crops[i].pixels)
    dense: np.ndarray = masks.bool().cpu().numpy()  # (N, H, W)
    assert dense.shape[1:] == shape, (dense.shape, shape)
    rows, columns = np.asarray(dense.any(axis=2)), np.asarray(dense.any(axis=1))  # (N, H), (N, W)

    def find(i: int) -> Window:
        if not rows[i].any():
            return (slice(0), slice(0)), dense[i, :0, :0]
        window = _extent(rows[i]), _extent(columns[i])
        return window, dense[i][window]

    return find


def _extent(used: np.ndarray) -> slice:
    """From the first to the last True of a vector that has one."""
    return slice(int(used.argmax()), len(used) - int(used[::-1].argmax()))


def _fill_stuff(
    ids: np.ndarray, stuff: np.ndarray, num_stuff: int, area_limit: int, last_id: int
) -> list[dict[str, Any]]:
    """Writes one segment a stuff class into the zeros of `ids` (H, W), in place."""
    strips = [slice(top, top + _ROWS) for top in range(0, len(ids), _ROWS)]
    areas = np.zeros(num_stuff, dtype=np.int64)
    for s in strips:
        areas += np.bincount(stuff[s][ids[s] == 0], minlength=num_stuff)
    kept = np.flatnonzero((areas > 0) & (areas >= area_limit))
    segment_of_class = np.zeros(num_stuff, dtype=np.int32)
    segment_of_class[kept] = last_id + 1 + np.arange(len(kept))
    for s in strips:
        np.copyto(ids[s], segment_of_class[stuff[s]], where=ids[s] == 0)
    return [{"id": int(segment_of_class[k]), "isthing": False, "category_id": int(k)} for k in kept]
