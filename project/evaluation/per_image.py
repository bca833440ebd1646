"""per_image.npz: what a run keeps of every image, for intervals and for comparing runs.

A NumPy archive without pickled objects: an array `index` of JSON text that names data sets, images,
tasks and classes, and the arrays of `image_statistics` as `DATASET/TASK/ARRAY` by their numbers.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from project.errors import UserError
from project.evaluation.image_statistics import PixelCounts, SegmentCounts, TaskStatistics
from project.evaluation.matches import MatchTable

VERSION = 1
# What Python and NumPy raise for archives that are damaged, or none.
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError),
    *(RuntimeError, SyntaxError, BadZipFile, TokenError, zlib.error, struct.error),
)


@dataclass(frozen=True)
class ImageStatistics:
    """The statistics of one data set.

    Attributes:
        images: ids, in the order of the statistics.
        tasks: task as in results.json -> its statistics.
    """

    images: list[int | str]
    tasks: dict[str, TaskStatistics]


def path_beside(results: Path) -> Path:
    """The archive that belongs to a results file: per_image.npz beside results.json."""
    name = "per_image.npz" if results.name == "results.json" else f"{results.stem}.per_image.npz"
    return results.with_name(name)


def write_per_image(datasets: Mapping[str, ImageStatistics], path: Path) -> None:
    """Writes the statistics of all data sets, whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {"version": VERSION, "datasets": {}}
    for d, (name, dataset) in enumerate(datasets.items()):
        tasks = {}
        for t, (task, statistics) in enumerate(dataset.tasks.items()):
            kind, facts, found = _unpacked(statistics)
            tasks[task] = {"kind": kind, "classes": list(statistics.classes), **facts}
            arrays |= {f"{d}/{t}/{key}": array for key, array in found.items()}
        index["datasets"][name] = {"images": dataset.images, "tasks": tasks}
    arrays["index"] = np.array(json.dumps(index))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_per_image(path: Path) -> dict[str, ImageStatistics]:
    """Reads the statistics of all data sets; runs no code that the file might hold.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            index = json.loads(str(archive["index"][()]))
            return {
                name: ImageStatistics(
                    images=dataset["images"],
                    tasks={
                        task: _packed(entry, f"{d}/{t}/", archive)
                        for t, (task, entry) in enumerate(dataset["tasks"].items())
                    },
                )
                for d, (name, dataset) in enumerate(index["datasets"].items())
            }
    except _UNREADABLE as error:
        reason = error if isinstance(error, OSError) else f"damaged or made by other code ({error})"
        raise UserError(
            f"{path}: cannot be read as statistics of images: {reason}; tools/train_net.py and"
            " tools/score.py --out write such files beside their results"
        ) from error


def _unpacked(statistics: TaskStatistics) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Kind, facts for the index, and arrays."""
    if isinstance(statistics, MatchTable):
        return "matches", {"images": statistics.images}, statistics.arrays()
    if isinstance(statistics, SegmentCounts):
        return "segments", {"num_stuff": statistics.num_stuff}, {"counts": statistics.counts}
    values = {f"value {name}": array for name, array in statistics.values.items()}
    return "pixels", {"values": list(statistics.values)}, {"counts": statistics.counts, **values}


def _packed(entry: Mapping[str, Any], prefix: str, archive: Any) -> TaskStatistics:
    classes = tuple(entry["classes"])
    if entry["kind"] == "matches":
        names = [name for name in archive.files if name.startswith(prefix)]
        arrays = {name.removeprefix(prefix): archive[name] for name in names}
        return MatchTable(classes=classes, images=entry["images"], **arrays)
    counts = archive[f"{prefix}counts"]
    if entry["kind"] == "segments":
        return SegmentCounts(classes, entry["num_stuff"], counts)
    values = {name: archive[f"{prefix}value {name}"] for name in entry["values"]}
    return PixelCounts(classes, counts, values)
