"""A check that costs no time, so that mistakes show before a model is built."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from project.data.files import IMAGE_SUFFIXES, require_path, some_of
from project.data.images import check_size, read_image
from project.data.labels import read_semantic
from project.data.records import Record
from project.data.register import DatasetInfo, dataset_info, dataset_records
from project.errors import DatasetError

_NUM_LABELS_READ = 8


def check_dataset_quick(name: str) -> None:
    """Checks that a registered data set can be trained or tested on, without reading all of it.

    All files must be there; one image and some label maps, spread over the data set, must be
    readable.

    Raises:
        DatasetError: a missing or empty folder, missing files, no object at all, an image of
            another size than stated, a label map with values that mean nothing.
    """
    info, records = dataset_info(name), dataset_records(name)
    _check_files(info, records)
    if all(record.get("annotations") == [] for record in records):
        path = info.truth_file(records[0])
        classes = ", ".join(info.categories.things)
        raise DatasetError(
            f"{name}: none of its {len(records)} images has an object of {classes}; see {path}"
        )
    first = records[0]
    shape = read_image(first["file_name"], "BGR").shape[:2]
    stated = (first["height"], first["width"])
    check_size(shape, first["file_name"], stated, info.truth_file(first))
    labelled = [record for record in records if "sem_seg_file_name" in record]
    for index in np.unique(np.linspace(0, len(labelled) - 1, _NUM_LABELS_READ, dtype=int)):
        if labelled:
            read_semantic(labelled[index], info)


def _check_files(info: DatasetInfo, records: Iterable[Record]) -> None:
    """Checks that images exist, with one listing a folder: quick on network file systems too."""
    where = f"{info.spec.where}: splits.{info.split}.images"
    folder = info.spec.root
    if "images" in info.spec.splits[info.split]:
        folder = require_path(info.spec.resolve(info.split, "images"), where)
    by_folder: dict[Path, list[str]] = defaultdict(list)
    for record in records:
        path = Path(record["file_name"])
        by_folder[path.parent].append(path.name)
    missing = []
    for parent, names in by_folder.items():
        present = set(os.listdir(parent)) if parent.is_dir() else set()
        missing += [str(parent / name) for name in names if name not in present]
    if not missing:
        return
    if not any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.rglob("*")):
        raise DatasetError(f"{where}: there are no images in {folder}")
    raise DatasetError(
        f"{where}: {len(missing)} of the images do not exist: {some_of(missing)}; mend the folder,"
        " or the file names in the annotation file"
    )
