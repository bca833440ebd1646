"""Average precision of weighted images, exactly by COCO's rules, many weightings at once.

An image of weight 2 counts as two images do, one of weight 0 is not there. With whole weights drawn
at random these are bootstrap resamples (Efron 1979); with all ones the data set's own scores.

B weightings, I images, C classes, D detections, J true finds among them, M metrics.
"""

from typing import Any

import numpy as np

from project.evaluation.matches import AREA_RANGES, AREAS, IOU_50, IOU_75, MatchTable

RECALLS = np.linspace(0, 1, 101)
_FEW_FINDS = 256
_CELLS = 2**23  # weightings times detections at a time; a bound of memory
# (area range, IoU thresholds) of each metric
METRICS: dict[str, tuple[int, slice]] = {
    "AP": (0, slice(None)),
    "AP50": (0, slice(IOU_50, IOU_50 + 1)),
    "AP75": (0, slice(IOU_75, IOU_75 + 1)),
    **{f"AP{suffix}": (area, slice(None)) for suffix, area in AREAS.items()},
}


def class_precision(table: MatchTable, weights: np.ndarray) -> np.ndarray:
    """Average precision of every class.

    Args:
        table: of the task.
        weights: (B, I) whole numbers from 0 on.

    Returns:
        (B, C, M) float, 0 to 1, NaN where the weighted truth has no such object; `METRICS` on M.
    """
    result = np.full((len(weights), len(table.classes), len(METRICS)), np.nan)
    longest = max(1, int(np.bincount(table.detection_class, minlength=1).max()))
    step = max(1, _CELLS // longest)
    if len(weights) > step:
        parts = range(0, len(weights), step)
        return np.concatenate([class_precision(table, weights[i : i + step]) for i in parts])
    for number in range(len(table.classes)):
        objects = weights @ table.objects_of(number)  # (B, A)
        if objects.any():
            of_class = _of_class(table, number, weights.astype(np.int32), objects)  # (B, A, T)
            for m, (area, levels) in enumerate(METRICS.values()):
                result[:, number, m] = of_class[:, area, levels].mean(axis=1)
    return result


def mean_precision(of_classes: np.ndarray) -> dict[str, np.ndarray]:
    """Means over the classes whose objects are there.

    Args:
        of_classes: (B, C, M) of `class_precision`.

    Returns:
        Metric -> (B,), 0 to 100, NaN where no class has such an object.
    """
    there = ~np.isnan(of_classes)
    count = there.sum(axis=1)
    total = np.where(there, of_classes, 0).sum(axis=1)
    means = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return {name: 100 * means[:, m] for m, name in enumerate(METRICS)}


def precision_scores(table: MatchTable, recall: str) -> dict[str, Any]:
    """The data set's own scores from the table alone.

    Args:
        table: of the task.
        recall: what the recall with all detections of the table is called.

    Returns:
        AP AP50 AP75 APs APm APl, the recall and per_class
        {name: {AP, AP50}}, 0 to 100, None where the truth holds no such object.
    """
    ones = np.ones((1, table.images), dtype=np.int64)
    of_classes = class_precision(table, ones)
    scores: dict[str, Any] = {m: _percent(v[0]) for m, v in mean_precision(of_classes).items()}
    scores[recall] = _percent(100 * _recall(table))
    values = 100 * of_classes[0, :, :2]
    scores["per_class"] = {
        name: {"AP": _percent(values[c, 0]), "AP50": _percent(values[c, 1])}
        for c, name in enumerate(table.classes)
    }
    return scores


def _of_class(
    table: MatchTable, number: int, weights: np.ndarray, objects: np.ndarray
) -> np.ndarray:
    """(B, A, T) average precision of one class."""
    rows = table.rows_of(number)
    finds, counted = table.flags(rows)
    index, copies = _with_copies(table, rows, int(weights.max()))
    if len(index) > len(finds):  # otherwise it is their own order
        finds, counted = finds[index], counted[index]
    # Rows are detections: sums along them are then sums of whole rows, which are fast.
    weight = np.ascontiguousarray(weights.T)[table.detection_image[rows][index]]
    # Of detections that an image ranks equal, its second copy comes after all of its first.
    weight = np.where(copies[:, None] < 0, weight, weight > copies[:, None]).astype(np.int32)
    result = np.full((len(weights), *finds.shape[1:]), np.nan)
    ranks: dict[bytes, np.ndarray] = {}
    known: dict[bytes, np.ndarray] = {}
    for a in range(len(AREA_RANGES)):
        there = objects[:, a] > 0
        if not there.any():
            continue
        wanted = np.maximum(objects[:, a], 1)
        for t in range(finds.shape[2]):
            key = counted[:, a, t].tobytes()
            if key not in ranks:
                ranks = {key: np.cumsum(weight[counted[:, a, t]], axis=0, dtype=np.int32)}
            of_pair = key + finds[:, a, t].tobytes() + wanted.tobytes()
            if of_pair not in known:
                found = np.cumsum(weight[finds[:, a, t]], axis=0, dtype=np.int32)
                at = finds[counted[:, a, t], a, t]
                known[of_pair] = _interpolated(found, ranks[key][at], wanted)
            result[:, a, t] = np.where(there, known[of_pair], np.nan)
    return result


def _with_copies(table: MatchTable, rows: slice, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The order of a class's detections when each image may be there `most` times.

    Returns:
        Index of each detection, and the number of the copy that it stands for; -1: for all.
    """
    scores, images = table.scores[rows], table.detection_image[rows]
    new = np.ones(len(scores), dtype=bool)
    new[1:] = (scores[1:] != scores[:-1]) | (images[1:] != images[:-1])
    starts = np.flatnonzero(new)
    sizes = np.diff(np.r_[starts, len(scores)])
    repeats = np.where(sizes > 1, most, 1)
    lengths = sizes * repeats
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    size = np.repeat(sizes, lengths)
    index = np.repeat(starts, lengths) + within % size
    return index, np.where(size > 1, within // size, -1)


def _interpolated(found: np.ndarray, ranks: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Mean over 101 recalls of the best precision at that recall or a higher one.

    Only detections that find an object can be such a best: precision falls at all others.

    Args:
        found: (J, B) objects found so far, at each true find.
        ranks: (J, B) detections that count so far.
        objects: (B,) from 1 on.

    Returns:
        (B,) 0 to 1.
    """
    if not len(found):
        return np.zeros(len(objects))
    best = found / np.maximum(ranks, 1)
    np.maximum.accumulate(best[::-1], axis=0, out=best[::-1])
    summed = sum_by_finds if len(found) <= _FEW_FINDS else sum_by_levels
    return summed(best, found, objects) / len(RECALLS)


def sum_by_finds(best: np.ndarray, found: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """(B,) sum over recall levels, find by find: how many levels each is the first to reach."""
    reached = np.searchsorted(RECALLS, found / objects, side="right")
    return (best * np.diff(reached, axis=0, prepend=0)).sum(axis=0)


def sum_by_levels(best: np.ndarray, found: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """The same level by level, by bisection in all columns at once; faster with many finds."""
    levels = RECALLS[:, None]
    needed = np.floor(levels * objects).astype(np.int64)  # (R, B)
    for _ in range(2):  # until found / objects >= level, by COCO's own comparison of floats
        needed += needed / objects < levels
    length, columns = len(found), np.arange(found.shape[1])
    low, high = np.zeros(needed.shape, dtype=np.int64), np.full(needed.shape, length)
    for _ in range(length.bit_length()):
        middle = (low + high) // 2
        short = (found[np.minimum(middle, length - 1), columns] < needed) & (low < high)
        low, high = np.where(short, middle + 1, low), np.where(short, high, middle)
    reached = best[np.minimum(low, length - 1), columns]
    return np.where(low < length, reached, 0).sum(axis=0)


def _recall(table: MatchTable) -> float:
    """Mean over classes and IoU thresholds of the share of objects that are found; NaN for none."""
    shares = []
    for number in range(len(table.classes)):
        objects = table.objects_of(number)[:, 0].sum()
        if objects:
            finds, _ = table.flags(table.rows_of(number))
            shares.append(finds[:, 0].sum(axis=0).mean() / objects)
    return float(np.mean(shares)) if shares else float("nan")


def _percent(value: float) -> float | None:
    """Rounded as `coco_backend` does it, so that a whole 100 is 100."""
    return None if np.isnan(value) else round(float(value), 10)
