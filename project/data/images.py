"""The one reader of images."""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from detectron2.utils.logger import log_first_n
from PIL import ExifTags, Image, ImageFile, ImageOps

from project.errors import ConfigError, DatasetError, UserError

# What Pillow raises for damaged, truncated or hostile files.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
# Their further pictures are previews, depth maps or layers of the first.
_ONE_PICTURE = ("MPO", "PSD")
_TWELVE_BITS = 2**12
_WIDE_INTEGERS = ("I;16", "I;16L", "I;16B", "I;16N")
# Where a PNG file can hold an orientation; without these, its pixels need not be decoded for it.
_PNG_EXIF_MARKERS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


@contextmanager
def open_image(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """Opens an image file; what goes wrong with it inside the block names the file.

    Raises:
        DatasetError: the file is missing, no image, damaged or far too large, or it holds several
            frames.
    """
    try:
        with Image.open(path) as image:
            _check_frames(image, path)
            yield image
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except _UNREADABLE as error:
        size = Path(path).stat().st_size if Path(path).is_file() else 0
        found = "the file is empty" if size == 0 else " ".join(str(error).split())
        raise DatasetError(
            f"{path}: cannot be read as an image ({found}); replace it, or take it out of the data"
        ) from error


def _check_frames(image: ImageFile.ImageFile, path: str | Path) -> None:
    """Raises where a file holds a film or a stack, of which one frame would be taken silently."""
    try:
        frames = getattr(image, "n_frames", 1)
    except TypeError as error:  # from Pillow, where a later frame of a TIFF has no size
        raise OSError(error) from error
    if frames > 1 and image.format not in _ONE_PICTURE:
        stem = Path(path).stem
        raise DatasetError(
            f"{path}: expected one image, found {frames} frames in this {image.format}; save each"
            f" frame as a file of its own, for example with ImageMagick: magick {Path(path).name}"
            f" {stem}_%03d.png"
        )


def read_image(path: str | Path, format: str) -> np.ndarray:
    """Reads an image upright, as its EXIF orientation says.

    Grey images become three equal channels, alpha is dropped, and of 16-bit images the upper
    eight bits are kept; the first that is nearly black for that reason is told in the log.

    Args:
        path: any file that Pillow reads.
        format: "BGR" or "RGB".

    Returns:
        (H, W, 3) uint8.

    Raises:
        DatasetError: see `open_image`; or pixels of 32 bits, whose range is unknown.
        ConfigError: another format.
    """
    if format not in ("BGR", "RGB"):
        raise ConfigError(f"INPUT.FORMAT: expected 'BGR' or 'RGB', found {format!r}")
    with open_image(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("I", "F"):
            raise DatasetError(
                f"{path}: its pixels are 32-bit numbers, whose black and white are unknown;"
                " export it with 8 or 16 bits"
            )
        if image.mode in _WIDE_INTEGERS:
            values = np.asarray(image)
            _warn_of_darkness(int(values.max(initial=0)), path)
            grey = (values >> 8).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        pixels = np.asarray(image.convert("RGB"))
    # A copy in either case: what Pillow lends cannot be written to, which torch warns of.
    return np.array(pixels[:, :, ::-1] if format == "BGR" else pixels, order="C")


def _warn_of_darkness(largest: int, path: str | Path) -> None:
    # Scaling each file by its own largest value would make a dim image as bright as any other.
    if 0 < largest < _TWELVE_BITS:
        log_first_n(
            logging.WARNING,
            f"{path}: the largest value of this 16-bit image is {largest}, of which the upper eight"
            f" bits leave 0 to {largest >> 8}: nearly black. If the camera gave 12 bits or fewer,"
            " multiply all images by one factor to fill 16 bits, or export 8 bits"
            " (datasets/README.md); further such files are not told",
            name=__name__,
        )


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an image upright, from its header.

    Raises:
        DatasetError: see `open_image`.
    """
    with open_image(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow has turned the size of these already
            return height, width
        if image.format == "PNG":
            content = Path(path).read_bytes()
            if not any(marker in content for marker in _PNG_EXIF_MARKERS):
                return height, width
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def check_size(
    found: tuple[int, int], path: str | Path, expected: tuple[int, int], source: str | Path
) -> None:
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
    hint = "export both at the same size"
    if found == expected[::-1]:
        hint = "one of the two is turned by 90 degrees: annotate images as their EXIF turns them"
    raise DatasetError(
        f"{path} is {found[0]} x {found[1]} pixels (height x width), but {source} says"
        f" {expected[0]} x {expected[1]}; {hint}"
    )
