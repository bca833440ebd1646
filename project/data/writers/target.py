"""What all writers share: where images go, what is checked first, and the specification."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import yaml
from tqdm import tqdm

from project.data.categories import Categories
from project.data.dataset import DatasetInfo
from project.data.files import IMAGE_SUFFIXES, own_split, relative_name, some_of
from project.data.problems import Problems
from project.data.records import Record
from project.data.roots import declared_roots
from project.data.spec import DEFAULT_MAX_PIXELS
from project.errors import DatasetError

Dataset = dict[str, tuple[DatasetInfo, list[Record]]]  # split -> its classes and images
ImageMode = Literal["copy", "link"]


class Loss(NamedTuple):
    """What may happen to an image on its way into another format.

    Attributes:
        number: how often it does; at 0 there is nothing to say.
        found: what it is.
        holds: what the format holds, the same text for all such losses.
    """

    number: int
    found: str
    holds: str


def prepare(dataset: Dataset, out: Path, *, unreadable_names: Sequence[str] = ()) -> None:
    """Makes the folder to write into, after all that can be known to fail was looked at.

    Args:
        dataset: what is to be written.
        out: the folder.
        unreadable_names: names without suffix that readers of the format pass over.

    Raises:
        DatasetError: the folder holds something or lies among the source's files, splits have
            different classes, there is nothing to write, or images are missing or have a name by
            which they would not be found again.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(
            f"{out}: expected a new or an empty folder, found files in it; nothing is ever written"
            " over: choose another, or remove it yourself"
        )
    _check_splits(dataset, out)
    _check_images(
        [Path(r["file_name"]) for _, rs in dataset.values() for r in rs], unreadable_names
    )
    out.mkdir(parents=True, exist_ok=True)


def _check_splits(dataset: Dataset, out: Path) -> None:
    first = next(iter(dataset.values()))[0]
    spec, names = first.spec, first.categories.semantic
    for info, _ in dataset.values():
        if info.categories.semantic != names:
            raise DatasetError(
                f"{spec.where}: split '{info.split}' has the classes"
                f" {', '.join(info.categories.semantic)}, but split '{first.split}' has"
                f" {', '.join(names)}; mend the names first"
            )
    for folder in (spec.root / path for paths in spec.splits.values() for path in paths.values()):
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise DatasetError(
                f"{out}: it lies within {folder}, which is read; choose a folder outside of it"
            )


def _check_images(paths: list[Path], unreadable_names: Sequence[str]) -> None:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        raise DatasetError(
            f"{len(missing)} of {len(paths)} images do not exist: {some_of(missing)}; mend"
            " `images:` in the specification"
        )
    for path in paths:
        hidden = path.name.startswith(".") or path.stem in unreadable_names
        if hidden or path.suffix.lower() not in IMAGE_SUFFIXES:
            raise DatasetError(
                f"{path}: by this name it would not be taken for an image when the new data set is"
                f" read; rename it, to a suffix of {', '.join(sorted(IMAGE_SUFFIXES))}"
            )


def place(
    info: DatasetInfo,
    records: Sequence[Record],
    problems: Problems,
    *,
    without: Sequence[str] = (),
) -> list[PurePosixPath]:
    """The path of each image within its split's new folder.

    It is the one that it had. Names that differ in their suffix or in the case of letters only
    would be one in the folder of labels, or on another machine: they begin with the split that
    they come from, and where that does not tell them apart, the later ones get a number.

    Args:
        info: of the split.
        records: its images, which may come from several splits.
        problems: takes what is renamed.
        without: names of folders that may not stand in the path, and are left out of it.
    """
    wanted = [_without(PurePosixPath(relative_name(r, info)), without) for r in records]
    splits_of: dict[str, set[str]] = defaultdict(set)
    for record, name in zip(records, wanted):
        splits_of[_key(name)].add(own_split(record, info))
    taken: set[str] = set()
    names = []
    for record, name in zip(records, wanted):
        prefix = f"{own_split(record, info)}-" if len(splits_of[_key(name)]) > 1 else ""
        new, number = name.with_name(prefix + name.name), 1
        while _key(new) in taken:
            number += 1
            new = name.with_name(f"{prefix}{name.stem}-{number}{name.suffix}")
        taken.add(_key(new))
        names.append(new)
        if new != name:
            problems.add(
                "image_renamed",
                record["file_name"],
                f"another image is called {name.with_suffix('')} too; it is written as {new}",
                "one image of each name",
                "nothing, unless other files know it by its old name",
                image=record["image_id"],
            )
    return names


def _without(name: PurePosixPath, folders: Sequence[str]) -> PurePosixPath:
    return PurePosixPath(*(part for part in name.parts[:-1] if part not in folders), name.name)


def _key(name: PurePosixPath) -> str:
    return str(name.with_suffix("")).casefold()


def write_images(
    records: Sequence[Record],
    names: Sequence[PurePosixPath],
    folder: Path,
    images: ImageMode,
    split: str,
) -> Iterator[tuple[Record, PurePosixPath]]:
    """Writes each image, byte by byte the same or as a symbolic link, and then yields it."""
    for record, name in zip(tqdm(records, split, unit="image", disable=None), names, strict=True):
        source, path = Path(record["file_name"]).absolute(), folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if images == "link":
            path.symlink_to(source)
        else:
            shutil.copyfile(source, path)
        yield record, name


def write_spec(
    out: Path,
    name: str,
    format: str,
    dataset: Dataset,
    splits: dict[str, Any],
    images: ImageMode,
    **fields: Any,
) -> Path:
    """Writes the specification `<name>.yaml`, with what is common to all formats taken over."""
    source = next(iter(dataset.values()))[0].spec
    common: dict[str, Any] = {"exif": source.exif}
    if source.groups is not None:
        common["groups"] = source.groups
    if source.max_pixels != DEFAULT_MAX_PIXELS:
        common["max_pixels"] = source.max_pixels
    if images == "link":
        common["roots"] = [str(path) for path in declared_roots(source)]
    content = {"name": name, "format": format, **common, **fields, "splits": splits}
    path = out / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def categories_of(dataset: Dataset, format: str) -> Categories:
    """The classes, which all splits share; for formats that hold objects only.

    Raises:
        DatasetError: none of them is countable.
    """
    info = next(iter(dataset.values()))[0]
    if not info.categories.things:
        raise DatasetError(
            f"{info.spec.where}: {format} holds objects, and this data set has none; write a"
            " label_map, or name the countable classes in `things:`"
        )
    return info.categories


def say_losses(problems: Problems, record: Record, losses: Sequence[Loss]) -> None:
    """Reports what the target cannot hold of an image, as far as there is something."""
    for loss in losses:
        if loss.number:
            problems.add(
                "lost_in_conversion",
                record["file_name"],
                loss.found,
                loss.holds,
                "convert to another format where this matters; coco holds most",
                image=record["image_id"],
            )


def count(number: int, what: str) -> str:
    """A number of things in words, such as 1 object, 2 objects."""
    return f"{number} {what}{'' if number == 1 else 's'}"
