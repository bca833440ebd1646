"""Finding files, and saying what is near where one is missing."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from project.data.problems import Problem, Problems
from project.errors import DatasetError, nearest

if TYPE_CHECKING:
    from project.data.dataset import DatasetInfo
    from project.data.records import Record

# JPEG is here so that a folder of JPEG label maps is refused by the reader, which says why.
IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif"),
        *(".jp2", ".npy"),
    )
)


def require_path(path: Path, where: str) -> Path:
    """Returns `path` if it exists.

    Args:
        path: file or folder.
        where: who named it, for the message, e.g. "fruits.yaml: splits.train.images".

    Raises:
        DatasetError: it does not exist; names the nearest ones beside it.
    """
    if path.exists():
        return path
    parent = path
    while not parent.parent.exists():
        parent = parent.parent
    beside = [p.name for p in parent.parent.iterdir()] if parent.parent.is_dir() else []
    missing = f"{path} does not exist"
    if parent != path:
        missing += f", nor does {parent}"
    hint = nearest(parent.name, beside)
    error = DatasetError(f"{where}: {missing}.{hint}")
    found = f"it does not exist, though {where} names it.{hint}"
    repair = "mend the specification, or put the files there"
    error.problem = Problem(
        "file_invalid", None, str(path), None, found, "a file or folder that is there", repair
    )
    raise error


def files_by_stem(folder: Path, problems: Problems | None = None) -> dict[str, Path]:
    """All image files below a folder, sorted: path relative to it without suffix -> file.

    Folders that are symbolic links are followed.

    Args:
        folder: where to look.
        problems: takes files that differ from another in their suffix only, which are left out;
            where it is not given, they are raised.

    Raises:
        DatasetError: two files differ in their suffix only, and nobody takes it.
    """
    problems = problems or Problems(strict=True)
    files: dict[str, Path] = {}
    for path in sorted(_files_below(folder)):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            problems.add(
                "name_clash",
                path,
                f"{files[stem].name} and {path.name} have the same name",
                "one file of a name, as files are paired by their names without the suffix",
                "remove or rename one",
            )
            continue
        files[stem] = path
    return files


def _files_below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """All files below a folder, through symbolic links too, unless one leads back up."""
    real = os.path.realpath(folder)
    if real in above:
        return
    _, folders, files = next(os.walk(folder), ("", [], []))
    yield from (folder / name for name in files)
    for name in folders:
        yield from _files_below(folder / name, (*above, real))


def relative_name(record: "Record", info: "DatasetInfo") -> str:
    """What an image is called within its data set, whatever the machine.

    Args:
        record: of the image.
        info: of its split, or of another split of the same data set.

    Returns:
        The path, with "/", that starts at the folder of its split's images, or else at another
        folder of its split, or at the root; it never leaves it: parts ".." are dropped. An image
        that has a folder of its own is called as this folder is.
    """
    spec = info.spec
    paths = spec.splits.get(own_split(record, info), spec.splits.get(info.split, {}))
    keys = sorted(paths, key=lambda key: key != "images")
    path = os.path.abspath(record["file_name"])
    if "samples" in paths:  # <its name>/images/<any name>
        folder = os.path.dirname(os.path.dirname(path))
        path = f"{folder}{os.path.splitext(path)[1]}"
    names = [os.path.relpath(path, spec.root / paths[key]) for key in keys]
    names.append(os.path.relpath(path, spec.root))
    return _downwards(next((name for name in names if not name.startswith("..")), names[0]))


def own_split(record: "Record", info: "DatasetInfo") -> str:
    """The split that an image was read from, wherever it is now."""
    return record.get("dataset", "").removeprefix(f"{info.spec.name}_")


def group_of(record: "Record", info: "DatasetInfo", pattern: str) -> str | None:
    """The text that `groups:` finds in the path of an image, which starts at the root.

    Args:
        record: of the image.
        info: of a split of its data set.
        pattern: regular expression; its first group counts, if it has one.

    Returns:
        None where it finds nothing.
    """
    match = re.search(pattern, path_from_root(record, info))
    return match[1 if match.re.groups else 0] if match else None


def path_from_root(record: "Record", info: "DatasetInfo") -> str:
    """The path of an image, with "/", that starts at the root; parts ".." are dropped."""
    path = os.path.abspath(record["file_name"])
    return _downwards(os.path.relpath(path, info.spec.root))


def _downwards(path: str) -> str:
    return "/".join(part for part in Path(path).parts if part not in ("..", os.sep))


def some_of(names: list[str], limit: int = 3) -> str:
    """The first names of a list and how many there are in all, for messages."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
