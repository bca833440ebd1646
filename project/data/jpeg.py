"""JPEG files by OpenCV's decoder: the same pixels as Pillow's, in three quarters of the time.

Both are libjpeg-turbo; Pillow reads in pieces, and copies the pixels twice. But what Pillow refuses
as damaged, OpenCV may return as a picture that is grey from there on. So only plain files are for
it, whose markers are where they must be, of which then no decoder can stumble.
"""

import io
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile

_BEGIN, _SCAN, _END = 0xD8, 0xDA, 0xD9  # of file, of compressed pixels, of file
_RESTARTS = range(0xD0, 0xD8)
_MARKER = 0xFF


def decode_jpeg(image: ImageFile.ImageFile, path: str | Path, format: str) -> np.ndarray | None:
    """Decodes a plain JPEG of three colours, as it is stored.

    Args:
        image: the opened file, whose pixels have not been decoded.
        path: of the file.
        format: "BGR" or "RGB".

    Returns:
        (H, W, 3) uint8; None for whatever Pillow shall read, and explain where it cannot.
    """
    if image.format != "JPEG" or image.mode != "RGB" or not _decodes_alike():
        return None
    content = Path(path).read_bytes()
    pixels = _decode(content, format) if _is_plain(content) else None
    return pixels if pixels is not None and pixels.shape[1::-1] == image.size else None


def _is_plain(content: bytes) -> bool:
    """Whether there is one scan, and in it no marker but restarts and the file's end (ITU T.81)."""
    start = _start_of_scan(content)
    if start is None:
        return False
    scan = np.frombuffer(content, dtype=np.uint8, offset=start)
    marks = np.flatnonzero(scan == _MARKER)
    if not len(marks) or marks[-1] != len(scan) - 2 or scan[-1] != _END:
        return False
    kinds = scan[marks[:-1] + 1]
    return bool(((kinds == 0) | ((kinds >= _RESTARTS[0]) & (kinds <= _RESTARTS[-1]))).all())


def _start_of_scan(content: bytes) -> int | None:
    """Where the first scan's pixels begin; None where the segments before it are not whole."""
    if content[:2] != bytes([_MARKER, _BEGIN]):
        return None
    position = 2
    while position + 4 <= len(content) and content[position] == _MARKER:
        kind = content[position + 1]
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        if length < 2:
            return None
        position += 2 + length
        if kind == _SCAN:
            return position if position < len(content) else None
    return None


def _decode(content: bytes, format: str) -> np.ndarray | None:
    colour = cv2.IMREAD_COLOR_RGB if format == "RGB" else cv2.IMREAD_COLOR_BGR
    try:
        return cv2.imdecode(
            np.frombuffer(content, dtype=np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:  # more pixels than OpenCV takes
        return None


@cache
def _decodes_alike() -> bool:
    """Whether the two libraries give the same pixels, which their builds decide."""
    noise = np.random.default_rng(0).integers(0, 256, (35, 37, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    for pixels in (noise, smooth):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=80)
        ours = _decode(file.getvalue(), "RGB")
        if ours is None or not np.array_equal(ours, np.asarray(Image.open(file))):
            return False
    return True
