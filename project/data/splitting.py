"""Splits that can be made again: classes spread evenly, groups of images kept together."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from project.data.categories import IGNORE_LABEL
from project.data.dataset import DatasetInfo
from project.data.files import relative_name, some_of
from project.data.labels import read_semantic
from project.data.records import Record
from project.data.stratification import stratify
from project.errors import ConfigError, DatasetError

_NAMES = {1: ("train",), 2: ("train", "val"), 3: ("train", "val", "test")}


class Split(NamedTuple):
    """A data set divided.

    Attributes:
        dataset: split -> classes and images; images stand in their old order.
        notes: sentences on what could not be reached.
    """

    dataset: dict[str, tuple[DatasetInfo, list[Record]]]
    notes: list[str]


def parse_shares(text: str) -> dict[str, float]:
    """Split -> share of the images, of a text such as 0.8/0.1/0.1.

    Raises:
        ConfigError: other than two or three numbers above 0 with the sum 1.
    """
    try:
        shares = [float(share) for share in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) not in (2, 3) or not all(s > 0 for s in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"--split: expected the shares of train/val or of train/val/test, which sum to 1, such"
            f" as 0.8/0.1/0.1; found {text!r}"
        )
    return dict(zip(_NAMES[len(shares)], shares))


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
        pattern: images in whose relative names this regular expression finds the same text (its
            first group, if it has one) stay together.

    Raises:
        DatasetError: fewer groups than splits, or a pattern that matches no name or is none.
    """
    pairs = [(info, record) for info, records in sources for record in records]
    names = [f"{info.split}/{relative_name(record, info)}" for info, record in pairs]
    groups = group_names(names, pattern) if pattern else names
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


def group_names(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each name: the text that a regular expression finds in it, or the name itself.

    Args:
        names: `split/relative name` each; the split is not searched.
        pattern: regular expression; its first group counts, if it has one.

    Raises:
        DatasetError: it finds nothing in any name, or is no regular expression.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"groups: {pattern!r} is no regular expression: {error}") from error
    matches = [expression.search(name.split("/", 1)[1]) for name in names]
    if not any(matches):
        raise DatasetError(
            f"groups: the regular expression {pattern!r} finds nothing in any of the"
            f" {len(names)} names, such as {some_of([name.split('/', 1)[1] for name in names])}"
        )
    return [
        f"group {match[1] if expression.groups else match[0]}" if match else f"name {name}"
        for name, match in zip(names, matches)
    ]


def _classes_present(record: Record, info: DatasetInfo) -> np.ndarray:
    """(K,) bool, which classes an image shows."""
    categories = info.categories
    present = np.zeros(max(len(categories.semantic), IGNORE_LABEL + 1), dtype=bool)
    if {"sem_seg_file_name", "pan_seg_file_name"} & record.keys():
        present[np.unique(read_semantic(record, info))] = True
        present[IGNORE_LABEL] = False
    for annotation in record.get("annotations", []):
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
