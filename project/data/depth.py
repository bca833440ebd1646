"""Bits and channels of decoded pixels, made those that a model takes."""

import logging
from pathlib import Path

import cv2
import numpy as np
from detectron2.utils.logger import log_first_n

from project.data.image_errors import wrong_channels, wrong_depth

_TWELVE_BITS = 2**12
_WIDE = 257  # 65535 / 255: white stays white


def to_bits(values: np.ndarray, path: str | Path, bits: int) -> np.ndarray:
    """Pixels with black at 0 and white at 255.

    Args:
        values: (H, W, C) as decoded.
        path: for messages.
        bits: 8: uint8, and of 16-bit images the upper eight bits, of which the first that is
            nearly black for that reason is told in the log; 16: float32 of whatever bits.

    Raises:
        DatasetError: they are neither uint8 nor uint16.
    """
    wide = values.dtype.itemsize == 2
    if values.dtype.kind != "u" or not (wide or values.dtype == np.uint8):
        raise wrong_depth(path, values.dtype.name)
    if bits == 16:
        pixels = values.astype(np.float32)
        return np.divide(pixels, _WIDE, out=pixels) if wide else pixels
    if not wide:
        return values
    _warn_of_darkness(int(values.max(initial=0)), path)
    return (values >> 8).astype(np.uint8)


def fit_channels(pixels: np.ndarray, path: str | Path, channels: int) -> np.ndarray:
    """(H, W, C) pixels with C of `channels`: grey and colours become each other, alpha is dropped.

    Raises:
        DatasetError: other channels.
    """
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if channels == 3 and found in (1, 4):
        return np.repeat(pixels, 3, axis=2) if found == 1 else pixels[:, :, :3]
    if channels == 1 and found in (3, 4):
        colours = np.ascontiguousarray(pixels[:, :, :3])
        return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[:, :, None]
    raise wrong_channels(path, f"it has {found} channels", channels)


def picture(pixels: np.ndarray, format: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB to look at: grey, colours, or the first three channels of many.

    Args:
        pixels: (H, W, C) of 0 to 255; of two channels the first is shown.
        format: "BGR" or "RGB", the order of three channels.
    """
    channels = pixels.shape[2]
    shown = pixels[:, :, :3] if channels >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    if (channels, format) == (3, "BGR"):
        shown = shown[:, :, ::-1]
    if shown.dtype != np.uint8:
        shown = shown.round().clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(shown)


def _warn_of_darkness(largest: int, path: str | Path) -> None:
    # Scaling each file by its own largest value would make a dim image as bright as any other.
    if 0 < largest < _TWELVE_BITS:
        log_first_n(
            logging.WARNING,
            f"{path}: the largest value of this 16-bit image is {largest}, of which the upper eight"
            f" bits leave 0 to {largest >> 8}: nearly black. Set INPUT.BITS 16 to keep them all,"
            " or, if the camera gave 12 bits or fewer, multiply all images by one factor to fill"
            " 16 bits (datasets/README.md); further such files are not told",
            name=__name__,
        )
