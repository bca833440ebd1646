"""The objects of many images as arrays, so that a check of a million of them takes seconds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pycocotools.mask as mask_util

from project.data.masks import Rle, to_rle
from project.data.records import Annotation, Record

_CHUNK = 20_000  # objects


@dataclass(frozen=True)
class ObjectTable:
    """N objects; boxes are x0, y0, x1, y1 in pixels.

    Attributes:
        records: (N) the image of each.
        annotations: (N) the objects.
        sizes: (N, 2) float, width and height of their images.
        boxes: (N, 4) float, as the annotations state them.
        bounds: (N, 4) float, around their polygons or the pixels of their masks; NaN where they
            have none, or none that is known without decoding.
        fractional: (N,) bool, whether a coordinate of a polygon is no multiple of a half.
        rles: (N) masks; None where they have none, or it would have to be made from an outline or
            a PNG.
        areas: (N,) float, pixels of `rles`, NaN where that is None.
    """

    records: list[Record]
    annotations: list[Annotation]
    sizes: np.ndarray
    boxes: np.ndarray
    bounds: np.ndarray
    fractional: np.ndarray
    rles: list[Rle | None]
    areas: np.ndarray

    @property
    def crowd(self) -> np.ndarray:
        """(N,) bool."""
        return np.array([bool(a["iscrowd"]) for a in self.annotations], dtype=bool)


def object_tables(records: Iterable[Record], *, decode: bool) -> Iterator[ObjectTable]:
    """Tables of bounded size; the objects of one image stand together.

    Args:
        records: of a split.
        decode: also make the masks of polygons and of segments of PNG files.
    """
    pairs: list[tuple[Record, Annotation]] = []
    for record in records:
        pairs += [(record, annotation) for annotation in record.get("annotations", [])]
        if len(pairs) >= _CHUNK:
            yield _table(pairs, decode)
            pairs = []
    if pairs:
        yield _table(pairs, decode)


def _table(pairs: list[tuple[Record, Annotation]], decode: bool) -> ObjectTable:
    annotations = [annotation for _, annotation in pairs]
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64)
    boxes[:, 2:] += boxes[:, :2]
    rles = [_rle(record, annotation, decode) for record, annotation in pairs]
    known = [index for index, rle in enumerate(rles) if rle is not None]
    bounds, areas = np.full((len(pairs), 4), np.nan), np.full(len(pairs), np.nan)
    if known:
        masks = [rles[index] for index in known]
        areas[known] = [mask_util.area(mask) for mask in masks]  # a list of 256 is too much for it
        bounds[known] = mask_util.toBbox(masks)
        bounds[:, 2:] += bounds[:, :2]
        bounds[areas == 0] = np.nan
    fractional = np.zeros(len(pairs), dtype=bool)
    _measure_polygons(annotations, bounds, fractional)
    return ObjectTable(
        records=[record for record, _ in pairs],
        annotations=annotations,
        sizes=np.array([[r["width"], r["height"]] for r, _ in pairs], dtype=np.float64),
        boxes=boxes,
        bounds=bounds,
        fractional=fractional,
        rles=rles,
        areas=areas,
    )


def _rle(record: Record, annotation: Annotation, decode: bool) -> Rle | None:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict) and "counts" in segmentation:
        counts = segmentation["counts"]  # checked by the reader
        return {**segmentation, "counts": counts.encode() if isinstance(counts, str) else counts}
    if not segmentation or not decode:
        return None
    return to_rle(segmentation, record["height"], record["width"])


def _measure_polygons(
    annotations: list[Annotation], bounds: np.ndarray, fractional: np.ndarray
) -> None:
    """Fills in `bounds` and `fractional` of objects that are polygons, in place."""
    outlines = {i: a["segmentation"] for i, a in enumerate(annotations) if _is_polygons(a)}
    if not outlines:
        return
    where = list(outlines)
    polygons = chain.from_iterable(outlines.values())
    numbers = np.fromiter(chain.from_iterable(polygons), dtype=np.float64)
    sizes = [sum(map(len, outline)) for outline in outlines.values()]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    fractional[where] = np.logical_or.reduceat((numbers * 2) % 1 != 0, starts)
    for axis in (0, 1):
        line = numbers[axis::2]
        bounds[where, axis] = np.minimum.reduceat(line, starts // 2)
        bounds[where, 2 + axis] = np.maximum.reduceat(line, starts // 2)


def _is_polygons(annotation: Annotation) -> bool:
    segmentation = annotation.get("segmentation")
    return isinstance(segmentation, list) and bool(segmentation)
