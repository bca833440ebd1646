"""Joins what overlapping tiles found of the objects of an image: none twice, none cut.

Two neighbours see the pixels of their overlap both. What they find there is compared within the
overlap alone. A detection is cut where it comes so near to an inner border of its tile that it may
go on beyond; otherwise it is whole.

1. Of two whole detections of one class that agree, the one farther from the borders of its tile
   stays.
2. A cut detection of which half lies within a whole one of the neighbour goes, whatever the
   classes, unless its score is more than twice that of the whole one.
3. Other detections that agree, of which at least one is cut, are parts of one object: it gets all
   their pixels, the class for which score times area is largest, and as its score the mean of the
   scores for that class, by area. Parts of one class find each other first. An object has one part
   of each tile.

They agree if their intersection over union within the overlap is at least a half, or if one of two
cut ones lies within the other but for a fifth.

N detections.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from project.data.mask_crops import MaskCrop, MaskCrops
from project.modeling.tiles import Tile, overlapping

AGREEMENT = 0.5
_WITHIN = 0.8  # share of a cut detection inside another that makes them one
_FAINT = 0.5  # a whole detection of less than this share of a cut one's score does not replace it
_NEAR = 2.0  # pixels from a border at which a detection is cut ...
_CELL = 28  # ... and one cell more of the mask head's grid, which ends masks no better than that


@dataclass
class Detections:
    """The detections of all tiles, in pixels of the image, best first within a tile.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,).
        classes: (N,) thing ids.
        tiles: (N,) numbers of the tiles.
        masks: N; the filled boxes where the model makes no masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    tiles: np.ndarray
    masks: list[MaskCrop]


@dataclass(frozen=True)
class _Pair:
    """Two detections of different tiles that share pixels of both tiles.

    Attributes:
        first, second: their numbers.
        shared: pixels of both.
        iou: intersection over union within the overlap of their tiles.
    """

    first: int
    second: int
    shared: int
    iou: float


def merge_seams(found: list[Instances], tiles: list[Tile], size: tuple[int, int]) -> Instances:
    """The objects of an image.

    Args:
        found: of each tile, in its own pixels: `pred_boxes`, `scores`, `pred_classes` and
            optionally `pred_masks`, dense or `MaskCrops`.
        tiles: where they are.
        size: (height, width) of the image.

    Returns:
        The same fields, masks as `MaskCrops`, by falling score.
    """
    detections = _collect(found, tiles, size)
    context, cut = _context(detections, tiles)
    pairs = list(_pairs(detections, tiles))
    gone = _superseded(pairs, detections, context, cut)
    groups = _join(pairs, detections, cut, gone)
    has_masks = all(instances.has("pred_masks") for instances in found)
    return _instances(detections, groups, size, has_masks)


def _collect(found: list[Instances], tiles: list[Tile], size: tuple[int, int]) -> Detections:
    boxes, masks = [np.zeros((0, 4))], []
    for instances, tile in zip(found, tiles):
        corner = np.array([tile.left, tile.top] * 2)
        own = instances.pred_boxes.tensor.cpu().double().numpy()
        boxes.append(own + corner)
        if instances.has("pred_masks"):
            crops = MaskCrops.of(instances.pred_masks).shifted(tile.top, tile.left, size).crops
        else:
            crops = [_filled(box) for box in boxes[-1]]
        masks += crops
    return Detections(
        boxes=np.concatenate(boxes),
        scores=_field(found, "scores").astype(np.float64),
        classes=_field(found, "pred_classes").astype(np.int64),
        tiles=np.repeat(np.arange(len(found)), [len(instances) for instances in found]),
        masks=masks,
    )


def _field(found: list[Instances], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(i.get(name).cpu().numpy() for i in found)])


def _filled(box: np.ndarray) -> MaskCrop:
    x0, y0, x1, y1 = (int(v) for v in np.rint(box))
    return MaskCrop.of(np.ones((max(y1 - y0, 0), max(x1 - x0, 0)), bool), y0, x0)


def _context(detections: Detections, tiles: list[Tile]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) pixels to the nearest inner border of the tile, and (N,) bool whether it cuts."""
    edges = np.array([(t.left, t.top, t.right, t.bottom) for t in tiles], dtype=np.float64)
    outer = np.r_[edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)]
    edges = np.where(edges == outer, [-np.inf, -np.inf, np.inf, np.inf], edges)[detections.tiles]
    distance = (detections.boxes - edges) * [1, 1, -1, -1]  # (N, 4)
    sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
    cut = (distance < _NEAR + np.tile(sides, 2) / _CELL).any(axis=1)
    return distance.min(axis=1, initial=np.inf), cut


def _pairs(detections: Detections, tiles: list[Tile]) -> Iterator[_Pair]:
    of_tile = [np.flatnonzero(detections.tiles == n) for n in range(len(tiles))]
    for i, j in overlapping(tiles):
        a, b = tiles[i], tiles[j]
        overlap = Tile(
            max(a.top, b.top),
            max(a.left, b.left),
            min(a.bottom, b.bottom),
            min(a.right, b.right),
        )
        yield from _pairs_within(detections, of_tile[i], of_tile[j], overlap)


def _pairs_within(
    detections: Detections, first: np.ndarray, second: np.ndarray, overlap: Tile
) -> Iterator[_Pair]:
    """Pairs of detections numbered `first` and `second` that share pixels of the overlap."""
    lower = np.array([overlap.left, overlap.top])
    upper = np.array([overlap.right, overlap.bottom])
    clipped = [
        np.concatenate(
            [
                np.maximum(detections.boxes[numbers, :2], lower),
                np.minimum(detections.boxes[numbers, 2:], upper),
            ],
            axis=1,
        )
        for numbers in (first, second)
    ]
    corners = np.maximum(clipped[0][:, None, :2], clipped[1][None, :, :2])
    ends = np.minimum(clipped[0][:, None, 2:], clipped[1][None, :, 2:])
    views: dict[int, tuple[int, int, np.ndarray]] = {}
    for k, m in np.argwhere((corners < ends).all(axis=2)):
        numbers = int(first[k]), int(second[m])
        for number in numbers:
            if number not in views:
                views[number] = _view(detections.masks[number], overlap)
        shared = _shared(*(views[number] for number in numbers))
        if shared:
            union = sum(np.count_nonzero(views[number][2]) for number in numbers) - shared
            yield _Pair(*numbers, shared, shared / union)


def _view(mask: MaskCrop, tile: Tile) -> tuple[int, int, np.ndarray]:
    """Top, left and pixels of the part of a mask that lies in a tile."""
    top, left = max(mask.top, tile.top), max(mask.left, tile.left)
    rows = slice(top - mask.top, max(tile.bottom - mask.top, 0))
    columns = slice(left - mask.left, max(tile.right - mask.left, 0))
    return top, left, mask.pixels[rows, columns]


def _shared(a: tuple[int, int, np.ndarray], b: tuple[int, int, np.ndarray]) -> int:
    """Pixels that two masks have in common, each with the top and left of its window."""
    top, left = max(a[0], b[0]), max(a[1], b[1])
    bottom = min(a[0] + a[2].shape[0], b[0] + b[2].shape[0])
    right = min(a[1] + a[2].shape[1], b[1] + b[2].shape[1])
    if bottom <= top or right <= left:
        return 0
    parts = (m[top - y : bottom - y, left - x : right - x] for y, x, m in (a, b))
    return int(np.count_nonzero(np.logical_and(*parts)))


def _superseded(
    pairs: list[_Pair], detections: Detections, context: np.ndarray, cut: np.ndarray
) -> set[int]:
    """Numbers of the detections that another tile has in a better form (rules 1 and 2)."""
    scores, classes, masks = detections.scores, detections.classes, detections.masks
    gone = set()
    for pair in pairs:
        a, b = pair.first, pair.second
        if not cut[a] and not cut[b]:
            if classes[a] == classes[b] and pair.iou >= AGREEMENT:
                gone.add(min((a, b), key=lambda n: (context[n], scores[n], -n)))
        elif cut[a] != cut[b]:
            part, whole = (a, b) if cut[a] else (b, a)
            covered = pair.shared >= AGREEMENT * masks[part].area
            if covered and scores[whole] >= _FAINT * scores[part]:
                gone.add(part)
    return gone


def _join(
    pairs: list[_Pair], detections: Detections, cut: np.ndarray, gone: set[int]
) -> list[list[int]]:
    """Groups of the numbers of the detections that are one object each (rule 3)."""
    classes, tiles = detections.classes, detections.tiles
    groups = {n: [n] for n in range(len(classes)) if n not in gone}
    candidates = [
        pair
        for pair in pairs
        if pair.first in groups
        and pair.second in groups
        and (cut[pair.first] or cut[pair.second])
        and _agree(pair, detections, cut)
    ]
    candidates.sort(key=lambda p: (classes[p.first] != classes[p.second], -p.iou))
    for pair in candidates:
        ours, theirs = groups[pair.first], groups[pair.second]
        if ours is theirs or {tiles[n] for n in ours} & {tiles[n] for n in theirs}:
            continue
        ours += theirs
        groups.update(dict.fromkeys(theirs, ours))
    return list({id(group): group for group in groups.values()}.values())


def _agree(pair: _Pair, detections: Detections, cut: np.ndarray) -> bool:
    if pair.iou >= AGREEMENT:
        return True
    if not (cut[pair.first] and cut[pair.second]):
        return False
    smaller = min(detections.masks[n].area for n in (pair.first, pair.second))
    return pair.shared >= _WITHIN * smaller


def _instances(
    detections: Detections, groups: list[list[int]], size: tuple[int, int], has_masks: bool
) -> Instances:
    boxes, scores, classes, masks = [], [], [], []
    for group in groups:
        own = detections.boxes[group]
        boxes.append(np.r_[own[:, :2].min(axis=0), own[:, 2:].max(axis=0)])
        label, score = _judge(detections, group)
        classes.append(label)
        scores.append(score)
        masks.append(_union([detections.masks[n] for n in group]) if has_masks else None)
    order = np.argsort(-np.array(scores), kind="stable")
    result = Instances(size)
    result.pred_boxes = Boxes(torch.tensor(np.array(boxes).reshape(-1, 4)[order]).float())
    result.scores = torch.tensor(np.array(scores)[order]).float()
    result.pred_classes = torch.tensor(np.array(classes, dtype=np.int64)[order])
    if has_masks:
        result.pred_masks = MaskCrops((masks[i] for i in order), size)
    return result


def _judge(detections: Detections, group: list[int]) -> tuple[int, float]:
    """Class and score of an object of one or more parts."""
    if len(group) == 1:
        return int(detections.classes[group[0]]), float(detections.scores[group[0]])
    areas = np.array([max(detections.masks[n].area, 1) for n in group], dtype=np.float64)
    votes = np.bincount(detections.classes[group], weights=areas * detections.scores[group])
    return int(votes.argmax()), float(votes.max() / areas.sum())


def _union(parts: list[MaskCrop]) -> MaskCrop:
    parts = [part for part in parts if part.height] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    top, left = min(p.top for p in parts), min(p.left for p in parts)
    bottom, right = max(p.top + p.height for p in parts), max(p.left + p.width for p in parts)
    canvas = np.zeros((bottom - top, right - left), dtype=bool)
    for part in parts:
        rows, columns = part.window
        canvas[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] |= (
            part.pixels
        )
    return MaskCrop.of(canvas, top, left)
