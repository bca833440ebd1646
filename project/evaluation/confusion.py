"""Counts of pixels by true and predicted class, and the scores of semantics that follow from them.

K classes. A matrix holds (K, K + 1) pixels: row = true class, column = predicted class, the last
column = pixels to which the prediction gives no class (they miss their class and harm no other).
Statistics hold (K, 5) pixels: `HITS, TRUE, PREDICTED` and, of the boundary (`boundary.py`),
`BOUNDARY_BOTH, BOUNDARY_EITHER`.
"""

from typing import Any

import cv2
import numpy as np

HITS, TRUE, PREDICTED, BOUNDARY_BOTH, BOUNDARY_EITHER = range(5)
_ROWS = 2**23  # pixels at a time: OpenCV counts in float32, exact up to 2**24


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the pixels of one image.

    Args:
        truth: (H, W) uint8 semantic ids; 255 (`IGNORE_LABEL`) does not count.
        prediction: (H, W) uint8 semantic ids; 255 is no class.
        num_classes: K, at most 255.

    Returns:
        (K, K + 1) int64.
    """
    assert truth.shape == prediction.shape, (truth.shape, prediction.shape)
    side = num_classes + 1
    matrix = np.zeros((side, side), dtype=np.int64)
    step = max(1, _ROWS // max(truth.shape[1], 1))
    for row in range(0, truth.shape[0], step):
        pair = [np.minimum(labels[row : row + step], num_classes) for labels in (truth, prediction)]
        cells = cv2.calcHist(pair, [0, 1], None, [side, side], [0, side, 0, side])
        matrix += cells.astype(np.int64)
    return matrix[:num_classes]


def histogram(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) uint8 labels -> (256,) int64 pixels of each label within a (H, W) bool mask."""
    counts = np.zeros(256, dtype=np.int64)
    step = max(1, _ROWS // max(labels.shape[1], 1))
    for row in range(0, labels.shape[0], step):
        within = mask[row : row + step].view(np.uint8)
        cells = cv2.calcHist([labels[row : row + step]], [0], within, [256], [0, 256])
        counts += cells.ravel().astype(np.int64)
    return counts


def statistics(matrix: np.ndarray) -> np.ndarray:
    """(K, K + 1) pixels -> (K, 3): all that the scores need, without the boundary."""
    hits = np.diag(matrix)
    return np.stack([hits, matrix.sum(axis=1), matrix[:, :-1].sum(axis=0)], axis=1)


def class_shares(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each class.

    IoU = TP / (TP + FP + FN), Dice = 2 TP / (2 TP + FP + FN) and ACC = TP / (TP + FN); BIoU is the
    IoU of the boundaries (Cheng et al. 2021), where they were counted.

    Args:
        counts: (..., K, 3 or 5) statistics.

    Returns:
        Metric -> (..., K), 0 to 1, NaN where nothing was there.
    """
    hits, true, predicted = (counts[..., n] for n in (HITS, TRUE, PREDICTED))
    shares = {
        "IoU": _ratio(hits, true + predicted - hits),
        "Dice": _ratio(2 * hits, true + predicted),
        "ACC": _ratio(hits, true),
    }
    if counts.shape[-1] > BOUNDARY_EITHER:
        shares["BIoU"] = _ratio(counts[..., BOUNDARY_BOTH], counts[..., BOUNDARY_EITHER])
    return shares


def mean_shares(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores over all classes.

    mIoU, mDice and BIoU are means over the classes that occur in truth or prediction, mACC over
    those that occur in the truth; fwIoU weighs IoU by the class's share of the true pixels, pACC is
    the share of all pixels that are right.

    Args:
        counts: (..., K, 3 or 5) statistics.

    Returns:
        Metric -> (...), 0 to 1, NaN where nothing was there.
    """
    of = class_shares(counts)
    true = counts[..., TRUE]
    pixels = true.sum(axis=-1)
    means = {
        "mIoU": _mean(of["IoU"]),
        "fwIoU": _ratio(np.nansum(of["IoU"] * true, axis=-1), pixels),
        "mACC": _mean(of["ACC"]),
        "pACC": _ratio(counts[..., HITS].sum(axis=-1), pixels),
        "mDice": _mean(of["Dice"]),
    }
    return means | ({"BIoU": _mean(of["BIoU"])} if "BIoU" in of else {})


def mean_iou(counts: np.ndarray) -> float:
    """Mean IoU of (K, 3 or more) statistics alone, 0 to 1; NaN where nothing was there."""
    hits, true, predicted = counts[:, HITS], counts[:, TRUE], counts[:, PREDICTED]
    union = true + predicted - hits
    there = union > 0
    return float((hits[there] / union[there]).mean()) if there.any() else float("nan")


def semantic_scores(counts: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores of a data set.

    Args:
        counts: (K, 3 or 5) statistics.
        names: of the K classes.

    Returns:
        The metrics of `mean_shares` and per_class with those of `class_shares`, 0 to 100; None
        where nothing was there.
    """
    of = class_shares(counts)
    return {
        **{name: _percent(share) for name, share in mean_shares(counts).items()},
        "per_class": {
            name: {metric: _percent(shares[k]) for metric, shares in of.items()}
            for k, name in enumerate(names)
        },
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0).sum(axis=-1), there.sum(axis=-1))


def _percent(share: Any) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
