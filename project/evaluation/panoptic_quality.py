"""Panoptic quality (Kirillov et al. 2019, https://arxiv.org/abs/1801.00868) of label images.

Counts are a (K, 4) int64 array, semantic class by `IOU, MATCHED, WRONG, MISSED`: the sum of the
matched pairs' IoU in units of 2**-40 (whole numbers, so that the sum depends on no order of images
or ranks), true positives, false positives, false negatives.

The rules are those of https://github.com/cocodataset/panopticapi: a pair matches where the classes
agree and the IoU, without predicted pixels on true void, exceeds 0.5 (so at most one pair a
segment); a predicted segment that lies mostly on void, or on crowds of its class, is no mistake.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from project.data.categories import Categories
from project.data.labels import Segment

VOID = 0  # segment id of pixels without a segment
IOU, MATCHED, WRONG, MISSED = range(4)
_IOU_UNIT = 2**40
_ROWS = 1024  # of a map that are compared at a time

Overlaps = dict[tuple[int, int], int]  # (true id, predicted id) -> pixels that have both


def overlaps(truth_ids: np.ndarray, prediction_ids: np.ndarray) -> Overlaps:
    """Measures which segments of one image share pixels.

    Args:
        truth_ids: (H, W) segment ids, 0 to 2**31 - 1.
        prediction_ids: (H, W) segment ids, 0 to 2**31 - 1.

    Returns:
        (true id, predicted id) -> pixels that have both, more than 0.
    """
    found: Counter[tuple[int, int]] = Counter()
    for top in range(0, len(truth_ids), _ROWS):
        rows = slice(top, top + _ROWS)
        found.update(_overlaps(truth_ids[rows].ravel(), prediction_ids[rows].ravel()))
    return dict(found)


def _overlaps(truth_ids: np.ndarray, prediction_ids: np.ndarray) -> Overlaps:
    """Of (N,) ids; runs of the same pair are counted as one, since sorting all pixels is slow."""
    if not len(truth_ids):
        return {}
    changes = truth_ids[1:] != truth_ids[:-1]
    changes |= prediction_ids[1:] != prediction_ids[:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=len(truth_ids))
    both = truth_ids[starts].astype(np.int64) << 32 | prediction_ids[starts].astype(np.int64)
    order = np.argsort(both)
    both = both[order]
    firsts = np.flatnonzero(np.concatenate([[True], both[1:] != both[:-1]]))
    pixels = np.add.reduceat(lengths[order], firsts)
    values = both[firsts]
    pairs = zip((values >> 32).tolist(), (values & 0xFFFFFFFF).tolist())
    return dict(zip(pairs, pixels.tolist()))


def count_segments(
    overlap: Overlaps, truth: Sequence[Segment], prediction: Mapping[int, int], num_classes: int
) -> np.ndarray:
    """Matches the segments of one image.

    Args:
        overlap: of true and predicted segments, see `overlaps`.
        truth: the true segments.
        prediction: the semantic id of each predicted segment.
        num_classes: K.

    Returns:
        (K, 4) counts.
    """
    counts = np.zeros((num_classes, 4), dtype=np.int64)
    classes = {s["id"]: s["semantic_id"] for s in truth if not s["iscrowd"]}
    matches = _matches(overlap, classes, prediction)
    for (_, p), iou in matches.items():
        counts[prediction[p], [IOU, MATCHED]] += round(iou * _IOU_UNIT), 1
    for t in classes.keys() - {t for t, _ in matches}:
        counts[classes[t], MISSED] += 1
    crowds = {s["id"]: s["semantic_id"] for s in truth if s["iscrowd"]}
    excused = _excused(overlap, crowds, prediction)
    for p in prediction.keys() - {p for _, p in matches} - excused:
        counts[prediction[p], WRONG] += 1
    return counts


def _matches(
    overlap: Overlaps, truth: Mapping[int, int], prediction: Mapping[int, int]
) -> dict[tuple[int, int], float]:
    """(true id, predicted id) -> IoU of the pairs of one class above 0.5."""
    true_area: Counter[int] = Counter()
    predicted_area: Counter[int] = Counter()
    for (t, p), pixels in overlap.items():
        true_area[t] += pixels
        predicted_area[p] += pixels if t != VOID else 0
    ious = {
        (t, p): pixels / (true_area[t] + predicted_area[p] - pixels)
        for (t, p), pixels in overlap.items()
        if t in truth and p in prediction and truth[t] == prediction[p]
    }
    return {pair: iou for pair, iou in ious.items() if iou > 0.5}


def _excused(
    overlap: Overlaps, crowds: Mapping[int, int], prediction: Mapping[int, int]
) -> set[int]:
    """Predicted ids of which more than half lies on void or on crowds of their class."""
    area: Counter[int] = Counter()
    pardoned: Counter[int] = Counter()
    for (t, p), pixels in overlap.items():
        area[p] += pixels
        if t == VOID or (t in crowds and crowds[t] == prediction.get(p)):
            pardoned[p] += pixels
    return {p for p in area if pardoned[p] > 0.5 * area[p]}


def class_qualities(counts: np.ndarray) -> dict[str, np.ndarray]:
    """PQ, SQ and RQ of each class.

    PQ = sum of IoU / (TP + FP / 2 + FN / 2), SQ = sum of IoU / TP (0 without TP) and
    RQ = TP / (TP + FP / 2 + FN / 2).

    Args:
        counts: (..., K, 4), see the top of this file.

    Returns:
        Metric -> (..., K), 0 to 100, NaN where nothing was there.
    """
    iou, matched, wrong, missed = (counts[..., n] for n in (IOU, MATCHED, WRONG, MISSED))
    overlap = iou / _IOU_UNIT
    there = matched + wrong + missed > 0
    weight = np.where(there, matched + (wrong + missed) / 2, 1)
    qualities = {
        "PQ": overlap / weight,
        "SQ": overlap / np.maximum(matched, 1),
        "RQ": matched / weight,
    }
    return {metric: np.where(there, 100 * values, np.nan) for metric, values in qualities.items()}


def mean_qualities(counts: np.ndarray, num_stuff: int) -> dict[str, np.ndarray]:
    """PQ, SQ and RQ over all classes, over things (_th) and over stuff (_st).

    They are means over the classes that occur in truth or prediction.

    Args:
        counts: (..., K, 4); stuff comes first.
        num_stuff: how many of the K classes are stuff.

    Returns:
        Metric -> (...), 0 to 100, NaN where nothing was there.
    """
    of = class_qualities(counts)
    groups = {"": slice(None), "_th": slice(num_stuff, None), "_st": slice(num_stuff)}
    return {
        metric + suffix: _mean(of[metric][..., classes])
        for suffix, classes in groups.items()
        for metric in of
    }


def panoptic_scores(counts: np.ndarray, categories: Categories) -> dict[str, Any]:
    """Panoptic, segmentation and recognition quality of a data set.

    Args:
        counts: (K, 4), see the top of this file.
        categories: of the data set.

    Returns:
        The metrics of `mean_qualities`, and per_class with those of `class_qualities`; None where
        nothing was there to score.
    """
    of = class_qualities(counts)
    means = mean_qualities(counts, len(categories.stuff))
    return {
        **{metric: _defined(value) for metric, value in means.items()},
        "per_class": {
            name: {metric: _defined(values[k]) for metric, values in of.items()}
            for k, name in enumerate(categories.semantic)
        },
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(axis=-1)
    total = np.where(there, values, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _defined(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
