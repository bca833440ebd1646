"""OpenCV on images of any number of channels."""

from collections.abc import Callable

import cv2
import numpy as np

_MOST = 4  # channels for which OpenCV's border values are defined


def by_groups(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Changes an (H, W) or (H, W, C) image, four channels at a time; its dimensions stay three."""
    if image.ndim == 2:
        return change(np.ascontiguousarray(image))
    groups = [
        change(np.ascontiguousarray(image[:, :, i : i + _MOST]))
        for i in range(0, image.shape[2], _MOST)
    ]
    # OpenCV drops the last dimension of one channel.
    return np.concatenate([g if g.ndim == 3 else g[:, :, None] for g in groups], axis=2)


def planar(image: np.ndarray) -> np.ndarray:
    """(C, H, W) of an (H, W, C) image, in memory too."""
    view = image.transpose(2, 0, 1)
    if view.flags.c_contiguous:
        return view
    if image.dtype == np.uint8 and image.shape[2] == 3 and image.flags.c_contiguous:
        planes = np.empty((3, *image.shape[:2]), dtype=np.uint8)
        cv2.split(image, list(planes))  # seven times as quick as numpy
        return planes
    return np.ascontiguousarray(view)
