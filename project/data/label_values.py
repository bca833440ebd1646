"""The numbers or colours that a label map file holds, before they mean anything."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from project.data.images import open_image
from project.data.problems import Problem
from project.data.spec import DEFAULT_MAX_PIXELS
from project.errors import DatasetError

_LOSSY_FORMATS = ("JPEG", "MPO")
# Pillow spreads the 4 or 16 greys of small PNG files over 0 to 255; dividing undoes it.
_SPREAD_GREYS = {"L;2": 85, "L;4": 17}


def read_values(
    path: str | Path, *, colours: bool, where: str, max_pixels: int = DEFAULT_MAX_PIXELS
) -> np.ndarray:
    """Reads a label map upright, as its EXIF orientation says.

    Numbers come from grey images of 1 to 32 bits, from the indices of palette images, and from RGB
    images with three equal channels. Colours come from any image; a palette is expanded.

    Args:
        path: of the label map.
        colours: colours are expected, not numbers.
        where: who said so, for messages.
        max_pixels: more are not decoded.

    Returns:
        (H, W) integers; colours as 0xRRGGBB.

    Raises:
        DatasetError: unreadable, JPEG, colours where numbers are expected, no whole numbers.
    """
    with open_image(path, max_pixels) as image:
        if image.format in _LOSSY_FORMATS:
            raise Problem(
                *("label_lossy", None, str(path), None),
                found="JPEG changes the values of a label map",
                expected="a lossless format",
                repair="export it as PNG from its source; converting this file keeps the damage",
            ).error()
        # To be read before the pixels are: decoding forgets it.
        spread = _SPREAD_GREYS.get(str(image.tile[0].args) if image.tile else "", 1)
        ImageOps.exif_transpose(image, in_place=True)
        if colours:
            return pack_colours(np.asarray(image.convert("RGB")))
        return _numbers(image, path, where) // spread


def pack_colours(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB to (H, W) uint32 0xRRGGBB."""
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), 2, 0)
    return red << 16 | green << 8 | blue


def value_text(value: int, *, colours: bool) -> str:
    """A value as a specification writes it."""
    return f"#{value:06X}" if colours else str(value)


def count_values(values: np.ndarray) -> dict[int, int]:
    """Value -> pixels, the most frequent first."""
    flat = values.ravel()
    # Label maps are made of long runs, and few runs are sorted much faster than many pixels.
    starts = np.flatnonzero(np.r_[flat.size > 0, flat[1:] != flat[:-1]])
    lengths = np.diff(np.r_[starts, flat.size])
    found, run_values = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(run_values, weights=lengths, minlength=len(found)).astype(np.int64)
    order = np.argsort(-counts, kind="stable")
    return {int(found[i]): int(counts[i]) for i in order}


def share_text(part: int, total: int) -> str:
    """A share that is not told as 0.0% where it is more than nothing."""
    share = part / max(total, 1)
    return "under 0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def shares_text(counts: Mapping[int, int], total: int, *, colours: bool, limit: int = 8) -> str:
    """The most frequent values and their share of `total` pixels: "0 (61.2%), 255 (38.8%)"."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    listed = [
        f"{value_text(v, colours=colours)} ({share_text(n, total)})" for v, n in ordered[:limit]
    ]
    return ", ".join(listed) + (f" and {len(counts) - limit} more" if len(counts) > limit else "")


def _numbers(image: Image.Image, path: str | Path, where: str) -> np.ndarray:
    """(H, W) integers of a grey, palette or grey-in-RGB image."""
    if image.mode in ("RGB", "RGBA", "LA", "PA"):
        pixels = np.asarray(image)[:, :, : 3 if image.mode.startswith("RGB") else 1]
        if (pixels == pixels[:, :, :1]).all():
            return pixels[:, :, 0]
        raise _colours_found(path, pixels, where)
    values = np.asarray(image)
    if image.mode == "1":
        return values.astype(np.uint8)
    if image.mode == "F":
        if not np.array_equal(values, np.trunc(values)):
            raise _no_numbers(path, "it holds fractions")
        return values.astype(np.int64)
    if image.mode not in ("L", "P", "I") and not image.mode.startswith("I;16"):
        raise _no_numbers(path, f"found the mode {image.mode}")
    return values


def _colours_found(path: str | Path, pixels: np.ndarray, where: str) -> DatasetError:
    counts = count_values(pack_colours(pixels))
    shares = shares_text(counts, pixels[..., 0].size, colours=True)
    return Problem(
        *("label_colours", None, str(path), None),
        found=f"found the colours {shares}",
        expected=f"numbers, since {where} gives numbers",
        repair="give each class its colour there, such as road: '#804080'",
    ).error()


def _no_numbers(path: str | Path, found: str) -> DatasetError:
    return Problem(
        *("label_kind", None, str(path), None),
        found=found,
        expected="a grey, palette or RGB image of whole numbers",
        repair="export it as an 8-bit or 16-bit PNG",
    ).error()
