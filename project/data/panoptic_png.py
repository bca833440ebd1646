"""Panoptic PNG files of COCO: each pixel's segment id is R + 256 G + 65536 B.

https://cocodataset.org/#format-data, panoptic segmentation.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from project.data.images import open_image
from project.data.problems import Problem
from project.data.spec import DEFAULT_MAX_PIXELS

VOID = 0  # of pixels without a segment
MAX_SEGMENT_ID = 2**24 - 1
_LOSSY_FORMATS = ("JPEG", "MPO")


def read_segment_ids(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> np.ndarray:
    """(H, W) int32 segment ids, 0 for void; not to be changed.

    Args:
        path: of the file.
        max_pixels: more are not decoded.

    Raises:
        DatasetError: the file is missing, damaged, too large, JPEG or no RGB image.
    """
    path = Path(path)
    version = path.stat().st_mtime_ns if path.exists() else 0
    return _read(path, version, max_pixels)


# The segments of one image are decoded one after the other.
@lru_cache(maxsize=2)
def _read(path: Path, version: int, max_pixels: int) -> np.ndarray:
    del version
    with open_image(path, max_pixels) as image:
        if image.format in _LOSSY_FORMATS:
            raise Problem(
                *("label_lossy", None, str(path), None),
                found=f"it is a {image.format}, which changes the numbers of segments",
                expected="a PNG",
                repair="export it as PNG from its source; converting this file keeps the damage",
            ).error()
        if image.mode not in ("RGB", "RGBA"):
            raise Problem(
                *("label_kind", None, str(path), None),
                found=f"it has the mode {image.mode}",
                expected="an RGB image, where a segment's id is R + 256 G + 65536 B",
                repair="export it as COCO has it",
            ).error()
        pixels = np.asarray(image)[:, :, :3].astype(np.int32)
    ids = pixels[:, :, 0] + (pixels[:, :, 1] << 8) + (pixels[:, :, 2] << 16)
    ids.flags.writeable = False
    return ids
