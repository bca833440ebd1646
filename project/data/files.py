"""Finding files, and saying what is near where one is missing."""

from pathlib import Path

from project.errors import DatasetError, nearest

# JPEG is here so that a folder of JPEG label maps is refused by the reader, which says why.
IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif", ".jp2")
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
    raise DatasetError(f"{where}: {missing}.{nearest(parent.name, beside)}")


def files_by_stem(folder: Path) -> dict[str, Path]:
    """All image files below a folder, sorted: path relative to it without suffix -> file.

    Raises:
        DatasetError: two files differ in their suffix only.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise DatasetError(
                f"{folder}: {files[stem].name} and {path.name} have the same name; files are"
                " paired by their names without the suffix, so remove or rename one"
            )
        files[stem] = path
    return files


def some_of(names: list[str], limit: int = 3) -> str:
    """The first names of a list and how many there are in all, for messages."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
