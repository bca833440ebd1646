"""Label maps of which every value has a meaning."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from project.data.categories import IGNORE_LABEL
from project.data.dataset import DatasetInfo
from project.data.label_maps import LabelEncoding, write_label_map
from project.data.label_values import read_values
from project.data.records import Record
from project.data.writers import Dataset

LABEL_RULES = ("label_unexplained", "label_two_values")


def relabel(dataset: Dataset, folder: Path) -> Dataset:
    """The same data set with label maps of semantic ids, written into a folder.

    Values that nothing explains become pixels to ignore. Where nothing says what 255 means, there
    are two classes, and a map holds 0 and 255 only, 255 becomes the second class.
    """
    relabelled: Dataset = {}
    for split, (info, records) in dataset.items():
        if info.encoding is None:
            relabelled[split] = info, records
            continue
        meaning = {i: i for i in (*range(len(info.categories.semantic)), IGNORE_LABEL)}
        encoding = replace(info.encoding, colours=False, meaning=meaning, assumed_ignore=False)
        (folder / split).mkdir()
        copies = []
        for number, record in enumerate(records):
            path = folder / split / f"{number}.png"
            copies.append(_relabelled(record, info, info.encoding, path))
        relabelled[split] = replace(info, encoding=encoding), copies
    return relabelled


def _relabelled(record: Record, info: DatasetInfo, encoding: LabelEncoding, path: Path) -> Record:
    """The record with its label map, if it has one, written anew."""
    if "sem_seg_file_name" not in record:
        return record
    values = read_values(
        record["sem_seg_file_name"],
        colours=encoding.colours,
        where=encoding.where,
        max_pixels=info.spec.max_pixels,
    )
    ids = encoding.to_semantic(values)
    ids[ids < 0] = IGNORE_LABEL
    two_classes = encoding.assumed_ignore and len(encoding.names) == 2
    if two_classes and set(np.unique(values).tolist()) == {0, IGNORE_LABEL}:
        ids = (values == IGNORE_LABEL).astype(np.int16)
    write_label_map(path, ids.astype(np.uint8))
    copy = record.copy()
    copy["sem_seg_file_name"] = str(path)
    return copy
