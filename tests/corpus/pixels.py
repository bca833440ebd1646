"""Damages to image files, whatever they are in a data set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # of EXIF


def rewritten(
    change: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels, format: str = "PNG"
) -> Callable[[Path], None]:
    """How to change the pixels of a file (the indices of a palette), which keeps its name."""
    return lambda path: Image.fromarray(change(np.array(Image.open(path)))).save(path, format)


def narrowed(pixels: np.ndarray) -> np.ndarray:
    """The first forty columns."""
    return pixels[:, :40]


def turned(pixels: np.ndarray) -> np.ndarray:
    """On its side."""
    return np.rot90(pixels).copy()


def turned_by_exif(path: Path) -> None:
    """Stored as it was, with an orientation that says to turn it."""
    image = Image.open(path)
    exif = image.getexif()
    exif[_ORIENTATION] = 6
    image.save(path, "PNG", exif=exif)


def cut_off(path: Path) -> None:
    """Leaves the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip_byte(path: Path, at: float = 0.5) -> None:
    """Flips one bit in the byte at this share of a file."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 4
    path.write_bytes(content)
