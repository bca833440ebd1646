"""What masks look like: polygons that cross themselves, areas, copies."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pycocotools.mask as mask_util

from project.data.checks.object_table import ObjectTable
from project.data.records import Annotation

WHOLE_IMAGE = 0.995  # of its pixels
# Areas are counted in pixels or taken from the outline, which is half a pixel inside or outside.
_AREA_SHARE = 0.1
_NEAR_COPY = 0.95  # intersection over union of masks
_NEAR_BOX = 0.7  # of their boxes: cheap, and passes whatever could be a copy
_MAX_POINTS = 2048  # more are traced around pixels, which never cross
_ON_THE_LINE = 1e-7  # square pixels; beyond the rounding of coordinates up to a million


def area_differs(table: ObjectTable) -> np.ndarray:
    """(N,) bool, whether an area is neither that of the mask nor that of the outline.

    Crowds are passed over: nothing uses their areas, and COCO's own are not exact.
    """
    stated = np.array([a.get("area", np.nan) for a in table.annotations], dtype=np.float64)
    spans = table.bounds[:, 2:] - table.bounds[:, :2]
    differs = np.zeros(len(stated), dtype=bool)
    for index in np.flatnonzero((table.areas > 0) & ~table.crowd & ~np.isnan(stated)):
        segmentation = table.annotations[index].get("segmentation")
        areas = [table.areas[index]]
        if isinstance(segmentation, list):
            areas.append(sum(abs(outline_area(np.reshape(p, (-1, 2)))) for p in segmentation))
        slack = spans[index].sum()
        differs[index] = all(abs(stated[index] - a) > _AREA_SHARE * a + slack for a in areas)
    return differs


def outline_area(points: np.ndarray) -> float:
    """Signed area of a (P, 2) outline, by the shoelace formula."""
    return float(_crosses(points).sum() / 2)


def _crosses(points: np.ndarray) -> np.ndarray:
    """(P,) cross products of each point and the next."""
    following = np.roll(points, -1, axis=0)
    return points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]


def worst_crossing(points: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Where an outline crosses itself most.

    A crossing cuts an outline in two loops; edges that only touch or run along each other, as
    where a hole is reached through a slit, do not cross. Nor do seams, which join holes and parts:
    edges that are run back as well, wherever they lead.

    Args:
        points: (P, 2) float.

    Returns:
        The area of the smaller loop by that of the larger, 0..1, and the (2,) point; None where
        nothing crosses.
    """
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    if not 3 < len(points) <= _MAX_POINTS:
        return None
    edges = np.roll(points, -1, axis=0) - points
    # (P, P): on which side of the line through edge i is point k.
    sides = np.outer(edges[:, 0], points[:, 1]) - np.outer(edges[:, 1], points[:, 0])
    sides -= np.diagonal(sides)[:, None]
    left, right = sides > _ON_THE_LINE, sides < -_ON_THE_LINE
    parts = (left & _following(right)) | (right & _following(left))
    first, second = np.nonzero(np.triu(parts & parts.T, k=2))
    if not len(first):
        return None
    seams = _seams(points)
    solid = ~seams[first] & ~seams[second]
    first, second = first[solid], second[solid]
    if not len(first):
        return None
    start, end = sides[second, first], sides[second, (first + 1) % len(points)]
    where = points[first] + (start / (start - end))[:, None] * edges[first]
    sums = np.concatenate([[0.0], np.cumsum(_crosses(points))])
    after, before = points[first + 1], points[second]
    loops = sums[second] - sums[first + 1]
    loops += where[:, 0] * after[:, 1] - where[:, 1] * after[:, 0]
    loops += before[:, 0] * where[:, 1] - before[:, 1] * where[:, 0]
    rests = sums[-1] - loops
    sizes = np.sort(np.abs([loops, rests]), axis=0)
    shares = sizes[0] / np.maximum(sizes[1], 1e-9)
    worst = int(np.argmax(shares))
    return float(shares[worst]), where[worst]


def _seams(points: np.ndarray) -> np.ndarray:
    """(P,) bool, which edges of a (P, 2) outline are run in both directions."""
    _, numbers = np.unique(points, axis=0, return_inverse=True)
    starts = numbers.reshape(-1)
    ends = np.roll(starts, -1)
    return np.isin(starts * len(points) + ends, ends * len(points) + starts)


def _following(columns: np.ndarray) -> np.ndarray:
    """(P, P) with each column in the place of the one before it; faster than `np.roll`."""
    return np.concatenate([columns[:, 1:], columns[:, :1]], axis=1)


def exact_copies(table: ObjectTable) -> Iterator[tuple[int, int]]:
    """Pairs (copy, original) of one image with the same class, and the same mask or box."""
    first: dict[tuple, int] = {}
    for index, (record, annotation) in enumerate(zip(table.records, table.annotations)):
        key = (record["image_id"], annotation["category_id"], annotation["iscrowd"])
        original = first.setdefault((*key, _shape(annotation)), index)
        if original != index:
            yield index, original


def _shape(annotation: Annotation) -> tuple:
    """What is equal for equal masks, or for equal boxes where there are no masks."""
    segmentation = annotation.get("segmentation")
    if not segmentation:
        return tuple(annotation["bbox"])
    if isinstance(segmentation, list):
        return tuple(map(tuple, segmentation))
    keys = ("counts",) if "counts" in segmentation else ("png", "id")
    return tuple(segmentation[key] for key in keys)


def near_copies(table: ObjectTable) -> Iterator[tuple[int, int]]:
    """Pairs (copy, original) of one image and class whose masks are nearly the same; no crowds."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for index, (record, annotation) in enumerate(zip(table.records, table.annotations)):
        if table.areas[index] > 0 and not annotation["iscrowd"]:
            groups[record["image_id"], annotation["category_id"]].append(index)
    for members in groups.values():
        for i, j in _similar_boxes(table, np.array(members)):
            if mask_util.iou([table.rles[i]], [table.rles[j]], [0])[0, 0] >= _NEAR_COPY:
                yield max(i, j), min(i, j)


def _similar_boxes(table: ObjectTable, members: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of objects whose masks can be nearly the same, by areas and bounds."""
    members = members[np.argsort(table.areas[members], kind="stable")]
    areas, bounds = table.areas[members], table.bounds[members]
    for step in range(1, len(members)):
        alike = areas[:-step] >= _NEAR_COPY * areas[step:]
        if not alike.any():
            return
        one, other = bounds[:-step], bounds[step:]
        common = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
        together = np.maximum(one[:, 2:], other[:, 2:]) - np.minimum(one[:, :2], other[:, :2])
        overlap = common.clip(min=0).prod(axis=1) / together.prod(axis=1)
        for index in np.flatnonzero(alike & (overlap >= _NEAR_BOX)):
            yield int(members[index]), int(members[index + step])
