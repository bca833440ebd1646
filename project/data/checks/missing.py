"""Whether images are there at all: one listing a folder, quick on network file systems too."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from project.data.dataset import DatasetInfo
from project.data.files import IMAGE_SUFFIXES, require_path
from project.data.problems import Problems
from project.data.records import Record
from project.errors import DatasetError


def check_files(info: DatasetInfo, records: Sequence[Record], problems: Problems) -> list[Record]:
    """Reports images that do not exist; a folder that is missing or empty is one finding.

    Returns:
        The records whose images are there.
    """
    by_folder: dict[Path, list[Record]] = defaultdict(list)
    for record in records:
        by_folder[Path(record["file_name"]).parent].append(record)
    present: set[str] = set()
    for folder, inside in by_folder.items():
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        has_images = any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in names)
        if has_images or (folder.is_dir() and len(inside) == 1):
            present |= _check_names(folder, names, inside, problems)
        else:
            _report_folder(info, folder, len(inside), problems)
    return [record for record in records if record["file_name"] in present]


def _check_names(
    folder: Path, names: set[str], records: Sequence[Record], problems: Problems
) -> set[str]:
    """Reports what a folder lacks; returns the paths that are there."""
    by_stem = {Path(name).stem.lower(): name for name in sorted(names)}
    present = set()
    for record in records:
        path = record["file_name"]
        name = Path(path).name
        if name in names:
            present.add(path)
            continue
        similar = by_stem.get(Path(name).stem.lower())
        hint = f", though {similar} does" if similar else ""
        problems.add(
            "image_missing",
            path,
            f"does not exist in {folder}{hint}",
            "a file for every image that is listed",
            "add it, mend its name where it is listed, or take it out there",
            image=record["image_id"],
        )
    return present


def _report_folder(info: DatasetInfo, folder: Path, count: int, problems: Problems) -> None:
    """Reports a folder without images, with the nearest names where it does not exist."""
    has_key = "images" in info.spec.splits[info.split]
    where = f"{info.spec.where}: splits.{info.split}{'.images' if has_key else ''}"
    found = f"{where}: there are no images in {folder}"
    try:
        require_path(folder, where)
    except DatasetError as error:
        found = str(error).removesuffix(".")
    problems.add(
        "image_missing",
        folder,
        found,
        f"a folder with {count} images of this split",
        "mend the folder in the specification, or the file names in the annotation file",
    )
