"""Which images to predict, what their results are called, and which of a data set's they are."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from project.data.files import IMAGE_SUFFIXES, require_path
from project.data.records import Record
from project.data.register import dataset_records
from project.data.roots import links_out
from project.errors import DatasetError

ImageId = int | str


def list_images(source: Path, output: Path, *, follow_links: bool = False) -> dict[str, Path]:
    """The images to predict, by the name of their results.

    Args:
        source: an image file, or a folder that is searched with its subfolders.
        output: folder of the results; what an earlier run left there is no input.
        follow_links: take what symbolic links in the folder lead to elsewhere.

    Returns:
        Path relative to `source` without suffix -> file, sorted; with suffix where two files differ
        in nothing else, so that no result overwrites another.

    Raises:
        DatasetError: `source` does not exist, is no image or holds none, or a link leads out of it.
    """
    require_path(source, "--input")
    if source.is_file():
        if source.suffix.lower() not in IMAGE_SUFFIXES:
            raise DatasetError(
                f"--input: {source} is no image, which would end in"
                f" {' '.join(sorted(IMAGE_SUFFIXES))}"
            )
        return {source.stem: source}
    outside = [] if follow_links else links_out([source], [source.resolve()])
    if outside:
        raise DatasetError(
            f"--input: {outside[0]} is a symbolic link to {outside[0].resolve()}; {len(outside)} in"
            f" all lead out of {source}: give --follow-links if you made them"
        )
    output = output.resolve()
    files = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and not path.resolve().is_relative_to(output)
    ]
    if not files:
        raise DatasetError(
            f"--input: there are no images in {source}, which would end in"
            f" {' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return _named(source, files)


def images_of_split(dataset_name: str) -> dict[str, Path]:
    """All images of a data set, as `list_images` of the folder that holds them.

    Args:
        dataset_name: a registered name.
    """
    files = sorted({Path(record["file_name"]) for record in dataset_records(dataset_name)})
    return _named(Path(os.path.commonpath([file.parent for file in files])), files)


def _named(root: Path, files: Sequence[Path]) -> dict[str, Path]:
    relative = [path.relative_to(root) for path in files]
    stems = Counter(path.with_suffix("") for path in relative)
    return {
        (path if stems[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix(): file
        for path, file in zip(relative, files)
    }


def match_images(
    files: Mapping[str, Path], dataset_names: Sequence[str]
) -> tuple[str, dict[str, ImageId]]:
    """Finds the data set that the images are from, so that results carry its ids and can be scored.

    An image is known by its path, or else by its name without suffix, if that is unique on both
    sides. Ids of two data sets would mix, so only the one that knows most images counts; paths are
    the better proof, since the images of train and val may have the same names.

    Args:
        files: see `list_images`.
        dataset_names: registered names; the first wins where several know as many.

    Returns:
        The data set's name, and the image id of each key of `files`; the key itself for images
        that it does not know.

    Raises:
        DatasetError: there is no data set, so nobody knows the classes' names.
    """
    if not dataset_names:
        raise DatasetError(
            "no data set is named: give the specification of the training data with --dataset; its"
            " classes are those of the model"
        )
    known = {name: _matches(files, dataset_records(name)) for name in dataset_names}
    chosen = max(known, key=lambda name: tuple(map(len, known[name])))
    by_path, by_name = known[chosen]
    found = {**by_name, **by_path}
    return chosen, {key: found[key]["image_id"] if key in found else key for key in files}


def known_records(
    files: Mapping[str, Path], chosen: str, dataset_names: Sequence[str]
) -> dict[str, Record]:
    """The records of the files that are images of a data set, so that they are read as it says.

    Args:
        files: see `list_images`.
        chosen: the data set that they are from, see `match_images`.
        dataset_names: others whose images are known by their path alone.
    """
    by_path, found = _matches(files, dataset_records(chosen))
    for name in dataset_names:
        found |= _matches(files, dataset_records(name))[0]
    return found | by_path


def images_of(files: Mapping[str, Path], dataset_name: str) -> dict[str, Record]:
    """The records of those files that are themselves, by their path, images of a data set.

    Args:
        files: see `list_images`.
        dataset_name: a registered name.

    Raises:
        DatasetError: none is.
    """
    records, _ = _matches(files, dataset_records(dataset_name))
    if not records:
        raise DatasetError(
            f"--split: none of the {len(files)} images of --input is a file of {dataset_name}; name"
            " the folder that its specification names, or leave --split out for copies of them"
        )
    return records


def _matches(
    files: Mapping[str, Path], records: Sequence[Record]
) -> tuple[dict[str, Record], dict[str, Record]]:
    """Records of the files that are known by their path, and by their name."""
    paths = {Path(r["file_name"]).resolve(): r for r in records}
    names = {Path(r["file_name"]).stem: r for r in records}
    record_names = Counter(Path(r["file_name"]).stem for r in records)
    file_names = Counter(path.stem for path in files.values())
    by_path = {k: paths[p.resolve()] for k, p in files.items() if p.resolve() in paths}
    by_name = {
        key: names[path.stem]
        for key, path in files.items()
        if record_names[path.stem] == 1 and file_names[path.stem] == 1
    }
    return by_path, by_name
