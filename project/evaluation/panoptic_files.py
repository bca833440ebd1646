"""Reads a COCO panoptic json and its PNG files (https://cocodataset.org/#format-results).

The PNG of image a.jpg is named in `file_name` and lies in the folder beside the json that has the
json's name without suffix; a pixel's segment id is R + 256 G + 65536 B, 0 for void.

Classes are matched by name where the json has `categories` (id, name). Otherwise a segment's
category_id is the data set's own id of a thing or of stuff, or the semantic id of stuff where the
data set has none; where a number could be both, the segment must say `isthing`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from project.data.categories import Categories
from project.data.files import some_of
from project.data.images import open_image
from project.data.records import Record
from project.data.register import DatasetInfo
from project.errors import PredictionsError, nearest
from project.evaluation.base import ImageId

Image = tuple[Path, dict[int, int]]  # PNG file, segment id -> semantic id


def read_panoptic(
    content: Mapping[str, Any], records: Mapping[ImageId, Record], info: DatasetInfo, path: Path
) -> dict[ImageId, Image]:
    """Finds the PNG and the classes of the segments of every image; reads no PNG.

    Args:
        content: of the json; every entry of `annotations` has `segments_info`.
        records: of the data set, by image id.
        info: of the data set.
        path: of the json.

    Raises:
        PredictionsError: an image of the data set is missing or not known, a PNG is missing, or a
            class is not known.
    """
    to_semantic = _class_reader(content, info, path)
    folder = path.with_suffix("")
    images: dict[ImageId, Image] = {}
    for entry in content["annotations"]:
        image_id = entry.get("image_id")
        where = f"{path}: image {image_id!r}"
        if type(image_id) not in (int, str) or image_id not in records:
            raise PredictionsError(
                f"{where}: {info.name} has no such image."
                f"{nearest(str(image_id), map(str, records))}"
            )
        if image_id in images:
            raise PredictionsError(f"{where} stands twice")
        file = folder / str(entry.get("file_name")).replace("\0", "")
        if not file.resolve().is_relative_to(folder.resolve()):
            raise PredictionsError(f"{where}: file_name leads out of {folder}: {file}")
        images[image_id] = file, _classes(entry["segments_info"], to_semantic, where)
    lacking = [repr(image_id) for image_id in records if image_id not in images]
    if lacking:
        raise PredictionsError(
            f"{path}: {len(lacking)} of {len(records)} images of {info.name} have no prediction:"
            f" {some_of(lacking)}; predict all images"
        )
    absent = [str(file.name) for file, _ in images.values() if not os.path.isfile(file)]
    if absent:
        raise PredictionsError(
            f"{path}: {len(absent)} of {len(images)} PNG files are not in {folder}:"
            f" {some_of(absent)}"
        )
    return images


def read_segment_ids(file: Path) -> np.ndarray:
    """(H, W) int32 segment ids of a COCO panoptic PNG.

    Raises:
        PredictionsError: the pixels are not RGB.
        DatasetError: the file cannot be read as an image.
    """
    with open_image(file) as image:
        if image.mode != "RGB" or image.format != "PNG":
            raise PredictionsError(
                f"{file}: segment ids are R + 256 G + 65536 B of an RGB PNG, found {image.mode}"
                f" {image.format}"
            )
        red, green, blue = np.moveaxis(np.asarray(image, dtype=np.int32), 2, 0)
    return red + 256 * green + 65536 * blue


def _classes(
    segments: Any, to_semantic: Callable[[Mapping[str, Any], str], int], where: str
) -> dict[int, int]:
    """Segment id -> semantic id."""
    classes: dict[int, int] = {}
    for segment in segments if isinstance(segments, list) else [segments]:
        numbers = (
            [segment.get(k) for k in ("id", "category_id")] if isinstance(segment, dict) else []
        )
        if not numbers or any(type(number) is not int for number in numbers):
            raise PredictionsError(
                f"{where}: a segment needs the numbers id and category_id, found {segment!r}"
            )
        if segment["id"] in classes:
            raise PredictionsError(f"{where}: segment {segment['id']} stands twice")
        classes[segment["id"]] = to_semantic(segment, where)
    return classes


def _class_reader(
    content: Mapping[str, Any], info: DatasetInfo, path: Path
) -> Callable[[Mapping[str, Any], str], int]:
    """A function (segment, where) -> semantic id."""
    named = content.get("categories")
    if not named:
        return lambda segment, where: _semantic_by_number(segment, info.categories, where)
    if not isinstance(named, list) or not all(
        isinstance(c, dict) and type(c.get("id")) is int and isinstance(c.get("name"), str)
        for c in named
    ):
        raise PredictionsError(f"{path}: every one of its categories needs id and name")
    names = {category["id"]: category["name"] for category in named}
    semantic_ids = {name: i for i, name in enumerate(info.categories.semantic)}

    def by_name(segment: Mapping[str, Any], where: str) -> int:
        name = names.get(segment["category_id"])
        if name not in semantic_ids:
            number = segment["category_id"]
            what = (
                f"the class '{name}'" if name else f"category_id {number}, which it does not name"
            )
            raise PredictionsError(
                f"{where}: segment {segment['id']} has {what}; {info.name} has no such class."
                f"{nearest(str(name), semantic_ids)}"
            )
        return semantic_ids[name]

    return by_name


def _semantic_by_number(segment: Mapping[str, Any], categories: Categories, where: str) -> int:
    number = segment["category_id"]
    thing = categories.dataset_to_thing.get(number)
    stuff = categories.dataset_to_stuff.get(number)
    if thing is not None and stuff is not None and "isthing" not in segment:
        raise PredictionsError(
            f"{where}: category_id {number} is the thing '{categories.things[thing]}' and the stuff"
            f" '{categories.stuff[stuff]}'; write `categories` with names into the json, or"
            " `isthing` into its segments"
        )
    if thing is not None and segment.get("isthing", True):
        return categories.semantic_of_thing(thing)
    if stuff is not None and not segment.get("isthing", False):
        return stuff
    known = [f"{i} {n}" for n, i in zip(categories.things, categories.thing_dataset_ids)]
    known += [f"{n} {categories.stuff[i]}" for n, i in categories.dataset_to_stuff.items()]
    raise PredictionsError(
        f"{where}: category_id {number} is no class; known are {some_of(known, 10)}"
    )
