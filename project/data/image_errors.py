"""What can be wrong with an image file, in words; each error carries its `Problem`."""

import struct
import zlib
from pathlib import Path

from PIL import UnidentifiedImageError

from project.data.orientation import Size, turned_size
from project.data.problems import Problem
from project.errors import DatasetError

_TEXT_SUFFIXES = (".json", ".txt", ".xml")

# What decoders raise for damaged, truncated or hostile files.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
)


def image_error(
    rule: str, path: str | Path, found: str, expected: str, repair: str
) -> DatasetError:
    """An error about one file; the arguments are those of `Problem`."""
    return Problem(rule, None, str(path), None, found, expected, repair).error()


def missing(path: str | Path) -> DatasetError:
    """There is no such file."""
    repair = "mend its name where it is listed, or take it out of the data"
    return image_error("image_missing", path, "no such file", "an image", repair)


def unreadable(path: str | Path, error: Exception) -> DatasetError:
    """The file is empty, no image, or damaged."""
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        reason = "the file is empty"
    elif isinstance(error, UnidentifiedImageError):
        reason = "its content is of no known kind"
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
    return image_error(
        "image_unreadable",
        path,
        f"it cannot be read as an image ({reason})",
        "one that decodes to its last pixel",
        "replace it, or take it out of the data",
    )


def wrong_depth(path: str | Path, pixels: str) -> DatasetError:
    """Nothing says which of its values are black and white."""
    return image_error(
        "image_depth",
        path,
        f"its pixels are {pixels}, whose black and white are unknown",
        "whole numbers of 8 or 16 bits",
        "scale all images alike and export them with 8 or 16 bits",
    )


def wrong_channels(path: str | Path, found: str, channels: int) -> DatasetError:
    """It has other channels than the model takes."""
    return image_error(
        "image_channels",
        path,
        found,
        f"{channels} channels, as INPUT.CHANNELS says",
        "set INPUT.CHANNELS, or export all images alike",
    )


def turned_repair(source: str | Path, found: Size, stored: Size, orientation: int) -> str:
    """What to do about an image that is turned by 90 degrees against what `source` says.

    Args:
        source: the annotation file, or another picture.
        found: (height, width) of the image as it was taken.
        stored: the same as its file has it.
        orientation: of its EXIF, 1 to 8.
    """
    upright = turned_size(stored, orientation)
    if upright != stored:
        other = "ignore" if found == upright else "apply"
        return (
            f"one of the two is turned by 90 degrees: write `exif: auto` or `exif: {other}` in the"
            " data set specification, or annotate the image as it is taken now"
        )
    if Path(source).suffix.lower() in _TEXT_SUFFIXES:
        return f"width and height are exchanged in {source}: correct them there"
    return "turn one of the two by 90 degrees: no EXIF orientation says which"


def check_pixel_count(path: str | Path, height: int, width: int, max_pixels: int) -> None:
    """Raises where an image is too large to be decoded safely.

    Raises:
        DatasetError: it has more pixels than `max_pixels`.
    """
    count = height * width
    if count <= max_pixels:
        return
    raise image_error(
        "image_too_large",
        path,
        f"its {height} x {width} (height x width) are {count} pixels",
        f"at most {max_pixels}",
        f"cut it into tiles, or, if it is meant to be so large, write `max_pixels: {count}` into"
        " the data set specification",
    )
