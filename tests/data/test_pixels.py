"""Orientation as the data set says, channels and depth, and errors that say where."""

from functools import partial

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import factories
from project.data.depth import picture
from project.data.images import image_size, orientation, read_image, resolve_exif
from project.data.pixels import errors_of_annotation, errors_of_sample, read_pixels
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import ConfigError, DatasetError

STORED = np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3).astype(np.uint8)
UPRIGHT = np.rot90(STORED, -1)  # orientation 6: the stored top is the scene's right
MANY = np.random.default_rng(0).integers(0, 2**16, (12, 16, 5), dtype=np.uint16)


def save_turned(path, orientation: int = 6) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(STORED).save(path, exif=exif)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("mode", "stated", "expected"),
    [
        ("auto", (30, 20), UPRIGHT),
        ("auto", (20, 30), STORED),
        ("auto", None, UPRIGHT),
        ("auto", (7, 7), UPRIGHT),
        ("apply", (20, 30), UPRIGHT),
        ("ignore", (30, 20), STORED),
    ],
)
def test_exif_modes(tmp_path, suffix, mode, stated, expected):
    path = tmp_path / f"a.{suffix}"
    save_turned(path)
    assert orientation(path) == 6
    np.testing.assert_array_equal(read_image(path, "RGB", exif=mode, stated=stated), expected)


def test_what_sizes_cannot_tell_is_upright():
    assert resolve_exif("auto", 3, (20, 30), (20, 30))
    assert resolve_exif("auto", 6, (20, 20), (20, 20))
    assert not resolve_exif("ignore", 3, (20, 30), (20, 30))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_ignoring_exif_gives_what_is_stored(tmp_path, turn, suffix):
    path = tmp_path / f"a.{suffix}"
    save_turned(path, turn)
    np.testing.assert_array_equal(read_image(path, "RGB", exif="ignore"), STORED)
    assert image_size(path, exif="ignore") == (20, 30)
    assert image_size(path) == ((30, 20) if turn >= 5 else (20, 30))


@pytest.mark.parametrize(("exif", "stated"), [("auto", (20, 30)), ("apply", (30, 20))])
def test_a_record_is_read_as_its_data_set_says(tmp_path, exif, stated):
    spec = factories.make_coco(tmp_path)
    spec.write_text(f"{spec.read_text()}exif: {exif}\nmax_pixels: 4096\n")
    name = register_dataset(spec)[0]
    save_turned(tmp_path / "a.png")
    size = {"height": stated[0], "width": stated[1]}
    record = {**dataset_records(name)[0], "file_name": str(tmp_path / "a.png"), **size}
    pixels = read_pixels(record, dataset_info(name), "BGR")
    np.testing.assert_array_equal(pixels[:, :, ::-1], STORED if exif == "auto" else UPRIGHT)
    if exif == "apply":
        with pytest.raises(DatasetError, match=r"a\.png: .*30 x 20.*20 x 30.*turned") as raised:
            read_pixels({**record, "height": 20, "width": 30}, dataset_info(name))
        assert raised.value.problem.rule == "size_turned"
    Image.new("L", (64, 65)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png: .*4160 pixels; expected at most 4096"):
        read_pixels(record, dataset_info(name))


def write_many(path, kind: str) -> None:
    if kind == "npy":
        np.save(path, MANY)
    elif kind == "npy, channels first":
        np.save(path, np.moveaxis(MANY, 2, 0))
    else:
        planar = "planar" in kind
        tifffile.imwrite(
            path,
            np.moveaxis(MANY, 2, 0) if planar else MANY,
            photometric="minisblack",
            planarconfig="separate" if planar else "contig",
            compression="zlib" if "deflate" in kind else None,
        )


KINDS = ["npy", "npy, channels first", "tif", "tif, planar", "tif, deflate"]


@pytest.mark.parametrize("kind", KINDS)
def test_many_channels(tmp_path, kind):
    path = tmp_path / f"a.{kind[:3]}"
    write_many(path, kind)
    assert image_size(path) == (12, 16)
    eight, sixteen = (read_image(path, "BGR", channels=5, bits=bits) for bits in (8, 16))
    assert eight.dtype == sixteen.dtype == np.float32 and sixteen.flags.writeable
    np.testing.assert_array_equal(eight, MANY >> 8)
    np.testing.assert_allclose(sixteen, MANY / 257, rtol=1e-6)
    with pytest.raises(DatasetError, match=r"a\.\w+: .*5.*expected 3 channels") as raised:
        read_image(path, "RGB")
    assert raised.value.problem.rule == "image_channels"
    for read in (image_size, partial(read_image, format="RGB", channels=5)):
        with pytest.raises(DatasetError, match=r"192 pixels; expected at most 100"):
            read(path, max_pixels=100)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_arrays_are_named_and_nothing_is_invented(tmp_path, kind):
    path = tmp_path / f"a.{kind[:3]}"
    write_many(path, kind)
    whole = path.read_bytes()
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"a\.(npy|tif): ") as raised:
            read_image(path, "RGB", channels=5)
        assert raised.value.problem.rule == "image_unreadable"


def test_no_pickles(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"a\.npy: it cannot be read"):
        read_image(tmp_path / "a.npy", "RGB")


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16, bool])
def test_values_of_unknown_range_are_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.ones((4, 4, 5), dtype=dtype))
    with pytest.raises(DatasetError, match=rf"{np.dtype(dtype).name}, whose black") as raised:
        read_image(tmp_path / "a.npy", "RGB", channels=5)
    assert raised.value.problem.rule == "image_depth"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
@pytest.mark.parametrize("colours", [1, 3, 4])
def test_16_bits_are_kept(tmp_path, suffix, colours, channels):
    values = np.random.default_rng(1).integers(0, 2**16, (6, 7, colours), dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, values)
    elif suffix == "tif":
        tifffile.imwrite(
            path, values.squeeze(), photometric="minisblack" if colours == 1 else "rgb"
        )
    else:
        write_wide_png(path, values)
    pixels = read_image(path, "RGB", channels=channels, bits=16)
    assert pixels.dtype == np.float32 and pixels.shape == (6, 7, channels)
    scaled = values[:, :, :3] / 257
    if channels == 1 and colours > 1:
        scaled = (scaled @ [0.299, 0.587, 0.114])[:, :, None]  # ITU-R BT.601
    np.testing.assert_allclose(pixels, np.broadcast_to(scaled, pixels.shape), rtol=1e-4)
    assert len(np.unique(pixels)) > 30, "more than 8 bits would be lost on nothing"


def write_wide_png(path, values: np.ndarray) -> None:
    """16-bit PNG of grey, RGB or RGBA, which Pillow cannot write in colours."""
    order = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[values.shape[2]]
    cv2.imwrite(str(path), values if order is None else cv2.cvtColor(values, order))


def test_8_bits_on_the_scale_of_16(tmp_path):
    Image.fromarray(STORED).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", "RGB", bits=16)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, STORED)


def test_a_truncated_16_bit_png_is_refused(tmp_path):
    """OpenCV alone would fill it with zeros."""
    values = np.random.default_rng(1).integers(0, 2**16, (40, 40, 3), dtype=np.uint16)
    write_wide_png(tmp_path / "a.png", values)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"a\.png: it cannot be read"):
        read_image(tmp_path / "a.png", "RGB", bits=16)


def test_grey_and_pictures_to_look_at(tmp_path):
    Image.fromarray(STORED).save(tmp_path / "a.png")
    grey = read_image(tmp_path / "a.png", "BGR", channels=1)
    np.testing.assert_array_equal(grey[:, :, 0], np.asarray(Image.fromarray(STORED).convert("L")))
    np.testing.assert_array_equal(picture(grey, "BGR"), np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(picture(STORED[:, :, ::-1], "BGR"), STORED)
    five = MANY / np.float32(257)
    np.testing.assert_array_equal(picture(five, "BGR"), five[:, :, :3].round())


def test_files_that_would_start_a_program_are_not_opened(tmp_path):
    """Pillow gives PostScript to Ghostscript, whatever the file is called."""
    Image.fromarray(STORED).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").format == "EPS"
    with pytest.raises(DatasetError, match=r"a\.png: .* no known kind"):
        read_image(tmp_path / "a.png", "RGB")


def test_errors_say_where_and_keep_their_cause():
    record = {"dataset": "fruits_train", "image_id": 3, "file_name": "/data/a.png"}

    def message(error: Exception) -> str:
        with (
            pytest.raises(DatasetError) as raised,
            errors_of_sample(record),
            errors_of_annotation({"id": 8}),
        ):
            raise error
        assert raised.value.__cause__.__cause__ is error
        return str(raised.value)

    start = "fruits_train, image 3"
    assert message(KeyError("bbox")) == f"{start}, /data/a.png: annotation 8: KeyError: 'bbox'"
    assert message(DatasetError("no mask")) == f"{start}, /data/a.png: annotation 8: no mask"
    known = DatasetError("/data/a.png: annotation 8: its mask\nis empty")
    assert message(known) == f"{start}: /data/a.png: annotation 8: its mask is empty"
    expected = rf"{start}, /data/a\.png: no such key"
    with pytest.raises(ConfigError, match=expected), errors_of_sample(record):
        raise ConfigError("no such key")


def test_16_bits_of_a_pgm(tmp_path):
    values = np.array([[0, 257, 65535]], dtype=">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535\n" + values.tobytes())
    assert read_image(tmp_path / "a.pgm", "RGB")[0, :, 0].tolist() == [0, 1, 255]
    assert read_image(tmp_path / "a.pgm", "RGB", bits=16)[0, :, 0].tolist() == [0, 1, 255]
