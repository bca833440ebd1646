"""What is seen of the objects of Cityscapes once all polygons are painted, in their order."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pycocotools.mask as mask_util
from detectron2.structures import BoxMode
from PIL import Image, ImageDraw

from project.data.categories import Categories
from project.data.faults import Fault, short
from project.data.formats.cityscapes_labels import ALL, UNPAINTED, single_name
from project.data.formats.json_files import flat_points
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.errors import nearest

_MAX_EIGHT_BITS = 255


class _Outline(NamedTuple):
    """What is painted of an entry; `place` is that in the list."""

    place: int
    label: str
    is_group: bool
    polygon: list[float]


def visible_objects(
    entries: list[Any], record: Record, path: Path, categories: Categories, problems: Problems
) -> list[Annotation]:
    """The objects of an image, with the pixels that nothing later covers; crowds for groups.

    Objects that are covered wholly are left out.

    Args:
        entries: of the list `objects`.
        record: of the image.
        path: of the file, for messages.
        categories: of the data set.
        problems: takes what is wrong with entries, which are not painted.
    """
    size = record["height"], record["width"]
    outlines: list[_Outline] = []
    for index, entry in enumerate(entries):
        try:
            outline = _outline(index, entry, size)
        except Fault as fault:
            fault.report(problems, path, annotation=index, image=record["image_id"])
            continue
        if outline is not None:
            outlines.append(outline)
    things = [outline for outline in outlines if outline.label in categories.things]
    ids = _paint(outlines, things, size)
    objects = (
        _object(ids, number, outline, categories.things.index(outline.label))
        for number, outline in enumerate(things, start=1)
    )
    return [found for found in objects if found is not None]


def _paint(outlines: list[_Outline], things: list[_Outline], size: tuple[int, int]) -> np.ndarray:
    """(H, W) numbers of the things on top, from 1 on; 0 where something else is."""
    numbers = {thing.place: number for number, thing in enumerate(things, start=1)}
    canvas = Image.new("L" if len(things) <= _MAX_EIGHT_BITS else "I", size[::-1], 0)
    # Pillow's polygons are those of the data set's own label images.
    drawer = ImageDraw.Draw(canvas)
    for outline in outlines:
        drawer.polygon(outline.polygon, fill=numbers.get(outline.place, 0))
    return np.asarray(canvas)


def _outline(index: int, entry: Any, size: tuple[int, int]) -> _Outline | None:
    """What an entry paints; None where it paints nothing.

    Raises:
        Fault: an unknown label, or points that are none.
    """
    label = entry.get("label") if isinstance(entry, dict) else None
    name, is_group = single_name(label) if isinstance(label, str) else ("", False)
    if name not in ALL:
        raise Fault(
            "class_unknown",
            f"its label is {short(label)}",
            f"one of Cityscapes' labels.{nearest(name, ALL)}".rstrip("."),
            "correct it, or take it out",
        )
    if name in UNPAINTED or entry.get("deleted"):
        return None
    polygon = flat_points(entry.get("polygon"), size)
    if len(polygon) < 6:
        raise Fault(
            *("polygon_flat", f"its polygon has {len(polygon) // 2} points", "3 points or more"),
            "take it out, if it is nothing",
        )
    _check_place(polygon, size)
    return _Outline(index, name, is_group, polygon)


def _check_place(polygon: list[float], size: tuple[int, int]) -> None:
    """Raises where nothing of a polygon is in the image, or its points are no pixels."""
    points = np.reshape(polygon, (-1, 2))
    low, high = points.min(axis=0), points.max(axis=0)
    reach = f"it reaches from x {low[0]:g}, y {low[1]:g} to x {high[0]:g}, y {high[1]:g}"
    height, width = size
    if (high < 0).any() or (low >= (width, height)).any():
        raise Fault(
            *("polygon_outside", f"{reach}, in an image of {height} x {width} (height x width)"),
            *("an object in its image", "outline it again, or take it out"),
        )
    if low.min() >= 0 and high.max() <= 1 and (points % 1).any():
        raise Fault(
            *("polygon_normalised", reach, "coordinates in pixels"),
            "multiply x by the width and y by the height of the image",
        )


def _object(ids: np.ndarray, number: int, outline: _Outline, thing_id: int) -> Annotation | None:
    """The object of the pixels of `ids` that are `number`; None where there is none."""
    height, width = ids.shape
    # Only the columns of its polygon are looked at, not two million pixels for each object.
    left = int(np.clip(min(outline.polygon[::2]) - 1, 0, width))
    right = int(np.clip(max(outline.polygon[::2]) + 2, 0, width))
    seen = cv2.transpose((ids[:, left:right] == number).view(np.uint8)).ravel().view(bool)
    if not seen.any():
        return None
    ends = np.flatnonzero(np.diff(seen, prepend=False, append=False)) + left * height
    counts = np.diff(ends, prepend=0, append=height * width).tolist()
    rle = mask_util.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return Annotation(
        id=outline.place,
        bbox=[float(side) for side in mask_util.toBbox(rle)],
        bbox_mode=BoxMode.XYWH_ABS,
        category_id=thing_id,
        segmentation={"size": [height, width], "counts": rle["counts"].decode("ascii")},
        iscrowd=int(outline.is_group),
        area=float(mask_util.area(rle)),
    )
