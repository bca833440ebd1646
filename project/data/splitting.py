"""Splits that can be made again: classes spread evenly, groups of images kept together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from project.data.categories import IGNORE_LABEL
from project.data.dataset import DatasetInfo
from project.data.files import group_of, own_split, path_from_root, relative_name, some_of
from project.data.labels import read_semantic
from project.data.records import Record
from project.data.stratification import stratify
from project.errors import DatasetError


class Split(NamedTuple):
    """A data set divided.

    Attributes:
        dataset: split -> classes and images; images stand in their old order.
        notes: sentences on what could not be reached.
    """

    dataset: dict[str, tuple[DatasetInfo, list[Record]]]
    notes: list[str]


def split_dataset(
    sources: Sequence[tuple[DatasetInfo, list[Record]]],
    shares: dict[str, float],
    seed: int,
    pattern: str | None = None,
) -> Split:
    """Divides the images of some splits of one data set anew.

    Args:
        sources: classes and images of these splits.
        shares: split -> share of the images; they sum to 1.
        seed: the same seed gives the same splits, in whatever order the images come.
        pattern: images in whose paths, which start at the root, this regular expression finds the
            same text (its first group, if it has one) stay together.

    Raises:
        DatasetError: fewer groups than splits, or a pattern that finds nothing in any path.
    """
    pairs = [(info, record) for info, records in sources for record in records]
    groups = _group_names(pairs, pattern)
    bar = tqdm(pairs, "classes", unit="image", disable=None)
    present = np.stack([_classes_present(record, info) for info, record in bar])
    assigned = stratify(present, groups, list(shares.values()), seed)
    first = next((info for info, _ in sources if info.encoding), sources[0][0])
    dataset = {}
    for number, split in enumerate(shares):
        records = [record for (_, record), own in zip(pairs, assigned) if own == number]
        dataset[split] = (replace(first, name=f"{first.spec.name}_{split}"), records)
    notes = _notes(present, groups, assigned, list(shares), first.categories.semantic)
    return Split(dataset, notes)


def _group_names(pairs: Sequence[tuple[DatasetInfo, Record]], pattern: str | None) -> list[str]:
    """The group of each image; those in which the pattern finds nothing are alone in theirs."""
    found = [group_of(record, info, pattern) if pattern else None for info, record in pairs]
    if pattern and all(group is None for group in found):
        paths = [path_from_root(record, info) for info, record in pairs]
        raise DatasetError(
            f"groups: the regular expression {pattern!r} finds nothing in any of the {len(paths)}"
            f" paths, such as {some_of(paths)}"
        )
    return [
        f"{own_split(record, info)}/{relative_name(record, info)}"
        if group is None
        else f"group {group}"
        for group, (info, record) in zip(found, pairs, strict=True)
    ]


def _classes_present(record: Record, info: DatasetInfo) -> np.ndarray:
    """(K,) bool, which classes an image shows; crowds show none."""
    categories = info.categories
    present = np.zeros(max(len(categories.semantic), IGNORE_LABEL + 1), dtype=bool)
    if {"sem_seg_file_name", "pan_seg_file_name"} & record.keys():
        present[np.unique(read_semantic(record, info))] = True
        present[IGNORE_LABEL] = False
    for annotation in record.get("annotations", []):
        if annotation["iscrowd"]:
            continue
        present[categories.semantic_of_thing(annotation["category_id"])] = True
    return present[: len(categories.semantic)]


def _notes(
    present: np.ndarray,
    groups: Sequence[str],
    assigned: np.ndarray,
    splits: Sequence[str],
    names: Sequence[str],
) -> list[str]:
    """A sentence for each class that some split lacks."""
    notes = []
    for label, name in enumerate(names):
        own = np.flatnonzero(present[:, label])
        lacking = [s for i, s in enumerate(splits) if i not in assigned[own]]
        if len(own) and lacking:
            number = len({groups[i] for i in own.tolist()})
            which = "groups of images" if number > 1 else "group of images"
            notes.append(f"{name} is in {number} {which}, none of them in {' or '.join(lacking)}")
    return notes
