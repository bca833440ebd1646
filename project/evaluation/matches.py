"""Which detections match which objects, image by image: all that average precision is made of.

With these tables the AP of any resample of the images is exactly what COCO's rules give for it
(https://cocodataset.org/#detection-eval); no mean of scores of single images would be.

I images, C classes, D detections, G objects, A area ranges, T IoU thresholds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
IOU_50, IOU_75 = 0, 5  # positions on axis T
_SMALL, _LARGE = 32.0**2, 96.0**2
# (A, 2) least and largest area: all, small, medium, large; pixels.
AREA_RANGES = np.array([[0, 1e10], [0, _SMALL], [_SMALL, _LARGE], [_LARGE, 1e10]])
AREAS = {"s": 1, "m": 2, "l": 3}  # suffix of a metric -> position on axis A; 0 is all

# (image id, class id) -> (detections, objects) IoU; detections by falling score, as COCO ranks them
Ious = Mapping[tuple[int, int], Any]


@dataclass(frozen=True)
class MatchTable:
    """The matches of one task on one data set.

    Detections stand class by class, within a class by falling score, and of equal scores as COCO
    ranks them: by image, then as they were given.

    Attributes:
        classes: names.
        images: how many there are.
        detection_class: (D,) int32, 0 to C - 1.
        detection_image: (D,) int32, 0 to I - 1.
        scores: (D,) float64.
        hits: (D, A * T / 8) uint8, packed bits: the detection found an object.
        ignored: (D, A * T / 8) uint8, packed bits: it counts neither for nor against.
        object_class: (G,) int32.
        object_image: (G,) int32.
        object_ignored: (G, A) bool: crowds, and objects outside the range.
    """

    classes: tuple[str, ...]
    images: int
    detection_class: np.ndarray
    detection_image: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    object_class: np.ndarray
    object_image: np.ndarray
    object_ignored: np.ndarray

    def flags(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """(D', A, T) bool each of some detections: whether a true find, and whether it counts."""
        shape = (-1, len(AREA_RANGES), len(IOU_THRESHOLDS))
        hits = np.unpackbits(self.hits[rows], axis=1).view(bool).reshape(shape)
        counted = np.unpackbits(self.ignored[rows], axis=1).view(bool).reshape(shape)
        np.logical_not(counted, out=counted)
        return np.logical_and(hits, counted, out=hits), counted

    def rows_of(self, number: int) -> slice:
        """Where the detections of a class stand."""
        first, end = np.searchsorted(self.detection_class, [number, number + 1])
        return slice(int(first), int(end))

    def objects_of(self, number: int) -> np.ndarray:
        """(I, A) int64: the objects of a class that count, by image."""
        counts = np.zeros((self.images, len(AREA_RANGES)), dtype=np.int64)
        chosen = self.object_class == number
        np.add.at(counts, self.object_image[chosen], ~self.object_ignored[chosen])
        return counts

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but the names, for a file."""
        names = [f.name for f in fields(self) if f.name not in ("classes", "images")]
        return {name: getattr(self, name) for name in names}


def empty_table() -> MatchTable:
    """The table of no image at all."""
    return match_table({"images": [], "categories": [], "annotations": []}, [], {}, 1)


def match_table(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], ious: Ious, limit: int
) -> MatchTable:
    """Matches all detections of a data set by COCO's rules.

    Args:
        truth: a COCO dict, see `evaluate_coco`.
        detections: see `evaluate_coco`.
        ious: of every image and class that has both; detections as COCO ranks them, at most
            `limit`, objects in the order of the truth, crowds by COCO's own measure.
        limit: the best so many of an image and class count.
    """
    images = {number: i for i, number in enumerate(sorted(x["id"] for x in truth["images"]))}
    categories = sorted(truth["categories"], key=lambda c: c["id"])
    numbers = {c["id"]: i for i, c in enumerate(categories)}
    objects = _columns(truth["annotations"], images, numbers)
    found = _columns(detections, images, numbers)
    crowd = np.array([bool(a["iscrowd"]) for a in truth["annotations"]], dtype=bool)
    scores = np.array([d["score"] for d in detections], dtype=np.float64)
    order = _ranked(found, scores, limit)
    found, scores = found[order], scores[order]

    shape = (len(found), len(AREA_RANGES), len(IOU_THRESHOLDS))
    hits = np.zeros(shape, dtype=bool)
    ignored = np.broadcast_to(outside(found["area"])[:, :, None], shape).copy()
    groups = _groups(found), _groups(objects)
    ids = list(images), [c["id"] for c in categories]
    for pair in groups[0].keys() & groups[1].keys():
        overlaps = np.asarray(ious[ids[0][pair[1]], ids[1][pair[0]]], dtype=np.float64)
        if overlaps.max() >= IOU_THRESHOLDS[0]:
            rows, columns = groups[0][pair], groups[1][pair]
            hits[rows], ignored[rows] = match_image(
                overlaps, found["area"][rows], objects["area"][columns], crowd[columns]
            )

    by_class = np.lexsort((-scores, found["class"]))
    return MatchTable(
        classes=tuple(c["name"] for c in categories),
        images=len(images),
        detection_class=found["class"][by_class],
        detection_image=found["image"][by_class],
        scores=scores[by_class],
        hits=_packed(hits[by_class]),
        ignored=_packed(ignored[by_class]),
        object_class=objects["class"],
        object_image=objects["image"],
        object_ignored=crowd[:, None] | outside(objects["area"]),
    )


def match_image(
    ious: np.ndarray, detection_areas: np.ndarray, object_areas: np.ndarray, crowd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Matches the detections of one image and class, at all thresholds and area ranges at once.

    The best detection chooses first, the object of the largest IoU (of equal ones the last) among
    those that count; objects that do not count are second choice. A crowd may be chosen again.

    Args:
        ious: (D, G), detections by falling score.
        detection_areas: (D,) pixels.
        object_areas: (G,) pixels.
        crowd: (G,) bool.

    Returns:
        (D, A, T) bool each: whether an object was found, and whether the detection is ignored.
    """
    passed_over = (crowd[:, None] | outside(object_areas)).T[:, None, :]  # (A, 1, G)
    beyond = outside(detection_areas)
    floors = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    if len(object_areas) == 1:
        return _match_single(ious >= floors[:, 0], beyond, passed_over[:, :, 0], bool(crowd[0]))
    shape = (len(ious), len(AREA_RANGES), len(IOU_THRESHOLDS))
    hits, ignored = np.zeros(shape, bool), np.repeat(beyond[:, :, None], shape[2], axis=2)
    taken = np.zeros((*shape[1:], ious.shape[1]), dtype=bool)
    a, t = np.arange(shape[1])[:, None], np.arange(shape[2])
    for d in np.flatnonzero(ious.max(axis=1) >= floors[0]):
        # Ranks instead of IoUs: whole numbers that no two objects share.
        rank = np.empty(ious.shape[1], dtype=np.int64)
        rank[np.argsort(ious[d], kind="stable")] = np.arange(1, ious.shape[1] + 1)
        rank = rank + np.where(passed_over, 0, ious.shape[1])
        value = np.where((~taken | crowd) & (ious[d] >= floors), rank, 0)  # (A, T, G)
        chosen = value.argmax(axis=2)
        hit = value[a, t, chosen] > 0
        taken[a, t, chosen] |= hit
        hits[d] = hit
        ignored[d] = np.where(hit, passed_over[a, 0, chosen], beyond[d][:, None])
    return hits, ignored


def _match_single(
    fits: np.ndarray, outside: np.ndarray, passed_over: np.ndarray, crowd: bool
) -> tuple[np.ndarray, np.ndarray]:
    """`match_image` for one object, the common case, without a loop.

    Args:
        fits: (D, T) bool: the IoU is large enough.
        outside: (D, A) bool: the detection is outside the range.
        passed_over: (A, 1) bool: the object does not count.
        crowd: whether it may be chosen again.
    """
    first = fits if crowd else fits & (np.cumsum(fits, axis=0) == 1)
    hits = np.repeat(first[:, None, :], outside.shape[1], axis=1)
    return hits, np.where(hits, passed_over, outside[:, :, None])


def _columns(
    entries: Sequence[Mapping[str, Any]], images: Mapping[int, int], classes: Mapping[int, int]
) -> np.ndarray:
    """Class, image and area of annotations or detections, as a structured array."""
    rows = [(classes[e["category_id"]], images[e["image_id"]], e["area"]) for e in entries]
    return np.array(rows, dtype=[("class", "i4"), ("image", "i4"), ("area", "f8")])


def _ranked(found: np.ndarray, scores: np.ndarray, limit: int) -> np.ndarray:
    """Indices by class, image and falling score, at most `limit` of a class and image."""
    order = np.lexsort((-scores, found["image"], found["class"]))
    pairs = found[["class", "image"]][order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = pairs[1:] != pairs[:-1]
    starts = np.flatnonzero(new)
    ranks = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return order[ranks < limit]


def _groups(entries: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """(class, image) -> indices of its entries, in their order."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, pair in enumerate(zip(entries["class"].tolist(), entries["image"].tolist())):
        groups[pair].append(index)
    return {pair: np.array(indices) for pair, indices in groups.items()}


def _packed(flags: np.ndarray) -> np.ndarray:
    """(D, A, T) bool -> (D, A * T / 8) uint8."""
    return np.packbits(flags.reshape(len(flags), flags.shape[1] * flags.shape[2]), axis=1)


def outside(areas: np.ndarray) -> np.ndarray:
    """(N,) areas -> (N, A) bool: outside of each range."""
    return (areas[:, None] < AREA_RANGES[:, 0]) | (areas[:, None] > AREA_RANGES[:, 1])
