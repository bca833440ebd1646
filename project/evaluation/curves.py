"""Precision against recall and F1 against the score threshold, at an IoU of 0.5.

D detections of a class that count, by falling score.
"""

from typing import Any

import numpy as np

from project.evaluation.average_precision import RECALLS
from project.evaluation.matches import IOU_50, IOU_THRESHOLDS, MatchTable

RECALL_LEVELS = RECALLS[::2]  # 51, a subset of COCO's
THRESHOLDS = np.linspace(0, 1, 51)


def detection_curves(table: MatchTable) -> dict[str, Any]:
    """The curves of every class and of all detections together.

    Args:
        table: of the task.

    Returns:
        {"iou", "recall": levels, "threshold": levels, "all": curve, "classes": {name: curve}},
        everything but the thresholds 0 to 100. A curve is {"precision": the best at each recall or
        a higher one, "F1": with the detections from each threshold on, "best": {"threshold", "F1",
        "precision", "recall"}}, or None where the truth has no object of the class; "best" is None
        without any right detection.
    """
    of_classes = {
        name: _curve(
            *_counted(table, table.rows_of(number)), int(table.objects_of(number)[:, 0].sum())
        )
        for number, name in enumerate(table.classes)
    }
    scores, hits = _counted(table, slice(None))
    order = np.argsort(-scores, kind="stable")
    return {
        "iou": float(IOU_THRESHOLDS[IOU_50]),
        "recall": _rounded(100 * RECALL_LEVELS),
        "threshold": THRESHOLDS.round(2).tolist(),
        "all": _curve(scores[order], hits[order], int((~table.object_ignored[:, 0]).sum())),
        "classes": of_classes,
    }


def _counted(table: MatchTable, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the detections that count, and whether each found an object."""
    hits, counted = (flags[:, 0, IOU_50] for flags in table.flags(rows))
    return table.scores[rows][counted], hits[counted]


def _curve(scores: np.ndarray, hits: np.ndarray, objects: int) -> dict[str, Any] | None:
    """Curves of one class from its (D,) scores, falling, and whether each found an object."""
    if not objects:
        return None
    found = np.cumsum(hits)
    kept = np.arange(1, len(hits) + 1)
    recall, precision = found / objects, found / kept
    f1 = 2 * found / (kept + objects)

    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALL_LEVELS, side="left")
    reachable = np.r_[envelope, 0.0][at]
    # With the threshold t, all detections of score t or more are kept.
    number = np.searchsorted(-scores, -THRESHOLDS, side="right")
    f1_at = np.r_[0.0, f1][number]
    # Equal scores stay or go together: a threshold cannot part them.
    last = [i for i in range(len(scores)) if i + 1 == len(scores) or scores[i] != scores[i + 1]]
    best = max(last, key=lambda i: f1[i], default=None)
    return {
        "precision": _rounded(100 * reachable),
        "F1": _rounded(100 * f1_at),
        "best": None
        if best is None or not found[best]
        else {
            "threshold": float(scores[best]),
            "F1": 100 * float(f1[best]),
            "precision": 100 * float(precision[best]),
            "recall": 100 * float(recall[best]),
        },
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 1) for v in values]
