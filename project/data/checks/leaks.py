"""Images that are in two splits, or twice in one: scores on them say nothing about new images."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from project.data.checks.copies import Copies, same_files, same_pixels
from project.data.checks.looks import Look
from project.data.checks.near import near_pairs
from project.data.dataset import DatasetInfo
from project.data.files import group_of
from project.data.problems import Problems
from project.data.records import Record

Data = Mapping[str, tuple[DatasetInfo, list[Record]]]  # split -> what was read of it
_Pair = tuple[str, str]  # two splits, the earlier first


def check_leaks(
    data: Data, looks: Mapping[str, Sequence[Look]], problems: Problems, *, quick: bool
) -> None:
    """Compares the images of all splits.

    Args:
        data: what was read of each split, in the order of the specification.
        looks: what was seen of the decoded images of each split.
        problems: takes what is wrong; leaks concern the later split.
        quick: compare files byte by byte, not their pixels.
    """
    reused = set(_reused_splits(data))
    for first, second in reused:
        _report_reused(data, first, second, problems)
    pairs = [pair for pair in combinations(data, 2) if pair not in reused]
    records = {split: found for split, (_, found) in data.items()}
    copies = same_files(records) if quick else same_pixels(looks)
    known = _report_copies(copies, pairs, problems)
    if not quick:
        for first, second in pairs:
            _report_near(first, second, looks, known, problems)
    for info, _ in list(data.values())[:1]:
        if info.spec.groups:
            _check_groups(info.spec.groups, data, pairs, problems)


def _reused_splits(data: Data) -> Iterator[_Pair]:
    """The pairs of splits that are the same files on purpose."""
    for (first, (info, _)), (second, _) in combinations(data.items(), 2):
        if info.spec.splits[first] == info.spec.splits[second]:
            yield first, second


def _report_reused(data: Data, first: str, second: str, problems: Problems) -> None:
    info, records = data[second]
    with problems.in_split(second):
        problems.add(
            "split_reused",
            info.spec.where,
            f"split '{second}' is split '{first}': the same {len(records)} images from the same"
            " files, so scores say nothing about new images",
            "splits of different images",
            "divide them (tools/convert_dataset.py --split), unless it is meant so",
        )


def _report_copies(copies: Copies, pairs: Sequence[_Pair], problems: Problems) -> set[str]:
    """Reports every copy once, against the earliest; returns the files that have one."""
    known = set()
    for copy in copies:
        for index, (split, record) in enumerate(copy):
            before = [(s, r) for s, r in copy[:index] if s == split or (s, split) in pairs]
            if not before:
                continue
            # An image of two splits is a leak first of all, even if it is twice in one of them.
            other, original = min(before, key=lambda item: item[0] == split)
            leak = other != split
            known.add(record["file_name"])
            with problems.in_split(split):
                problems.add(
                    "leak_exact" if leak else "image_copied",
                    record["file_name"],
                    f"its pixels are those of {original['file_name']}"
                    + (f" of split '{other}'" if leak else ""),
                    "every image once",
                    "take it out of one of the two splits" if leak else "take one of the two out",
                    image=record["image_id"],
                )
    return known


def _report_near(
    first: str,
    second: str,
    looks: Mapping[str, Sequence[Look]],
    known: set[str],
    problems: Problems,
) -> None:
    """Reports images of which another split has nearly the same, but for exact copies."""
    ours, pictures = _thumbnails(looks[first])
    theirs, others = _thumbnails(
        seen for seen in looks[second] if seen.record["file_name"] not in known
    )
    for one, other, correlation in near_pairs(pictures, others):
        record = theirs[other]
        with problems.in_split(second):
            problems.add(
                "leak_near",
                record["file_name"],
                f"it shows nearly the same as {ours[one]['file_name']} of split '{first}'"
                f" (correlation {correlation:.3f}, turned and mirrored ones included)",
                "images that differ between splits",
                "look at both; keep such images together by `groups:`, or take one out",
                image=record["image_id"],
            )


def _thumbnails(looks: Iterable[Look]) -> tuple[list[Record], list[np.ndarray]]:
    """The images that were decoded, and their small pictures."""
    pairs = [(seen.record, seen.thumbnail) for seen in looks if seen.thumbnail is not None]
    return [record for record, _ in pairs], [picture for _, picture in pairs]


def _check_groups(pattern: str, data: Data, pairs: Sequence[_Pair], problems: Problems) -> None:
    """Reports groups of images, such as the frames of one film, that are in two splits."""
    groups = {split: _by_group(pattern, info, found) for split, (info, found) in data.items()}
    if not any(groups.values()):
        info = next(iter(data.values()))[0]
        problems.add(
            "groups_unused",
            info.spec.where,
            f"groups: {pattern!r} is found in none of the image paths",
            "a regular expression that finds what images of one group share",
            "mend it, or take it out",
        )
    for first, second in pairs:
        for group in groups[first].keys() & groups[second].keys():
            mine = groups[second][group]
            with problems.in_split(second):
                problems.add(
                    "leak_group",
                    mine[0]["file_name"],
                    f"its group '{group}' has {len(mine)} images here and"
                    f" {len(groups[first][group])} in split '{first}'",
                    "every group in one split alone",
                    "split the data by groups (tools/convert_dataset.py --split --group-by)",
                    image=mine[0]["image_id"],
                )


def _by_group(
    pattern: str, info: DatasetInfo, records: Sequence[Record]
) -> dict[str, list[Record]]:
    """Text that the pattern finds in the image's path -> images."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        group = group_of(record, info, pattern)
        if group is not None:
            groups[group].append(record)
    return groups
