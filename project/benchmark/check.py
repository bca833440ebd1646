"""The check of a data set, beside reading its files with Pillow and Detectron2 on one core."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.data.detection_utils import read_image
from PIL import Image

from project.benchmark.timing import Comparison, Pair, Run
from project.data.checks.headers import Header, check_header
from project.data.checks.looks import Reading, look
from project.data.dataset import DatasetInfo, read_info, read_records
from project.data.images import read_header
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import parse_spec

IMAGES, SIZE = 100, (480, 640)


class Made(NamedTuple):
    """A split of photograph-like JPEGs, each with a label map, in a folder that goes with it."""

    info: DatasetInfo
    records: Sequence[Record]
    folder: tempfile.TemporaryDirectory[str]


def pairs() -> Iterator[Pair]:
    """Headers, then pixels; a call is the whole split on one core."""
    yield Pair(f"headers of {_words()}, against Pillow", lambda: _on_split(_headers))
    yield Pair(f"pixels of {_words()}, against Detectron2", lambda: _on_split(_pixels))


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Milliseconds an image and core."""
    times = {c.name.partition(" of ")[0]: c.candidate / IMAGES for c in comparisons}
    return "\n".join(f"{part}: {time:.3f} ms an image" for part, time in times.items())


def _words() -> str:
    return f"{IMAGES} JPEGs and label maps of {SIZE[1]}x{SIZE[0]}"


def _on_split(build: Callable[[Made], tuple[Run, Run]]) -> tuple[Run, Run]:
    return build(_make(tempfile.TemporaryDirectory()))


def _headers(made: Made) -> tuple[Run, Run]:
    def theirs() -> None:
        for record in made.records:
            with Image.open(record["file_name"]) as image:
                assert image.size == SIZE[::-1]

    def ours() -> None:
        problems = Problems(strict=True)
        for record in made.records:
            header = Header(*read_header(record["file_name"], made.info.spec.max_pixels))
            check_header(record, made.info, header, (), problems)

    return theirs, ours


def _pixels(made: Made) -> tuple[Run, Run]:
    def theirs() -> None:
        for record in made.records:
            read_image(record["file_name"], "RGB")
            read_image(record["sem_seg_file_name"])

    def ours() -> None:
        for record in made.records:
            seen = look(record, made.info, Reading(), readable=True)
            assert seen.digest and seen.label_values and not seen.problems.found

    return theirs, ours


def _make(temporary: tempfile.TemporaryDirectory[str]) -> Made:
    folder, rng = Path(temporary.name), np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(IMAGES):
        small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        small.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(
            folder / "images" / f"{number:03}.jpg", quality=92
        )
        blocks = rng.integers(0, 5, (12, 16), dtype=np.uint8).repeat(40, 0).repeat(40, 1)
        Image.fromarray(blocks).save(folder / "labels" / f"{number:03}.png")
    fields = {
        "name": "benchmark_check",
        "format": "label_map",
        "classes": {f"class{number}": number for number in range(5)},
        "splits": {"train": {"images": "images", "labels": "labels"}},
    }
    info = read_info(parse_spec(fields, folder / "benchmark.yaml"), "train")
    return Made(info, read_records(info, Problems(strict=True)), temporary)
