"""Image files and label maps: are they there, can they be read, do they agree in size?"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from project.data.checks.headers import (
    AS_STORED,
    TURNED,
    Header,
    Resizing,
    check_header,
    exif_way,
)
from project.data.checks.looks import Look, Reading, look
from project.data.checks.missing import check_files
from project.data.dataset import DatasetInfo
from project.data.images import read_header
from project.data.problems import Problems
from project.data.records import Record
from project.errors import DatasetError

_NUM_DECODED = 8  # of a split by the quick check
_COLOURS = Reading()

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Seen(NamedTuple):
    """What was seen of a split.

    Attributes:
        looks: of the images that were decoded.
        exif: what `exif_way` says -> images that have an EXIF orientation.
    """

    looks: list[Look]
    exif: Counter[str]


def check_pixels(
    info: DatasetInfo,
    records: Sequence[Record],
    problems: Problems,
    *,
    quick: bool,
    reading: Reading = _COLOURS,
    resizing: Sequence[Resizing] = (),
    progress: bool = False,
) -> Seen:
    """Reads every header, and decodes every image and label map.

    Args:
        info: of the split.
        records: of the split.
        problems: takes what is wrong.
        quick: decode some, spread over the split.
        reading: how the model takes images.
        resizing: how images are made smaller in training and scoring.
        progress: show a bar with the time left.
    """
    with problems.in_split(info.split):
        present = check_files(info, records, problems)
        readable, exif = _check_headers(info, present, resizing, problems, progress)
    chosen = spread(records) if quick else records

    def decode(record: Record) -> Look:
        return look(record, info, reading, readable=record["file_name"] in readable)

    looks = list(_on_all_cores(decode, chosen, f"pixels of {info.name}", progress))
    for seen in looks:
        for problem in seen.problems.found:
            problems.keep(problem)
        # Said once; a look is kept for the comparison of splits.
        seen.problems = Problems()
    return Seen(looks, exif)


def spread(records: Sequence[Record]) -> list[Record]:
    """Some of the records, evenly from the first to the last."""
    if not records:
        return []
    indices = np.linspace(0, len(records) - 1, _NUM_DECODED, dtype=int)
    return [records[index] for index in np.unique(indices)]


def _check_headers(
    info: DatasetInfo,
    records: Sequence[Record],
    resizing: Sequence[Resizing],
    problems: Problems,
    progress: bool,
) -> tuple[set[str], Counter[str]]:
    """Reads and checks every header; returns the paths of those that can be read; see `Seen`."""

    def read(record: Record) -> Header | DatasetError:
        try:
            return Header(*read_header(record["file_name"], info.spec.max_pixels))
        except DatasetError as error:
            return error

    readable = set()
    exif: Counter[str] = Counter()
    read_all = _on_all_cores(read, records, f"headers of {info.name}", progress, batch=64)
    for record, header in zip(records, read_all):
        path = record["file_name"]
        if isinstance(header, DatasetError):
            problems.keep_error(header, "image_unreadable", path)
        else:
            readable.add(path)
            check_header(record, info, header, resizing, problems)
            exif.update(filter(None, [exif_way(record, header, info.spec.exif)]))
    if exif[TURNED] and exif[AS_STORED]:
        problems.add(
            "exif_mixed",
            info.spec.where,
            f"of {len(records)} images, {exif[TURNED]} are annotated as their EXIF orientation"
            f" turns them and {exif[AS_STORED]} as they are stored",
            "annotations that were all drawn in the same way",
            "nothing needs to be done where sizes tell, which are followed; look at some of both"
            " (tools/visualize_data.py), and at images that are square",
        )
    return readable, exif


def _on_all_cores(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    name: str,
    progress: bool,
    batch: int = 1,
) -> Iterator[_Result]:
    """Yields results in order; threads, since decoding runs outside of Python.

    Args:
        work: what to do with an item.
        items: one result each.
        name: of the bar.
        progress: show a bar with the time left.
        batch: items that a thread takes at a time; more where each takes no time.
    """
    batches = [items[start : start + batch] for start in range(0, len(items), batch)]
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(desc=name, total=len(items), disable=not progress) as bar,
    ):
        for results in pool.map(lambda some: [work(item) for item in some], batches):
            bar.update(len(results))
            yield from results
