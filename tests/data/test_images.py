"""Images upright and of 8 bits, whatever their files hold."""

import logging
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from project.data.images import check_size, image_size, read_image
from project.errors import ConfigError, DatasetError

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
# What EXIF says was done to the upright picture, undone by hand.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_is_applied(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PIXELS).save(
        path, exif=exif, **({"lossless": True} if suffix == "webp" else {})
    )
    expected = UPRIGHT[orientation](PIXELS)
    np.testing.assert_array_equal(read_image(path, "RGB"), expected)
    assert image_size(path) == expected.shape[:2]


def test_exif_of_photographs(shared_data):
    folder = shared_data / "exif_orientation"
    for kind, size in {"Landscape": (1200, 1800), "Portrait": (1800, 1200)}.items():
        reference = read_image(folder / f"{kind}_1.jpg", "BGR")[::50, ::50].astype(int)
        stored = {Image.open(folder / f"{kind}_{i}.jpg").size for i in range(9)}
        assert len(stored) == 2
        for orientation in range(9):
            path = folder / f"{kind}_{orientation}.jpg"
            image = read_image(path, "BGR")
            assert image.shape[:2] == image_size(path) == size
            assert np.abs(image[::50, ::50] - reference).mean() < 20, path


def test_orientation_in_the_metadata_of_a_png_counts(shared_data):
    path = shared_data / "odd" / "orientation" / "xmp_tags_orientation.png"
    stored = np.asarray(Image.open(path))[:, :, :3]  # tiff:Orientation 3, upside down
    assert not np.array_equal(stored, stored[::-1, ::-1])
    np.testing.assert_array_equal(read_image(path, "RGB"), stored[::-1, ::-1])
    assert image_size(path) == stored.shape[:2]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_modes_become_three_channels_of_8_bits(tmp_path, mode):
    image = Image.fromarray(PIXELS)
    if mode == "I;16":
        image = Image.fromarray(
            np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], dtype=np.uint16)
        )
    else:
        image = image.quantize(8) if mode == "P" else image.convert(mode)
    path = tmp_path / "a.tif"
    image.save(path)
    pixels = read_image(path, "RGB")
    assert (pixels.dtype, pixels.shape) == (np.uint8, (2, 3, 3))
    if mode == "I;16":
        np.testing.assert_array_equal(pixels[..., 0], [[0, 0, 1], [0x12, 0x80, 0xFF]])
    elif mode != "1":
        assert len(np.unique(pixels)) > 2


def test_bgr_is_rgb_turned_round(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    bgr, rgb = (read_image(tmp_path / "a.png", f) for f in ("BGR", "RGB"))
    np.testing.assert_array_equal(rgb, PIXELS)
    np.testing.assert_array_equal(bgr, PIXELS[..., ::-1])
    with pytest.raises(ConfigError, match=r"INPUT\.FORMAT.*'LAB'"):
        read_image(tmp_path / "a.png", "LAB")


def test_fractions_are_refused(tmp_path):
    Image.fromarray(np.array([[0.1, 0.9]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DatasetError, match=r"a\.tif.*32-bit"):
        read_image(tmp_path / "a.tif", "RGB")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html></html>", "of no known kind"), (None, "no such file")],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    for read in (lambda: read_image(path, "RGB"), lambda: image_size(path)):
        with pytest.raises(DatasetError, match=rf"a\.jpg.*{message}"):
            read()


def test_truncated_files_are_named(tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for suffix in ("png", "jpg"):
        path = tmp_path / f"a.{suffix}"
        noise.save(path)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(DatasetError, match=rf"a\.{suffix}"):
            read_image(path, "RGB")


def test_sizes_must_agree():
    check_size((2, 3), "a.png", (2, 3), "a.json")
    with pytest.raises(
        DatasetError, match=r"a\.png: .* 2 x 3 .* 4 x 3, as a\.json says; export both"
    ):
        check_size((2, 3), "a.png", (4, 3), "a.json")


@pytest.mark.parametrize(
    ("orientation", "found", "source", "advice"),
    [
        (1, (2, 3), "a.json", "width and height are exchanged in a.json: correct them there"),
        (3, (2, 3), "a.json", "width and height are exchanged in a.json: correct them there"),
        (1, (2, 3), "b.png", "turn one of the two by 90 degrees:"),
        (6, (3, 2), "a.json", "write `exif: auto` or `exif: ignore`"),
        (6, (2, 3), "a.json", "write `exif: auto` or `exif: apply`"),
    ],
)
def test_what_to_do_about_a_turned_image(tmp_path, orientation, found, source, advice):
    """Stored with 2 x 3 pixels (height x width); `found` is what an `exif:` makes of it."""
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (3, 2)).save(path, exif=exif)
    with pytest.raises(DatasetError) as error:
        check_size(found, path, found[::-1], source)
    assert error.value.problem.rule == "size_turned"
    assert advice in error.value.problem.repair


@pytest.mark.parametrize(("largest", "warned"), [(1, True), (4095, True), (4096, False)])
def test_dark_16_bit_images_are_told_once(tmp_path, caplog, monkeypatch, largest, warned):
    monkeypatch.setattr("detectron2.utils.logger._LOG_COUNTER", Counter())
    for name in ("a.png", "b.png"):
        values = np.array([[0, largest // 2, largest]], dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / name)
        with caplog.at_level(logging.WARNING, logger="project.data.depth"):
            pixels = read_image(tmp_path / name, "RGB")
        np.testing.assert_array_equal(pixels[0, :, 0], values[0] >> 8)
    assert [str(tmp_path / "a.png") in message for message in caplog.messages] == [True] * warned
    assert all(f"16-bit image is {largest}," in message for message in caplog.messages)


def test_a_black_16_bit_image_is_just_black(tmp_path, caplog):
    Image.fromarray(np.zeros((2, 2), dtype=np.uint16)).save(tmp_path / "a.png")
    assert not read_image(tmp_path / "a.png", "RGB").any()
    assert not caplog.messages


@pytest.mark.parametrize("suffix", ["tif", "gif", "png", "webp"])
def test_files_of_several_frames_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for read in (lambda: read_image(path, "RGB"), lambda: image_size(path)):
        with pytest.raises(
            DatasetError, match=rf"a\.{suffix}: found 2 frames.*a_%03d\.png"
        ) as raised:
            read()
        assert raised.value.problem.rule == "image_frames"
    frames[0].save(path, save_all=True)
    assert read_image(path, "RGB").shape == PIXELS.shape


def test_photographs_with_a_preview_are_one_image(tmp_path):
    """Phones append previews and depth maps to their JPEG files."""
    path = tmp_path / "a.jpg"
    grey = Image.new("RGB", (16, 8), (90, 90, 90))
    grey.save(path, format="MPO", save_all=True, append_images=[Image.new("RGB", (4, 2))])
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    assert abs(int(read_image(path, "RGB").mean()) - 90) < 3
    assert image_size(path) == (8, 16)
