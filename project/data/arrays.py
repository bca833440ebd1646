"""Images that Pillow cannot hold: NumPy files, TIFF of many channels, colours of 16 bits."""

import logging
from pathlib import Path
from tokenize import TokenError

import cv2
import numpy as np
import tifffile

from project.data.image_errors import (
    UNREADABLE,
    check_pixel_count,
    missing,
    unreadable,
    wrong_channels,
)
from project.data.orientation import UPRIGHT, valid_orientation
from project.errors import UserError

_TIFF = (".tif", ".tiff")
_PILLOWS_CHANNELS = 4
_ORIENTATION = 274
# What tifffile and NumPy raise for files that lie.
_BROKEN = (*UNREADABLE, RuntimeError, AttributeError, TokenError)
# What it logs becomes an error with the file's name.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def is_array(path: str | Path, *, wide: bool = False) -> bool:
    """Whether a file is for this module, by its header.

    Args:
        path: it need not exist.
        wide: TIFF of several channels of 16 bits is too, of which Pillow keeps 8.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _TIFF:
        return suffix == ".npy"
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            return page.samplesperpixel > _PILLOWS_CHANNELS or (
                wide and page.samplesperpixel > 1 and page.bitspersample == 16
            )
    except _BROKEN:
        return False  # Pillow opens more kinds, and else says what is wrong


def array_header(path: str | Path, max_pixels: int) -> tuple[tuple[int, int], int]:
    """Stored (height, width) and EXIF orientation of a file, see `is_array`.

    Raises:
        DatasetError: the file is missing, damaged or too large.
    """
    try:
        if Path(path).suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            height, width = _plane(shape)
            orientation = UPRIGHT
        else:
            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                height, width = page.imagelength, page.imagewidth
                tag = page.tags.get(_ORIENTATION)
                orientation = valid_orientation(tag.value if tag else None)
    except FileNotFoundError as error:
        raise missing(path) from error
    except _BROKEN as error:
        raise unreadable(path, error) from error
    check_pixel_count(path, height, width, max_pixels)
    return (height, width), orientation


def read_array(path: str | Path, channels: int) -> np.ndarray:
    """Pixels of a file whose header has passed `array_header`.

    Args:
        path: NumPy file of (H, W), (H, W, C) or (C, H, W), or TIFF of one page.
        channels: C; the axis of that size is the channels', the last where both are.

    Returns:
        (H, W, C) as stored, of the file's own type; C may be another of 1 to 4.

    Raises:
        DatasetError: it is damaged, or of other channels.
    """
    try:
        if Path(path).suffix.lower() != ".npy":
            return _read_tiff(path, channels)
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        _plane(values.shape)
        return _channels_last(path, values, channels)
    except UserError:
        raise
    except _BROKEN as error:
        raise unreadable(path, error) from error


def read_wide_png(path: str | Path) -> np.ndarray:
    """(H, W, C) uint16 RGB or RGBA of a 16-bit PNG that Pillow has decoded without complaint.

    OpenCV alone would fill with zeros what a damaged file lacks.

    Raises:
        OSError: OpenCV refuses it after all.
    """
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError("OpenCV does not decode it")
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of an array; of three axes, the smaller outer one is the channels'."""
    if len(shape) not in (2, 3) or not all(shape):
        raise ValueError(f"an array of the shape {shape} is no image")
    first = len(shape) == 3 and shape[0] < shape[-1]
    height, width = shape[1:] if first else shape[:2]
    return int(height), int(width)


def _channels_last(path: str | Path, values: np.ndarray, channels: int) -> np.ndarray:
    if values.ndim == 2:
        values = values[:, :, None]
    if values.shape[2] != channels and values.shape[0] == channels:
        return np.moveaxis(values, 0, 2)
    if values.shape[2] == channels or values.shape[2] <= _PILLOWS_CHANNELS:
        return values
    raise wrong_channels(path, f"its shape is {values.shape}", channels)


def _read_tiff(path: str | Path, channels: int) -> np.ndarray:
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        samples = page.samplesperpixel
        if samples != channels and samples > _PILLOWS_CHANNELS:
            raise wrong_channels(path, f"it has {samples} channels", channels)
        if len(file.pages) > 1:
            raise ValueError(f"it has {len(file.pages)} pages")
        if not all(page.dataoffsets) or not all(page.databytecounts):
            raise ValueError("some of its pixels are not there")  # they would be read as zeros
        values = page.asarray()
    return np.moveaxis(values, 0, 2) if page.planarconfig == 2 else values
