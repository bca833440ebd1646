"""Which copies of an image go, so that no split is scored on what another has."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from project.data.dataset import DatasetInfo
from project.data.pixels import read_pixels
from project.data.problems import Problem
from project.data.records import Record
from project.data.repair.draft import Draft
from project.errors import DatasetError


def leaked_images(problems: Sequence[Problem], draft: Draft) -> list[tuple[str, Record, str]]:
    """The images to leave out because another split has the same.

    Of all splits that have an image, the last keeps it; train counts as the first, wherever it
    stands, so that training has none that is scored.

    Returns:
        Split, image, and the split that keeps it.
    """
    leaks = [draft.image(problem) for problem in problems if problem.rule == "leak_exact"]
    leaked = {record["file_name"] for record in leaks if record is not None}
    if not leaked:
        return []
    copies: dict[bytes, list[tuple[str, Record]]] = defaultdict(list)
    for split in sorted(draft.infos, key=lambda split: split != "train"):
        for record in draft.records(split):
            copies[_digest(record, draft.infos[split])].append((split, record))
    return [
        (split, record, group[-1][0])
        for group in copies.values()
        if any(record["file_name"] in leaked for _, record in group)
        for split, record in group
        if split != group[-1][0]
    ]


def _digest(record: Record, info: DatasetInfo) -> bytes:
    """What two images have in common whose pixels are the same."""
    try:
        pixels = read_pixels(record, info)
    except DatasetError:  # of other channels than three
        return hashlib.blake2b(Path(record["file_name"]).read_bytes()).digest()
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes()).digest()
