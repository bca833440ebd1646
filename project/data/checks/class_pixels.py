"""How many pixels teach each class, without painting the truth of any image from its objects."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import pycocotools.mask as mask_util

from project.data.categories import IGNORE_LABEL
from project.data.checks.looks import Look
from project.data.checks.object_table import ObjectTable
from project.data.dataset import DatasetInfo
from project.data.label_values import count_values
from project.data.masks import Rle
from project.data.records import Annotation, Record
from project.data.segment_maps import semantic_from_segments

UNEXPLAINED = -1  # beside semantic ids and IGNORE_LABEL: values that no class explains

Pixels = Counter[int]  # semantic id, IGNORE_LABEL or UNEXPLAINED -> pixels of one image


def pixels_of_label_maps(info: DatasetInfo, looks: Iterable[Look]) -> Iterator[Pixels]:
    """Counts of each label map that could be read."""
    assert info.encoding is not None, info.name
    for seen in looks:
        counts: Pixels = Counter()
        for value, count in (seen.label_values or {}).items():
            counts[info.encoding.meaning.get(value, UNEXPLAINED)] += count
        yield counts


def pixels_of_segments(records: Iterable[Record]) -> Iterator[Pixels]:
    """Counts of each panoptic map.

    Raises:
        DatasetError: see `semantic_from_segments`.
    """
    for record in records:
        yield Counter(count_values(semantic_from_segments(record)))


def pixels_of_objects(info: DatasetInfo, table: ObjectTable) -> Iterator[Pixels]:
    """Counts of each image of a table; where objects overlap, each has the pixels.

    Crowds, and objects of which a box is all that is known, are ignored where no other object is.
    """
    indices = range(len(table.records))
    for _, group in groupby(indices, key=lambda index: id(table.records[index])):
        yield _pixels_of_image(info, table, list(group))


def _pixels_of_image(info: DatasetInfo, table: ObjectTable, indices: Sequence[int]) -> Pixels:
    record = table.records[indices[0]]
    counts: Pixels = Counter()
    clear: list[Rle] = []
    vague: list[Rle] = []
    for index in indices:
        annotation, mask = table.annotations[index], table.rles[index]
        if mask is None or annotation["iscrowd"]:
            vague.append(_box_mask(annotation, record) if mask is None else mask)
        else:
            clear.append(mask)
            semantic_id = info.categories.semantic_of_thing(annotation["category_id"])
            counts[semantic_id] += int(table.areas[index])
    covered = _area_of_all([*clear, *vague])
    counts[IGNORE_LABEL] += covered - _area_of_all(clear)
    counts[info.categories.semantic.index(info.categories.stuff[0])] += (
        record["height"] * record["width"] - covered
    )
    return counts


def _box_mask(annotation: Annotation, record: Record) -> Rle:
    boxes = np.array([annotation["bbox"]], dtype=np.float64)
    return mask_util.frPyObjects(boxes, record["height"], record["width"])[0]


def _area_of_all(masks: list[Rle]) -> int:
    """Pixels of at least one mask."""
    return int(mask_util.area(mask_util.merge(masks))) if masks else 0
