"""COCO's numbers from a table of matches: the data set's masks need not be there any more."""

from typing import Any

import numpy as np

from project.evaluation.average_precision import precision_scores
from project.evaluation.matches import AREAS, MatchTable


def table_scores(table: MatchTable, limit: int) -> dict[str, Any]:
    """Average precision and recall, in the form of `evaluate_coco`.

    Args:
        table: of the task.
        limit: with which it was made; AR100 is named after it.
    """
    precision = precision_scores(table, "")
    per_class = precision.pop("per_class")
    del precision[""]
    limits = sorted({n for n in (1, 10, limit) if n <= limit})
    return {**precision, **_recalls(table, limits), "per_class": per_class}


def _recalls(table: MatchTable, limits: list[int]) -> dict[str, float | None]:
    """AR at each limit, and with all detections for each range of areas."""
    names = {f"AR{limit}": (0, limit) for limit in limits}
    names |= {f"AR{suffix}": (area, limits[-1]) for suffix, area in AREAS.items()}
    shares: dict[str, list[float]] = {name: [] for name in names}
    for number in range(len(table.classes)):
        objects = table.objects_of(number).sum(axis=0)  # (A,)
        rows = table.rows_of(number)
        finds, _ = table.flags(rows)
        ranks = _ranks(table.detection_image[rows])
        for name, (area, limit) in names.items():
            if objects[area]:
                found = finds[ranks < limit, area].sum(axis=0)  # (T,)
                shares[name].append(found.mean() / objects[area])
    return {name: _percent(of_classes) for name, of_classes in shares.items()}


def _ranks(images: np.ndarray) -> np.ndarray:
    """(D,) images of detections by falling score -> how many better ones the same image has."""
    order = np.argsort(images, kind="stable")
    in_order = images[order]
    new = np.ones(len(images), dtype=bool)
    new[1:] = in_order[1:] != in_order[:-1]
    starts = np.flatnonzero(new)
    ranks = np.empty(len(images), dtype=np.int64)
    ranks[order] = np.arange(len(images)) - np.repeat(starts, np.diff(np.r_[starts, len(images)]))
    return ranks


def _percent(shares: list[float]) -> float | None:
    """Rounded as `coco_backend` does it, so that a whole 100 is 100."""
    return round(100 * float(np.mean(shares)), 10) if shares else None
