"""A COCO json file: its three lists, its categories and its images, each checked."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from project.data.faults import Fault, short
from project.data.masks import MAX_SIDE
from project.data.problems import Id, Problem, Problems
from project.errors import DatasetError

Entry = dict[str, Any]  # an object of the file
_LISTS = ("images", "annotations", "categories")


class Images(NamedTuple):
    """The images of a file.

    Attributes:
        known: image id -> entry, with id, file_name, and height and width if there are any.
        left_out: ids of images with which something is wrong; their annotations are no news.
    """

    known: dict[Id, Entry]
    left_out: set[Id]


def is_id(value: Any) -> TypeGuard[Id]:
    """Whether a value can name an image or an annotation; True would equal 1."""
    return type(value) in (int, str)


def read_coco_file(path: Path) -> dict[str, list[Entry]]:
    """The parsed file, with lists images, annotations and categories; not to be changed.

    Raises:
        DatasetError: it is no JSON, has a key twice, or lacks one of the lists.
    """
    return _parse(path, _version(path))


def _version(path: Path) -> tuple[int, int]:
    """What changes with the content of a file: its time in ns and its size."""
    if not path.is_file():
        raise _invalid(path, "it is a folder")
    status = path.stat()
    return status.st_mtime_ns, status.st_size


# Two files, usually train and val: classes and records are read one after the other.
@lru_cache(maxsize=2)
def _parse(path: Path, version: tuple[int, int]) -> dict[str, list[Entry]]:
    """Parses a file; the version is there so that a changed file is parsed again."""
    del version
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise _invalid(path, "it is not an object")
    for key in _LISTS:
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise _invalid(path, f"it has no list of objects '{key}'")
    return content


def _object(pairs: list[tuple[str, Any]]) -> Entry:
    """One object of the file; Python would take the last of two values and say nothing."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in entry if keys.count(key) > 1)
        raise ValueError(f"the key {short(twice)} stands twice in one object")
    return entry


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
        name, number = category.get("name"), category.get("id")
        if type(name) not in (str, int) or name == "" or type(number) is not int:
            raise _wrong_classes(
                "classes_missing",
                path,
                f"it has the category {short(category)}",
                "a name and a whole number as id",
            )
        name = str(name)
        if name in ids or number in ids.values():
            raise _wrong_classes(
                "class_duplicate",
                path,
                f"the category {name!r} with the id {number} stands twice, by its name or its id",
                "every name and every id once",
            )
        ids[name] = number
    if not ids:
        raise _wrong_classes("classes_missing", path, "it has no categories", "at least one")
    return ids


def _wrong_classes(rule: str, path: Path, found: str, expected: str) -> DatasetError:
    repair = "mend the list `categories` of the file"
    return Problem(rule, None, str(path), None, found, expected, repair).error()


def _invalid(path: Path, found: str) -> DatasetError:
    return Problem(
        *("file_invalid", None, str(path), None, found),
        expected="a COCO json file: an object with the lists images, annotations and categories",
        repair="export it again, or name another file in the specification",
    ).error()


def read_images(path: Path, problems: Problems, max_pixels: int) -> Images:
    """The images that a file lists.

    Args:
        path: of the file.
        problems: takes images without id or file name, listed twice, on another computer, or with
            a size that is none.
        max_pixels: images that state more are refused.

    Raises:
        DatasetError: there are none; in strict mode, the first error.
    """
    images = Images({}, set())
    names: dict[str, Id] = {}
    for number, entry in enumerate(read_coco_file(path)["images"], start=1):
        try:
            _check_named(entry, number)
            _check_once(entry, images.known, names)
            _check_stated_size(entry, max_pixels)
        except Fault as fault:
            image_id = entry.get("id")
            if not is_id(image_id):
                fault.report(problems, path)
                continue
            fault.report(problems, path, image=image_id)
            first = images.known.get(image_id)
            # With two images of one id, nobody knows whose the annotations are: both go.
            if not first or first["file_name"] != entry.get("file_name"):
                images.left_out.add(image_id)
            continue
        images.known[entry["id"]] = entry
        names[Path(entry["file_name"]).as_posix()] = entry["id"]
    if not read_coco_file(path)["images"]:
        raise _invalid(path, "it has no images")
    known = {image_id: e for image_id, e in images.known.items() if image_id not in images.left_out}
    return Images(known, images.left_out)


def _check_named(entry: Entry, number: int) -> None:
    image_id, name = entry.get("id"), entry.get("file_name")
    if not is_id(image_id) or not isinstance(name, str) or not name.strip("\0 "):
        raise Fault(
            "file_invalid",
            f"the image at position {number} of its list is {short(entry)}",
            "a number or a text as id, and a file_name",
            "add them, or take the image out",
        )
    if "://" in name:
        raise Fault(
            "image_missing",
            f"image {image_id} has the file_name {short(name)}, an address; nothing is fetched",
            "a path below the folder of the images",
            "download the image and write its path",
        )


def _check_once(entry: Entry, known: dict[Id, Entry], names: dict[str, Id]) -> None:
    image_id, name = entry["id"], entry["file_name"]
    if image_id in known:
        raise Fault(
            "image_id_duplicate",
            f"two images have the id {image_id}: {known[image_id]['file_name']} and {name}",
            "an id for every image",
            "give one another id, and its annotations the same as image_id",
        )
    if Path(name).as_posix() in names:
        raise Fault(
            "image_listed_twice",
            f"image {image_id} ({name}) is listed twice, first with the id"
            f" {names[Path(name).as_posix()]}",
            "every file once",
            "take one of the two out, and give its annotations the other's id",
        )


def _check_stated_size(entry: Entry, max_pixels: int) -> None:
    """Raises where a size is stated that is none; it may be absent."""
    where = f"image {entry['id']} ({entry['file_name']})"
    height, width = entry.get("height"), entry.get("width")
    for key, side in (("height", height), ("width", width)):
        if side is not None and (type(side) is not int or not 0 < side <= MAX_SIDE):
            raise Fault(
                "image_size_invalid",
                f"{where} states the {key} {short(side)}",
                f"1 to {MAX_SIDE} pixels",
                "write the image's size, or leave it out to have it read from the image",
            )
    if height and width and height * width > max_pixels:
        raise Fault(
            "image_too_large",
            f"{where} states {height} x {width} = {height * width} pixels",
            f"at most {max_pixels}",
            "cut it into tiles, or raise `max_pixels:` in the specification",
        )
