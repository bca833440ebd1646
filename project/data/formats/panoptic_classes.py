"""The classes of COCO panoptic files, countable or not as the files say."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from project.data.categories import MAX_SEMANTIC_CLASSES, Categories
from project.data.faults import short
from project.data.files import require_path, some_of
from project.data.formats.coco_file import category_ids, read_coco_file
from project.data.problems import Problem
from project.data.spec import DatasetSpec
from project.errors import DatasetError, nearest_of_each


class FileClass(NamedTuple):
    """A class in a file.

    Attributes:
        number: its id there.
        isthing: whether it is countable.
    """

    number: int
    isthing: bool


def file_classes(path: Path) -> dict[str, FileClass]:
    """Class name -> what a file says of it.

    Raises:
        DatasetError: see `category_ids`; or a class does not say whether it is countable.
    """
    numbers = category_ids(path)
    isthing = {}
    for category in read_coco_file(path)["categories"]:
        isthing[str(category["name"])] = category.get("isthing")
        if category.get("isthing") not in (0, 1):
            raise _wrong(
                "class_clash",
                path,
                f"the category '{category['name']}' has isthing: {short(category.get('isthing'))}",
                "1 for a countable class, 0 for stuff",
                "write it into the file, or use the format coco if this is no panoptic file",
            )
    return {name: FileClass(number, bool(isthing[name])) for name, number in numbers.items()}


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes of the annotation files that are there, which must agree on them by name.

    Their order is that of `things:` and `stuff:`, or of the ids in the first split.

    Raises:
        DatasetError: the file of `split` is missing, a file is wrong, a split has other classes
            than the first, `things` or `stuff` names an unknown class or one of the other kind, or
            there are more classes than 8 bits hold.
    """
    own = require_path(
        spec.resolve(split, "annotations"), f"{spec.where}: splits.{split}.annotations"
    )
    paths = {name: spec.resolve(name, "annotations") for name in spec.splits}
    files = {path: file_classes(path) for path in paths.values() if path == own or path.exists()}
    _check_kinds(files)
    things = _chosen(spec, "things", files)
    stuff = _chosen(spec, "stuff", files)
    if len(things) + len(stuff) > MAX_SEMANTIC_CLASSES:
        raise DatasetError(
            f"{spec.where}: semantic truth is for at most {MAX_SEMANTIC_CLASSES} classes, these are"
            f" {len(things) + len(stuff)}; choose some with `things:` and `stuff:`"
        )
    return Categories(
        *(things, stuff),
        thing_dataset_ids=tuple(files[own][name].number for name in things),
        stuff_dataset_ids=tuple(files[own][name].number for name in stuff),
    )


def _check_kinds(files: Mapping[Path, Mapping[str, FileClass]]) -> None:
    """Raises where a class is countable in one file and not in another."""
    first, *others = files
    for path in others:
        for name in files[path].keys() & files[first].keys():
            _check_class(name, files[path], files[first][name].isthing, path, str(first))


def _chosen(
    spec: DatasetSpec, key: str, files: Mapping[Path, Mapping[str, FileClass]]
) -> tuple[str, ...]:
    """The countable classes (`key` "things") or the others ("stuff"), checked in every file."""
    first = next(iter(files))
    isthing = key == "things"
    asked = spec.things if isthing else spec.stuff
    of_first = [name for name, found in files[first].items() if found.isthing == isthing]
    chosen = asked or tuple(sorted(of_first, key=lambda name: files[first][name].number))
    source = f"`{key}:` of {spec.where}" if asked else str(first)
    for path, known in files.items():
        missing = [name for name in chosen if name not in known]
        if missing:
            raise _wrong(
                "class_missing",
                path,
                f"it has no class {nearest_of_each(missing, known)}",
                f"the classes of {source}",
                "mend the name in one of the two",
            )
        for name in chosen:
            _check_class(name, known, isthing, path, source)
        extra = [n for n, found in known.items() if found.isthing == isthing and n not in chosen]
        if extra and not asked:
            raise _wrong(
                "class_missing",
                path,
                f"it has the classes {some_of(extra)}, which {first} has not",
                "the same classes in all splits",
                f"mend the names, or choose the classes with `{key}: [...]`",
            )
    return chosen


def _check_class(
    name: str, known: Mapping[str, FileClass], isthing: bool, path: Path, source: str
) -> None:
    """Raises unless a class of a file is as countable as it is elsewhere."""
    if known[name].isthing != isthing:
        raise _wrong(
            "class_clash",
            path,
            f"its class '{name}' has isthing: {int(known[name].isthing)}",
            f"{int(isthing)}, as {source} has it",
            "mend one of the two",
        )


def _wrong(rule: str, file: str | Path, found: str, expected: str, repair: str) -> DatasetError:
    return Problem(rule, None, str(file), None, found, expected, repair).error()
