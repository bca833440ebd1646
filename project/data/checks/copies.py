"""Which images are the same, by their pixels or, without decoding them, by their files."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from project.data.checks.looks import Look
from project.data.images import read_image
from project.data.records import Record
from project.errors import DatasetError

Place = tuple[str, Record]  # split and image
Copies = list[list[Place]]  # groups of two or more images that are the same

_HEAD = 2**16  # bytes; most files of one size differ there


def same_pixels(looks: Mapping[str, Sequence[Look]]) -> Copies:
    """Images of the same decoded pixels, whatever their file formats."""
    digests = {id(seen.record): seen.digest for found in looks.values() for seen in found}
    places = [(split, seen.record) for split, found in looks.items() for seen in found]
    return _grouped(places, lambda record: digests[id(record)])


def same_files(records: Mapping[str, Sequence[Record]]) -> Copies:
    """Images whose files are the same byte by byte, and not of one colour throughout.

    Most files are only asked for their size.
    """
    places = [(split, record) for split, found in records.items() for record in found]
    groups = _grouped(places, _size)
    for key in (_hash_of_head, _hash):
        groups = [again for group in groups for again in _grouped(group, key)]
    return [group for group in groups if not _is_plain(group[0][1]["file_name"])]


def _grouped(places: Iterable[Place], key: Callable[[Record], Hashable | None]) -> Copies:
    """The groups of two or more with the same key; None is no key."""
    groups: dict[Hashable, list[Place]] = defaultdict(list)
    for split, record in places:
        value = key(record)
        if value is not None:
            groups[value].append((split, record))
    return [group for group in groups.values() if len(group) > 1]


def _size(record: Record) -> int | None:
    try:
        return os.stat(record["file_name"]).st_size or None
    except OSError:
        return None  # said by the check of files


def _hash_of_head(record: Record) -> bytes:
    with open(record["file_name"], "rb") as file:
        return hashlib.blake2b(file.read(_HEAD)).digest()


def _hash(record: Record) -> bytes:
    return hashlib.blake2b(Path(record["file_name"]).read_bytes()).digest()


def _is_plain(path: str) -> bool:
    """Whether an image has one colour throughout, or cannot be read, which others say."""
    try:
        pixels = read_image(path, "RGB")
    except DatasetError:
        return True
    return bool((pixels == pixels[:1, :1]).all())
