"""The one reader of image files.

Pillow decodes them, but for what only `arrays` can, many channels or colours of 16 bits, and for
what `jpeg` does quicker.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from project.data.arrays import array_header, is_array, read_array, read_wide_png
from project.data.depth import fit_channels, to_bits
from project.data.image_errors import (
    UNREADABLE,
    check_pixel_count,
    image_error,
    missing,
    turned_repair,
    unreadable,
    wrong_depth,
)
from project.data.jpeg import decode_jpeg
from project.data.orientation import (
    UPRIGHT,
    Size,
    resolve_exif,
    stored_orientation,
    turn,
    turn_back,
    turned_size,
)
from project.data.spec import DEFAULT_MAX_PIXELS
from project.errors import ConfigError, UserError

__all__ = [
    "check_size",
    "image_size",
    "open_image",
    "orientation",
    "read_header",
    "read_image",
    "resolve_exif",
]

# Their further pictures are previews, depth maps or layers of the first.
_ONE_PICTURE = ("MPO", "PSD")
_WIDE_INTEGERS = ("I;16", "I;16L", "I;16B", "I;16N")
_WIDE_COLOURS = ("RGB;16B", "RGBA;16B", "LA;16B")  # in PNG files
# Where a PNG file can hold an orientation; without these, its pixels need not be decoded for it.
_PNG_EXIF_MARKERS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
_KINDS = (
    *("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "AVIF", "JPEG2000", "PPM", "PSD"),
    "TGA",  # last: it has no mark to be known by
)

Image.init()
# Others of Pillow's formats may start programs, such as Ghostscript for whatever looks like EPS.
_FORMATS = tuple(kind for kind in _KINDS if kind in Image.OPEN)
# Pillow's limit is one for the whole process. Ours is each data set's own, see `open_image`.
Image.MAX_IMAGE_PIXELS = None
# They do not name the file; what matters of them becomes an error here, which does.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def open_image(
    path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Iterator[ImageFile.ImageFile]:
    """Opens an image file; what goes wrong with it inside the block names the file.

    Raises:
        DatasetError: the file is missing, no image, damaged or of more than `max_pixels`, or it
            holds several frames.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            check_pixel_count(path, image.height, image.width, max_pixels)
            _check_frames(image, path)
            yield image
    except UserError:
        raise
    except FileNotFoundError as error:
        raise missing(path) from error
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _check_frames(image: ImageFile.ImageFile, path: str | Path) -> None:
    """Raises where a file holds a film or a stack, of which one frame would be taken silently."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in _ONE_PICTURE:
        stem = Path(path).stem
        raise image_error(
            "image_frames",
            path,
            f"found {frames} frames in this {image.format}",
            "one image",
            "save each frame as a file of its own, for example with ImageMagick: magick"
            f" {Path(path).name} {stem}_%03d.png",
        )


def read_image(
    path: str | Path,
    format: str,
    *,
    exif: str = "apply",
    stated: Size | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    channels: int = 3,
    bits: int = 8,
) -> np.ndarray:
    """Reads an image.

    Grey images become three equal channels where three are asked for, colours become grey where
    one is, and alpha is dropped.

    Args:
        path: any file that Pillow reads, a TIFF of many channels or a NumPy file.
        format: "BGR" or "RGB", the order of three channels; others keep that of the file.
        exif: one of `project.data.spec.EXIF_MODES`.
        stated: (height, width) in the annotations, for `exif` "auto".
        max_pixels: more are not decoded.
        channels: C.
        bits: 8, which keeps the upper eight of 16-bit images, or 16, which keeps them all.

    Returns:
        (H, W, C), black 0 and white 255: float32 where `bits` is 16 or C is neither 1 nor 3, else
        uint8.

    Raises:
        DatasetError: see `open_image`; or pixels of 32 bits, whose range is unknown; or other
            channels.
        ConfigError: another format.
    """
    if format not in ("BGR", "RGB"):
        raise ConfigError(f"INPUT.FORMAT: expected 'BGR' or 'RGB', found {format!r}")
    values, turned = _read_stored(path, format, max_pixels, channels, bits)
    pixels = fit_channels(to_bits(values, path, bits), path, channels)
    if channels not in (1, 3):
        pixels = pixels.astype(np.float32, copy=False)
    if resolve_exif(exif, turned, pixels.shape[:2], stated):
        pixels = turn(pixels, turned)
    if (channels, format) == (3, "BGR"):
        bgr = pixels[:, :, ::-1]
        if bgr.flags.c_contiguous:
            return bgr
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)  # a quick copy
    # What Pillow lends cannot be written to, which torch warns of.
    return np.require(pixels, requirements=["C", "W", "E"])


def _read_stored(
    path: str | Path, format: str, max_pixels: int, channels: int, bits: int
) -> tuple[np.ndarray, int]:
    """(H, W, C) uint8 or uint16 as stored, see `_decode` for C; and the orientation, 1 to 8.

    Colours are RGB, in the memory order that is quick to bring into `format`.
    """
    if is_array(path, wide=bits == 16 or channels not in (1, 3)):
        _, turned = array_header(path, max_pixels)
        return read_array(path, channels), turned
    with open_image(path, max_pixels) as image:
        raw_mode = image.tile[0].args if image.tile else None  # decoding forgets it
        turned = stored_orientation(image)
        if bits == 16 and raw_mode in _WIDE_COLOURS:
            image.load()
            return read_wide_png(path), turned
        quick = decode_jpeg(image, path, format) if channels == 3 else None
        if quick is not None:
            return (quick[:, :, ::-1] if format == "BGR" else quick), turned
        values = _decode(image, path, channels)
        # Pillow has turned the pixels of TIFF already.
        return (turn_back(values, turned) if image.format == "TIFF" else values), turned


def _decode(image: ImageFile.ImageFile, path: str | Path, channels: int) -> np.ndarray:
    """(H, W, C) uint8 or uint16; C is what is nearest to `channels` of what Pillow offers."""
    if image.mode in _WIDE_INTEGERS:
        return np.asarray(image)[:, :, None]
    if image.mode == "I" and image.format == "PPM":  # 16 bits of a PGM
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if image.mode in ("I", "F"):
        raise wrong_depth(path, "32-bit numbers")
    if channels == 3:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if channels == 1:
        return np.asarray(image if image.mode == "L" else image.convert("L"))[:, :, None]
    return np.atleast_3d(np.asarray(image.convert("RGB") if image.mode in ("1", "P") else image))


def orientation(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or none that is valid.

    Raises:
        DatasetError: see `open_image`.
    """
    return read_header(path, max_pixels)[1]


def image_size(
    path: str | Path, *, exif: str = "apply", max_pixels: int = DEFAULT_MAX_PIXELS
) -> Size:
    """(height, width) of an image as `read_image` gives it where nothing states one; by its header.

    Raises:
        DatasetError: see `open_image`.
    """
    stored, turned = read_header(path, max_pixels)
    return turned_size(stored, turned) if resolve_exif(exif, turned, stored, None) else stored


def read_header(path: str | Path, max_pixels: int) -> tuple[Size, int]:
    """Stored (height, width) and EXIF orientation, 1 to 8, of an image file.

    Raises:
        DatasetError: see `open_image`.
    """
    if is_array(path, wide=True):
        return array_header(path, max_pixels)
    with open_image(path, max_pixels) as image:
        size = image.height, image.width
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow has turned its size
            base = ExifTags.Base
            size = image.tag_v2[base.ImageLength], image.tag_v2[base.ImageWidth]
        if image.format == "PNG":
            content = Path(path).read_bytes()
            if not any(marker in content for marker in _PNG_EXIF_MARKERS):
                return size, UPRIGHT
        return size, stored_orientation(image)


def check_size(found: Size, path: str | Path, expected: Size, source: str | Path) -> None:
    """Raises unless two (height, width) agree.

    Args:
        found: size of the pixels of `path`.
        path: the image or label map that was read.
        expected: the size that `source` states or has.
        source: the image or annotation file.

    Raises:
        DatasetError: they differ.
    """
    if found == expected:
        return
    is_turned = found == expected[::-1]
    raise image_error(
        "size_turned" if is_turned else "size_mismatch",
        path,
        f"its size is {found[0]} x {found[1]} pixels (height x width)",
        f"{expected[0]} x {expected[1]}, as {source} says",
        turned_repair(source, found, *read_header(path, sys.maxsize))
        if is_turned
        else "export both at the same size",
    )
