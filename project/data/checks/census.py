"""What a data set holds, counted: classes, objects, sizes, pixels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from tabulate import tabulate

from project.data.categories import IGNORE_LABEL
from project.data.checks.class_pixels import (
    UNEXPLAINED,
    Pixels,
    pixels_of_label_maps,
    pixels_of_objects,
    pixels_of_segments,
)
from project.data.checks.headers import AS_STORED, TURNED, UNTOLD
from project.data.checks.looks import Look
from project.data.checks.object_table import ObjectTable, object_tables
from project.data.dataset import DatasetInfo
from project.data.records import Record

_SMALL, _MEDIUM = 32**2, 96**2  # pixels; COCO's bounds
_MOST_BESIDE = 2  # splits that one table holds; more would be too wide to be read


@dataclass(frozen=True)
class SplitCensus:
    """What one split holds; crowds are not counted as objects.

    Attributes:
        images: how many there are.
        classes: names of all classes, countable ones last.
        objects: class -> objects.
        images_with: class -> images with an object of it, or a pixel where it is not countable.
        pixels: class -> pixels that teach it; where objects overlap, each has them. None where
            they were not counted.
        ignored: pixels that neither teach nor count.
        unexplained: pixels that no class explains.
        sizes: "small" (below 32 x 32 pixels), "medium", "large" (96 x 96 or more) -> objects;
            empty where they were not measured.
        per_image: objects of each image, ascending; empty for a format without objects.
        exif: what was done about EXIF orientations -> images; see `headers.exif_way`.
    """

    images: int
    classes: tuple[str, ...]
    objects: Counter[str]
    images_with: Counter[str]
    pixels: Counter[str] | None
    ignored: int = 0
    unexplained: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    per_image: tuple[int, ...] = ()
    exif: Counter[str] = field(default_factory=Counter)


Census = dict[str, SplitCensus]  # split -> what it holds


def take_census(
    info: DatasetInfo,
    records: Sequence[Record],
    looks: Sequence[Look],
    exif: Counter[str],
    *,
    quick: bool,
) -> SplitCensus:
    """Counts what a split holds.

    Args:
        info: of the split.
        records: of the split.
        looks: of all its images, unless `quick`.
        exif: see `SplitCensus`.
        quick: measure no objects and count no pixels.
    """
    things, semantic = info.categories.things, info.categories.semantic
    objects: Counter[str] = Counter()
    images_with: Counter[str] = Counter()
    for record in records:
        names = [things[a["category_id"]] for a in _objects(record)]
        objects.update(names)
        images_with.update(set(names))
    sizes: Counter[str] = Counter()
    pixels: Pixels = Counter()
    if not quick:
        sizes, by_image = _measure(info, records, looks)
        for counts in by_image:
            pixels.update(counts)
            shown = {semantic[i] for i, n in counts.items() if n and 0 <= i < len(semantic)}
            images_with.update(shown - set(things))
    per_image = sorted(len(_objects(r)) for r in records if "annotations" in r)
    named = Counter({name: pixels[i] for i, name in enumerate(semantic) if pixels[i]})
    return SplitCensus(
        len(records),
        semantic,
        objects,
        images_with,
        None if quick else named,
        pixels[IGNORE_LABEL],
        pixels[UNEXPLAINED],
        sizes,
        tuple(per_image),
        exif,
    )


def _objects(record: Record) -> list:
    return [a for a in record.get("annotations", ()) if not a["iscrowd"]]


def _measure(
    info: DatasetInfo, records: Sequence[Record], looks: Sequence[Look]
) -> tuple[Counter[str], list[Pixels]]:
    """Sizes of objects, and the pixels of each image: of a map, or else of its objects."""
    sizes: Counter[str] = Counter()
    by_image: list[Pixels] = []
    mapped = [record for record in records if "pan_seg_file_name" in record]
    derived = info.encoding is None and not mapped
    for table in object_tables(records, decode=True):
        sizes.update(_sizes(table))
        if derived:
            by_image += pixels_of_objects(info, table)
    if info.encoding is not None:
        by_image += pixels_of_label_maps(info, looks)
    elif mapped:
        by_image += pixels_of_segments(mapped)
    else:
        empty = [record for record in records if not record.get("annotations")]
        background = info.categories.semantic.index(info.categories.stuff[0])
        by_image += [Counter({background: r["height"] * r["width"]}) for r in empty]
    return sizes, by_image


def _sizes(table: ObjectTable) -> Counter[str]:
    """Objects by the pixels of their masks, or of their boxes where there are no masks."""
    boxes = (table.boxes[:, 2:] - table.boxes[:, :2]).prod(axis=1)
    areas = np.where(np.isnan(table.areas), boxes, table.areas)[~table.crowd]
    return Counter(
        "small" if area < _SMALL else "medium" if area < _MEDIUM else "large" for area in areas
    )


def census_table(census: Mapping[str, SplitCensus]) -> str:
    """The census to be printed: what a split holds in a line, and a table of the classes."""
    lines = {split: f"{split}: {_line(found)}" for split, found in census.items()}
    notes = [exif_text(census)]
    if any(found.pixels is None for found in census.values()):
        notes.append("not in a quick check: sizes of objects, and pixels of classes")
    notes = [note for note in notes if note]
    if len(census) <= _MOST_BESIDE:
        return "\n".join([*lines.values(), *notes, "", _table(census)])
    blocks = [f"{lines[split]}\n\n{_table({split: found})}\n" for split, found in census.items()]
    return "\n".join([*blocks, *notes]).rstrip()


def exif_text(census: Mapping[str, SplitCensus]) -> str:
    """What was done about EXIF orientations, in a line; empty where no image has one."""
    ways: Counter[str] = sum((found.exif for found in census.values()), Counter())
    total = sum(found.images for found in census.values())
    texts = {
        TURNED: "turned",
        AS_STORED: "taken as stored",
        UNTOLD: "turned though no size can tell",
    }
    parts = [f"{ways[way]} {text}" for way, text in texts.items() if ways[way]]
    return f"exif: of {total} images, {', '.join(parts)}" if parts else ""


def _table(census: Mapping[str, SplitCensus]) -> str:
    """Classes and what splits hold of them, side by side, without what none of them has."""
    classes = list(dict.fromkeys(name for found in census.values() for name in found.classes))
    columns = {"class": classes}
    for split, found in census.items():
        for what, cells in _columns(found, classes).items():
            if any(cells):
                columns[f"{split} {what}"] = cells
    return tabulate(columns, "keys", disable_numparse=True, stralign="right")


def _columns(found: SplitCensus, classes: Sequence[str]) -> dict[str, list[str]]:
    pixels = found.pixels or Counter()
    total = pixels.total() + found.unexplained
    return {
        "objects": [str(found.objects[name] or "") for name in classes],
        "images": [str(found.images_with[name] or "") for name in classes],
        "pixels": [f"{pixels[name] / total:.1%}" if pixels[name] else "" for name in classes],
    }


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
    total = (found.pixels or Counter()).total() + found.ignored + found.unexplained
    for pixels, what in ((found.ignored, "to be ignored"), (found.unexplained, "of no class")):
        if pixels:
            text += f"; {pixels / total:.1%} of all pixels are {what}"
    return text
