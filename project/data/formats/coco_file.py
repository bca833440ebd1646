"""The parts of a COCO json file, each checked so that the next reader can trust it."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from project.data.masks import MAX_SIDE, compress, decode_mask
from project.data.records import Annotation
from project.errors import DatasetError

Id = int | str
Entry = dict[str, Any]  # an object of the file


def read_coco_file(path: Path) -> dict[str, list[Entry]]:
    """The parsed file, with lists images, annotations and categories; not to be changed.

    Raises:
        DatasetError: it is no JSON, or lacks one of the lists.
    """
    return _parse(path, _version(path))


def _version(path: Path) -> tuple[int, int]:
    """What changes with the content of a file: its time in ns and its size."""
    if not path.is_file():
        raise DatasetError(f"{path}: expected a COCO json file, found a folder")
    status = path.stat()
    return status.st_mtime_ns, status.st_size


# Two files, usually train and val: classes and records are read one after the other.
@lru_cache(maxsize=2)
def _parse(path: Path, version: tuple[int, int]) -> dict[str, list[Entry]]:
    """Parses a file; the version is there so that a changed file is parsed again."""
    del version
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: not a COCO file: expected an object with images, annotations")
    for key in ("images", "annotations", "categories"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise DatasetError(f"{path}: not a COCO file: it has no list of objects '{key}'")
    return content


def category_ids(path: Path) -> dict[str, int]:
    """Class name -> id in a file.

    Raises:
        DatasetError: there are none, one lacks name or id, or a name or an id stands twice.
    """
    return dict(_category_ids(path, _version(path)))


# Every split's classes are asked for with each split, the rest of the file only with its own.
@lru_cache(maxsize=64)
def _category_ids(path: Path, version: tuple[int, int]) -> dict[str, int]:
    del version
    ids: dict[str, int] = {}
    for category in read_coco_file(path)["categories"]:
        name, number = str(category.get("name", "")), category.get("id")
        if not name or type(number) is not int:
            raise DatasetError(
                f"{path}: a category needs a name and a whole number as id, found {category}"
            )
        if name in ids or number in ids.values():
            raise DatasetError(f"{path}: the category {name!r} with the id {number} stands twice")
        ids[name] = number
    if not ids:
        raise DatasetError(f"{path}: it has no categories")
    return ids


def images_by_id(path: Path) -> dict[Id, Entry]:
    """Image id -> entry, with id, file_name, and height and width if there are any.

    Raises:
        DatasetError: there are none, one lacks id or file_name, stands twice or has no size.
    """
    images: dict[Id, Entry] = {}
    names: set[str] = set()
    for image in read_coco_file(path)["images"]:
        image_id, name = image.get("id"), image.get("file_name")
        if not isinstance(image_id, (int, str)) or not isinstance(name, str):
            raise DatasetError(f"{path}: an image needs an id and a file_name, found {image}")
        if image_id in images or name in names:
            raise DatasetError(f"{path}: image {image_id} ({name}) is listed twice")
        for key in ("height", "width"):
            side = image.get(key)
            if side is not None and (type(side) is not int or not 0 < side <= MAX_SIDE):
                raise DatasetError(
                    f"{path}: image {image_id}: {key}: expected 1 to {MAX_SIDE} pixels,"
                    f" found {side!r}"
                )
        images[image_id] = image
        names.add(name)
    if not images:
        raise DatasetError(f"{path}: it has no images")
    return images


def read_annotation(entry: Entry, size: tuple[int, int], where: str) -> Annotation | None:
    """An entry of `annotations` as our own; what it lacks is measured from its mask.

    Args:
        entry: of the file, with the id and the thing id (`category_id`) that it is to have.
        size: (height, width) of its image.
        where: file, annotation and image, for messages.

    Returns:
        The annotation, or None if its polygons all have fewer than three points, as drawing tools
        leave them behind.

    Raises:
        DatasetError: a mask that cannot be decoded, or a box or area that is none.
    """
    annotation = Annotation(
        id=entry["id"],
        category_id=entry["category_id"],
        iscrowd=int(bool(entry.get("iscrowd", 0))),
        bbox_mode=BoxMode.XYWH_ABS,
    )
    segmentation = entry.get("segmentation")
    if segmentation:
        if isinstance(segmentation, list):
            segmentation = [p for p in segmentation if not _is_flat(p)]
            if not segmentation:
                return None
        try:
            annotation["segmentation"] = compress(segmentation, *size)
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from error
        if not {"bbox", "area"} <= entry.keys():
            entry = {**_measure(decode_mask(annotation["segmentation"], *size)), **entry}
    annotation["bbox"] = _box(entry.get("bbox"), where)
    area = entry.get("area", annotation["bbox"][2] * annotation["bbox"][3])
    if type(area) not in (int, float) or not 0 <= area < np.inf:
        raise DatasetError(f"{where}: area: expected a number of pixels, found {area!r}")
    annotation["area"] = area
    return annotation


def _is_flat(polygon: Any) -> bool:
    return isinstance(polygon, list) and len(polygon) in (0, 2, 4)


def _box(bbox: Any, where: str) -> list[float]:
    """[x, y, width, height], checked."""
    if (
        not isinstance(bbox, list)
        or len(bbox) != 4
        or not all(type(v) in (int, float) and abs(v) < np.inf for v in bbox)
        or min(bbox[2:]) < 0
    ):
        raise DatasetError(f"{where}: bbox: expected [x, y, width, height], found {bbox!r}")
    return [float(v) for v in bbox]


def _measure(mask: np.ndarray) -> Entry:
    """Box and area of an (H, W) bool mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return {"bbox": [0, 0, 0, 0], "area": 0}
    x, y = int(columns[0]), int(rows[0])
    box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {"bbox": box, "area": int(mask.sum())}
