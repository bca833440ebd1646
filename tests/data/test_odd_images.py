"""Odd files from the wild: read alike by trainer, scorer and predictor, or refused by all."""

import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import factories
from project.data.images import image_size, open_image, read_image
from project.data.mapper import SegmentationMapper
from project.data.records import Record
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import DatasetError
from project.inference.predictor import Predictor
from tool_runner import REPOSITORY, run_process

FOLDERS = ("undecodable", "orientation", "modes", "misc")
SLOWEST = 5.0  # seconds a file
MOST_MEMORY = 500  # MB
# Of the files outside of `undecodable`: films, stacks and 32-bit pixels.
REFUSED = {
    *("iss634.webp", "no_palette.gif", "chi.gif", "g4-multi.tiff"),
    *("10ct_32bit_128.tiff", "16_bit_binary_pgm.tiff"),
}


def odd_files(shared_data: Path) -> list[Path]:
    folders = [shared_data / "odd" / name for name in FOLDERS]
    files = sorted(path for folder in folders for path in folder.iterdir())
    return [*files, *sorted((shared_data / "exif_orientation").glob("*.jpg"))]


def read(function: Callable[[], np.ndarray], path: Path) -> np.ndarray | None:
    """What it reads, or None where it refuses the file by its name."""
    started, found, refusal = time.monotonic(), None, path.name
    try:
        found = function()
    except DatasetError as error:
        refusal = str(error)
    assert time.monotonic() - started < SLOWEST, path
    assert path.name in refusal and "\n" not in refusal
    return found


@pytest.fixture
def readers(tmp_path) -> list[Callable[[Record], np.ndarray]]:
    """Trainer, scorer, and predictor of a data set's image and of any image; (H, W, 3) BGR."""
    name = register_dataset(factories.make_coco(tmp_path))[0]
    settings = {
        "augmentations": [],
        "image_format": "BGR",
        "mask_format": "bitmask",
        "instances": True,
        "semantics": True,
        "infos": {name: dataset_info(name)},
    }
    mappers = [SegmentationMapper(is_train=train, **settings) for train in (True, False)]
    predictor = Predictor(model=nn.Identity(), augmentations=[], image_format="BGR")
    template = {**dataset_records(name)[0], "annotations": []}

    def of_mapper(mapper: SegmentationMapper) -> Callable[[Record], np.ndarray]:
        return lambda image: mapper({**template, **image})["image"].numpy().transpose(1, 2, 0)

    return [
        *map(of_mapper, mappers),
        lambda image: predictor.read(image["file_name"], {**template, **image})[:, :, ::-1],
        lambda image: predictor.read(image["file_name"])[:, :, ::-1],
    ]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_every_file_is_read_alike_or_refused_by_all(shared_data, readers):
    files = odd_files(shared_data)
    assert len(files) > 100
    refused = set()
    for path in files:
        size = read(lambda: image_size(path), path)  # noqa: B023
        height, width = size or (64, 64)
        record = Record(file_name=str(path), image_id=7, height=height, width=width)
        found = [read(lambda: reader(record), path) for reader in readers]  # noqa: B023
        if any(pixels is None for pixels in found):
            assert all(pixels is None for pixels in found), path
            refused.add(path)
            continue
        assert size is not None, path
        for pixels in found:
            assert pixels.dtype == np.uint8 and pixels.shape == (*size, 3), path
            assert np.array_equal(pixels, found[0]), path
    undecodable = {path for path in files if path.parent.name == "undecodable"}
    assert len(undecodable) == 35 and undecodable <= refused
    assert {path.name for path in refused - undecodable} == REFUSED


def test_photographs_with_any_orientation_are_one_upright_picture(shared_data, readers):
    folder = shared_data / "exif_orientation"
    for kind, size in {"Landscape": (1200, 1800), "Portrait": (1800, 1200)}.items():
        pictures = []
        for orientation in range(9):
            file = str(folder / f"{kind}_{orientation}.jpg")
            record = Record(file_name=file, image_id=1, height=size[0], width=size[1])
            pictures.append(readers[0](record)[::20, ::20].ravel().astype(float))
        assert len(pictures) == 9
        assert np.corrcoef(pictures)[0].min() > 0.95
        assert np.corrcoef(pictures[0], pictures[0][::-1])[0, 1] < 0.8


MEASURE = """
import sys
from pathlib import Path
from project.data.images import image_size, read_image
from project.errors import DatasetError

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

before = peak()
for path in Path(sys.argv[1]).read_text().splitlines():
    for read in (image_size, lambda path: read_image(path, "RGB")):
        try:
            read(path)
        except DatasetError:
            pass
print(peak() - before)
"""


def write_bomb(path: Path, side: int = 13_000) -> Path:
    """A black PNG of side x side pixels in a few kilobytes, which decoded take 500 MB as RGB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # one bit, grey
    rows = zlib.compress(bytes((1 + -(-side // 8)) * side), 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    return path


def test_a_bomb_is_refused_by_its_header_and_read_where_declared(tmp_path):
    side = 14_000
    path = write_bomb(tmp_path / "bomb.png", side)
    assert path.stat().st_size < 30_000
    assert side * side > 2 * 89_478_485, "Pillow's own limit would not be touched"
    for read_it in (image_size, lambda path: read_image(path, "RGB")):
        with pytest.raises(DatasetError, match=r"bomb\.png: .*196000000 pixels.*`max_pixels:") as e:
            read_it(path)
        assert e.value.problem.rule == "image_too_large"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(path, max_pixels=side * side) == (side, side)
        with open_image(path, 400_000_000) as image:
            assert image.convert("1").getbbox() is None


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_no_file_takes_much_memory_or_python_warnings(shared_data, tmp_path):
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    files = tmp_path / "files.txt"
    bomb = write_bomb(tmp_path / "bomb.png")
    files.write_text("\n".join(map(str, [*odd_files(shared_data), bomb])))
    done = run_process(script, files, PYTHONPATH=str(REPOSITORY))
    assert done.returncode == 0, done.stderr
    assert 5 < int(done.stdout) < MOST_MEMORY
    # libtiff writes there past Python.
    assert "Warning" not in done.stderr
