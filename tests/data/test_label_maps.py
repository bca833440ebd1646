"""One reader for every way in which label maps are saved."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from project.data.categories import Categories
from project.data.label_maps import label_encoding, read_label_map, write_label_map
from project.data.spec import parse_spec
from project.errors import DatasetError

NAMES = ("background", "square", "disc")
CATEGORIES = Categories(stuff=NAMES)
IDS = np.array([[0, 0, 1, 2], [2, 1, 1, 255], [0, 2, 255, 255]], dtype=np.uint8)


def encoding(categories: Categories = CATEGORIES, **fields):
    spec = {"name": "a", "format": "label_map", "splits": {"train": {"labels": "labels"}}}
    return label_encoding(parse_spec({**spec, **fields}), categories)


INDICES = encoding(classes=list(NAMES), ignore=255)
COLOURS = encoding(
    classes={"background": "#000000", "square": "#ff0000", "disc": "#0000FF"}, ignore="#FFFFFF"
)
TABLE = np.zeros((256, 3), dtype=np.uint8)
TABLE[[0, 1, 2, 255]] = [[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 255, 255]]


def palette_image() -> Image.Image:
    image = Image.fromarray(IDS)
    image.putpalette(TABLE.tobytes())
    return image


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (Image.fromarray(IDS), "png"),
        (palette_image(), "png"),
        (palette_image(), "tif"),
        (Image.fromarray(IDS.astype(np.uint16)), "png"),
        (Image.fromarray(IDS.astype(np.int32)), "tif"),
        (Image.fromarray(IDS.astype(np.float32)), "tif"),
        (Image.fromarray(np.dstack([IDS] * 3)), "png"),
        (Image.fromarray(np.dstack([IDS] * 3 + [np.full_like(IDS, 255)])), "png"),
        (Image.fromarray(np.dstack([IDS, np.full_like(IDS, 255)])), "png"),
        (Image.fromarray(IDS), "bmp"),
    ],
    ids=lambda value: getattr(value, "mode", value),
)
def test_numbers_are_read_perfectly(tmp_path, image, suffix):
    path = tmp_path / f"a.{suffix}"
    image.save(path)
    read = read_label_map(path, INDICES)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, IDS)


@pytest.mark.parametrize("image", [palette_image(), Image.fromarray(TABLE[IDS])], ids=["P", "RGB"])
def test_colours_are_read_perfectly(tmp_path, image):
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", COLOURS), IDS)


def test_black_and_white(tmp_path):
    """As the trial data has it: 0 is a class and 255 is a class, not "ignore"."""
    categories = Categories(stuff=("membrane", "cell"))
    explicit = encoding(categories, classes={"membrane": 0, "cell": 255})
    values = np.where(IDS == 1, 255, 0).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", explicit), IDS == 1)


def test_black_and_white_without_a_mapping_is_refused(tmp_path):
    values = np.array([[0, 0, 0, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    plain = encoding(classes=list(NAMES))
    with pytest.raises(DatasetError) as raised:
        read_label_map(tmp_path / "a.png", plain)
    message = str(raised.value)
    assert "0 (75.0%), 255 (25.0%)" in message
    assert "classes: {background: 0, square: 255}" in message
    assert "ignore: 255" in message
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", INDICES), values)


def test_255_is_ignored_where_nothing_is_said(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_label_map(tmp_path / "a.png", encoding(classes=list(NAMES))), IDS
    )
    other = encoding(classes=list(NAMES), ignore=9)
    with pytest.raises(DatasetError, match=r"mean nothing: 255 \(25.0%\)"):
        read_label_map(tmp_path / "a.png", other)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_small_png_files_hold_numbers_not_greys(tmp_path, bits):
    """Pillow shows the 4 greys of a 2-bit PNG as 0, 85, 170, 255; the numbers are 0, 1, 2, 3."""
    values = np.arange(8, dtype=np.uint8)[None] % min(2**bits, 3)
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., -bits:].ravel())

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + packed.tobytes()))
        + chunk(b"IEND", b"")
    )
    assert (np.asarray(Image.open(path)).max() > 2) == (bits > 1)
    np.testing.assert_array_equal(read_label_map(path, INDICES), values)


def test_16_bits_are_kept(tmp_path):
    large = encoding(classes={"background": 0, "square": 300, "disc": 1000}, ignore=65535)
    values = np.array([0, 300, 1000], dtype=np.uint16)
    table = np.full(256, 65535, dtype=np.uint16)
    table[:3] = values
    Image.fromarray(table[IDS]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", large), IDS)


def test_several_values_for_one_class(tmp_path):
    merged = encoding(classes={"background": [0, 7], "square": 1, "disc": 2})
    Image.fromarray(np.array([[7, 0, 1, 2]], dtype=np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", merged), [[0, 0, 1, 2]])


def test_orientation_is_applied_as_for_the_image(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(IDS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", INDICES), np.rot90(IDS, -1))


def test_jpeg_is_refused(tmp_path):
    Image.fromarray(np.kron(IDS, np.ones((5, 5), np.uint8))).save(tmp_path / "a.jpg", quality=95)
    assert set(np.unique(Image.open(tmp_path / "a.jpg"))) - {0, 1, 2, 255}  # it invents values
    with pytest.raises(DatasetError, match=r"a\.jpg: JPEG changes the values"):
        read_label_map(tmp_path / "a.jpg", INDICES)


@pytest.mark.parametrize(
    ("values", "chosen", "message"),
    [
        (IDS + 3, INDICES, r"a\.tif: .*: 3 \(25.0%\).*0 = background, .* 255 = ignore"),
        (IDS.astype(np.int32) - 1, INDICES, r"-1 \(25.0%\)"),
        (IDS.astype(np.int32) + 65536, INDICES, "65536"),
        (IDS / np.float32(2), INDICES, "whole numbers"),
        (TABLE[IDS], INDICES, r"found the colours .*#FF0000.*gives numbers"),
        (TABLE[IDS] // 2, COLOURS, r"mean nothing: .*#7F0000.*#FF0000 = square"),
    ],
)
def test_unexplained_values_are_listed(tmp_path, values, chosen, message):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match=message):
        read_label_map(tmp_path / "a.tif", chosen)


def test_other_pixel_modes_are_refused(tmp_path):
    Image.fromarray(TABLE[IDS]).convert("CMYK").save(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match="found the mode CMYK"):
        read_label_map(tmp_path / "a.tif", INDICES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": {"background": 0, "sqare": 1, "disc": 2}}, "'sqare' is no class.*square"),
        ({"classes": {"background": 0, "square": 1}}, "the class 'disc' has no value"),
        ({"classes": {"background": 0, "square": 1, "disc": 1}}, "1 stands twice"),
        ({"classes": list(NAMES), "ignore": 2}, "2 stands twice"),
        ({"classes": {"background": 0, "square": "#FF0000", "disc": 2}}, "cannot be mixed"),
        ({"classes": list(NAMES), "ignore": "#FFFFFF"}, "cannot be mixed"),
    ],
)
def test_mistakes_in_the_mapping(fields, message):
    with pytest.raises(DatasetError, match=message):
        encoding(**fields)


def test_more_classes_than_8_bits_hold():
    many = Categories(stuff=tuple(f"c{i}" for i in range(256)))
    with pytest.raises(DatasetError, match="hold 255 classes, found 256"):
        encoding(many)


def test_without_classes_the_values_are_semantic_ids(tmp_path):
    categories = Categories(stuff=("background",), things=("square", "disc"))
    Image.fromarray(IDS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", encoding(categories)), IDS)


def test_what_is_written_is_read(tmp_path):
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    every = encoding(Categories(stuff=tuple(f"c{i}" for i in range(255))))
    write_label_map(tmp_path / "a.png", ids)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png", every), ids)
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "P"
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) == 256


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_stacks_of_label_maps_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [palette_image(), Image.fromarray(IDS[::-1].copy())]
    frames[0].save(path, save_all=True, append_images=[*frames[1:], palette_image()])
    with pytest.raises(DatasetError, match=rf"a\.{suffix}: .*found 3 frames"):
        read_label_map(path, INDICES)
