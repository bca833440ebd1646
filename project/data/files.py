"""Finding files, and saying what is near where one is missing."""

import os
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

    Args:
        folder: where to look.
        problems: takes files that differ from another in their suffix only, which are left out;
            where it is not given, they are raised.

    Raises:
        DatasetError: two files differ in their suffix only, and nobody takes it.
    """
    problems = problems or Problems(strict=True)
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
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


def relative_name(record: "Record", info: "DatasetInfo") -> str:
    """What an image is called within its data set, whatever the machine.

    Args:
        record: of the image.
        info: of its split, or of another split of the same data set.

    Returns:
        The path, with "/", that starts at the folder of its split's images, or else at another
        folder of its split, or at the root; it never leaves it: parts ".." are dropped.
    """
    spec = info.spec
    split = record.get("dataset", "").removeprefix(f"{spec.name}_")
    paths = spec.splits.get(split, spec.splits.get(info.split, {}))
    keys = sorted(paths, key=lambda key: key != "images")
    path = os.path.abspath(record["file_name"])
    names = [os.path.relpath(path, spec.root / paths[key]) for key in keys]
    names.append(os.path.relpath(path, spec.root))
    inside = next((name for name in names if not name.startswith("..")), names[0])
    return "/".join(part for part in Path(inside).parts if part not in ("..", os.sep))


def some_of(names: list[str], limit: int = 3) -> str:
    """The first names of a list and how many there are in all, for messages."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
