"""Panoptic PNG files of COCO: each pixel's segment id is R + 256 G + 65536 B.

https://cocodataset.org/#format-data, panoptic segmentation.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from project.data.images import open_image
from project.errors import DatasetError


def read_segment_ids(path: str | Path) -> np.ndarray:
    """(H, W) int32 segment ids, 0 for void; not to be changed.

    Raises:
        DatasetError: the file is missing, damaged, too large or no RGB image.
    """
    path = Path(path)
    version = path.stat().st_mtime_ns if path.exists() else 0
    return _read(path, version)


# The segments of one image are decoded one after the other.
@lru_cache(maxsize=2)
def _read(path: Path, version: int) -> np.ndarray:
    del version
    with open_image(path) as image:
        if image.mode not in ("RGB", "RGBA"):
            raise DatasetError(
                f"{path}: a panoptic map is an RGB image (id = R + 256 G + 65536 B), found the mode"
                f" {image.mode}; export it as COCO has it"
            )
        pixels = np.asarray(image)[:, :, :3].astype(np.int32)
    ids = pixels[:, :, 0] + (pixels[:, :, 1] << 8) + (pixels[:, :, 2] << 16)
    ids.flags.writeable = False
    return ids
