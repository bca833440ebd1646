"""What a data set holds, counted: classes, objects, sizes, pixels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from tabulate import tabulate

from project.data.categories import IGNORE_LABEL
from project.data.checks.looks import Look
from project.data.checks.object_table import object_tables
from project.data.dataset import DatasetInfo
from project.data.records import Record

_SMALL, _MEDIUM = 32**2, 96**2  # pixels; COCO's bounds


@dataclass(frozen=True)
class SplitCensus:
    """What one split holds; crowds are not counted as objects.

    Attributes:
        images: how many there are.
        classes: names of all classes, countable ones last.
        objects: class -> objects.
        images_with: class -> images with an object of it, or a pixel where it is not countable.
        pixels: class -> pixels; None where they were not counted.
        sizes: "small" (below 32 x 32 pixels), "medium", "large" (96 x 96 or more) -> objects;
            empty where they were not measured.
        per_image: objects of each image, ascending; empty for a format without objects.
    """

    images: int
    classes: tuple[str, ...]
    objects: Counter[str]
    images_with: Counter[str]
    pixels: Counter[str] | None
    sizes: Counter[str] = field(default_factory=Counter)
    per_image: tuple[int, ...] = ()


Census = dict[str, SplitCensus]  # split -> what it holds


def take_census(
    info: DatasetInfo, records: Sequence[Record], looks: Sequence[Look], *, quick: bool
) -> SplitCensus:
    """Counts what a split holds.

    Args:
        info: of the split.
        records: of the split.
        looks: of all its images, unless `quick`.
        quick: count no pixels.
    """
    things, semantic = info.categories.things, info.categories.semantic
    objects: Counter[str] = Counter()
    images_with: Counter[str] = Counter()
    for record in records:
        names = [things[a["category_id"]] for a in _objects(record)]
        objects.update(names)
        images_with.update(set(names))
    sizes, pixels = (Counter[str](), None) if quick else _measure(info, records)
    if not quick and info.encoding:
        pixels = Counter()
        for seen in looks:
            found = _semantic_pixels(seen, info)
            pixels.update(found)
            images_with.update(found.keys() - set(things))
    per_image = sorted(len(_objects(r)) for r in records if "annotations" in r)
    return SplitCensus(
        len(records), semantic, objects, images_with, pixels, sizes, tuple(per_image)
    )


def _objects(record: Record) -> list:
    return [a for a in record.get("annotations", ()) if not a["iscrowd"]]


def _measure(info: DatasetInfo, records: Sequence[Record]) -> tuple[Counter[str], Counter[str]]:
    """Sizes of objects, and pixels of their masks, or boxes where there are no masks, by class."""
    things = info.categories.things
    sizes: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    for table in object_tables(records, decode=True):
        boxes = (table.boxes[:, 2:] - table.boxes[:, :2]).prod(axis=1)
        areas = np.where(np.isnan(table.areas), boxes, table.areas)
        for annotation, area in zip(table.annotations, areas.tolist()):
            if not annotation["iscrowd"]:
                sizes["small" if area < _SMALL else "medium" if area < _MEDIUM else "large"] += 1
                pixels[things[annotation["category_id"]]] += round(area)
    return sizes, pixels


def _semantic_pixels(seen: Look, info: DatasetInfo) -> Counter[str]:
    """Class -> pixels of a label map."""
    assert info.encoding is not None, info.name
    pixels: Counter[str] = Counter()
    for value, count in (seen.label_values or {}).items():
        semantic_id = info.encoding.meaning.get(value, IGNORE_LABEL)
        if semantic_id != IGNORE_LABEL:
            pixels[info.categories.semantic[semantic_id]] += count
    return pixels


def census_table(census: Mapping[str, SplitCensus]) -> str:
    """The census to be printed: what a split holds in a line, and a table of the classes."""
    lines = [f"{split}: {_line(found)}" for split, found in census.items()]
    classes = dict.fromkeys(name for found in census.values() for name in found.classes)
    rows = [[name, *_cells(name, census)] for name in classes]
    heads = ["class"]
    for split, found in census.items():
        heads += [f"{split} {what}" for what in ("objects", "images", "pixels")]
        del found
    return "\n".join([*lines, "", tabulate(rows, heads, disable_numparse=True, stralign="right")])


def _cells(name: str, census: Mapping[str, SplitCensus]) -> list[str]:
    cells = []
    for found in census.values():
        total = sum(found.pixels.values()) if found.pixels else 0
        share = f"{found.pixels[name] / total:.1%}" if found.pixels and found.pixels[name] else ""
        cells += [str(found.objects[name] or ""), str(found.images_with[name] or ""), share]
    return cells


def _line(found: SplitCensus) -> str:
    text = f"{found.images} images"
    counts = found.per_image
    if counts:
        text += (
            f", {sum(counts)} objects; in an image {counts[0]} to {counts[-1]}, median"
            f" {median(counts):g}"
        )
    if found.sizes:
        named = (f"{found.sizes[size]} {size}" for size in ("small", "medium", "large"))
        text += f"; {', '.join(named)}"
    return text
