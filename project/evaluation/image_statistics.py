"""What is kept of every image so that the scores of any choice of images can be computed.

B weightings of I images: an image of weight 2 counts twice, one of weight 0 is not there. K or C
classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from project.evaluation.average_precision import METRICS, class_precision, mean_precision
from project.evaluation.confusion import class_shares, mean_shares
from project.evaluation.matches import MatchTable
from project.evaluation.panoptic_quality import class_qualities, mean_qualities


@dataclass(frozen=True)
class PixelCounts:
    """Semantics.

    Attributes:
        classes: names of the K semantic classes.
        counts: (I, K, 5) int64 pixels, see `confusion`; 0 of images that were not predicted.
        values: scores of single images whose mean is the data set's, (I,) each, 0 to 100, NaN where
            an image has none.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentCounts:
    """Panoptics.

    Attributes:
        classes: names of the K semantic classes, stuff first.
        num_stuff: how many of them are stuff.
        counts: (I, K, 4) int64, see `panoptic_quality`.
    """

    classes: tuple[str, ...]
    num_stuff: int
    counts: np.ndarray


TaskStatistics = MatchTable | PixelCounts | SegmentCounts


@dataclass(frozen=True)
class Weighted:
    """Scores of weighted images.

    Attributes:
        means: metric -> (B,), 0 to 100, NaN where undefined.
        metric: name of the score of classes.
        classes: (B, C), 0 to 100, NaN where undefined.
    """

    means: dict[str, np.ndarray]
    metric: str
    classes: np.ndarray


def weighted_scores(statistics: TaskStatistics, weights: np.ndarray) -> Weighted:
    """The scores of a task for each of B weightings.

    Args:
        statistics: of the task.
        weights: (B, I) whole numbers from 0 on.
    """
    return _SCORERS[type(statistics)](statistics, weights)


def _matches(table: MatchTable, weights: np.ndarray) -> Weighted:
    of_classes = class_precision(table, weights)
    first = list(METRICS).index("AP")
    return Weighted(mean_precision(of_classes), "AP", 100 * of_classes[..., first])


def _pixels(pixels: PixelCounts, weights: np.ndarray) -> Weighted:
    counts = _sums(pixels.counts, weights)
    means = {name: 100 * share for name, share in mean_shares(counts).items()}
    for name, values in pixels.values.items():
        there = ~np.isnan(values)
        total, count = weights @ np.where(there, values, 0), weights @ there
        means[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Weighted(means, "IoU", 100 * class_shares(counts)["IoU"])


def _segments(segments: SegmentCounts, weights: np.ndarray) -> Weighted:
    counts = _sums(segments.counts, weights)
    return Weighted(mean_qualities(counts, segments.num_stuff), "PQ", class_qualities(counts)["PQ"])


def _sums(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(I, K, N) counts of images -> (B, K, N) float64 of the weightings."""
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    return (weights.astype(np.float64) @ flat).reshape(len(weights), *counts.shape[1:])


_SCORERS: dict[type, Callable[[Any, np.ndarray], Weighted]] = {
    MatchTable: _matches,
    PixelCounts: _pixels,
    SegmentCounts: _segments,
}
