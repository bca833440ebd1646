"""EXIF orientation: how a stored picture is turned upright, and whether it is to be.

CIPA DC-008 (Exif 2.32), tag 0x0112: which sides of the scene the first row and column are.
"""

import numpy as np
from PIL import ExifTags, ImageFile

Size = tuple[int, int]

UPRIGHT = 1
# Orientation -> swap the two axes, then mirror top and bottom, then left and right.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_INVERSES = {6: 8, 8: 6}  # all others undo themselves


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of (H, W, ...) stored pixels, upright."""
    swap, rows, columns = _TURNS[orientation]
    if swap:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def turn_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A view of (H, W, ...) upright pixels, as they are stored."""
    return turn(pixels, _INVERSES.get(orientation, orientation))


def turned_size(size: Size, orientation: int) -> Size:
    """(height, width) after `turn`; the same function leads back."""
    return size[::-1] if _TURNS[orientation][0] else size


def valid_orientation(value: object) -> int:
    """1 to 8; 1 for anything else, which files do hold."""
    return int(value) if isinstance(value, int) and value in _TURNS else UPRIGHT


def stored_orientation(image: ImageFile.ImageFile) -> int:
    """1 to 8, of an image whose pixels Pillow has not decoded yet; PNG files may be by this."""
    return valid_orientation(image.getexif().get(ExifTags.Base.Orientation))


def resolve_exif(mode: str, orientation: int, stored: Size, stated: Size | None) -> bool:
    """Whether an image is to be turned as its EXIF orientation says.

    Args:
        mode: "apply", "ignore", or "auto": as it agrees with the size that annotations state,
            and upright where both or neither do or none is stated.
        orientation: 1 to 8.
        stored: (height, width) of the pixels in the file.
        stated: (height, width) in the annotations; None where they have none.
    """
    if mode != "auto":
        return mode == "apply"
    return not (stated == stored and stated != turned_size(stored, orientation))
