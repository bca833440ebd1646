"""Counts of pixels by true and predicted class, and the scores of semantics that follow from them.

K classes. A matrix holds (K, K + 1) pixels: row = true class, column = predicted class, the last
column = pixels to which the prediction gives no class (they miss their class and harm no other).
"""

from typing import Any

import numpy as np


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
    rows = np.minimum(truth, num_classes).astype(np.intp)
    cells = np.bincount(
        (rows * side + np.minimum(prediction, num_classes)).ravel(), minlength=side**2
    )
    return cells.reshape(side, side)[:num_classes]


def semantic_scores(matrix: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores of a confusion matrix.

    IoU = TP / (TP + FP + FN), Dice = 2 TP / (2 TP + FP + FN) and ACC = TP / (TP + FN) of a class;
    mIoU and mDice are their means over the classes that occur in truth or prediction, mACC over
    those that occur in the truth; fwIoU weighs IoU by the class's share of the true pixels, pACC is
    the share of all pixels that are right.

    Args:
        matrix: (K, K + 1) pixels.
        names: of the K classes.

    Returns:
        mIoU, fwIoU, mACC, pACC, mDice and per_class, 0 to 100; None where nothing was there.
    """
    num_classes = len(names)
    hits = np.diag(matrix).astype(np.float64)
    true = matrix.sum(axis=1)
    predicted = matrix[:, :num_classes].sum(axis=0)
    iou = _ratio(hits, true + predicted - hits)
    dice = _ratio(2 * hits, true + predicted)
    acc = _ratio(hits, true)
    weighted = np.nansum(iou * true, keepdims=True)
    return {
        "mIoU": _percent(_mean(iou)),
        "fwIoU": _percent(_ratio(weighted, true.sum(keepdims=True))[0]),
        "mACC": _percent(_mean(acc)),
        "pACC": _percent(_ratio(hits.sum(keepdims=True), true.sum(keepdims=True))[0]),
        "mDice": _percent(_mean(dice)),
        "per_class": {
            name: {"IoU": _percent(iou[k]), "Dice": _percent(dice[k]), "ACC": _percent(acc[k])}
            for k, name in enumerate(names)
        },
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _percent(share: float) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
