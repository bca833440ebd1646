"""Boundary IoU (Cheng et al. 2021, https://arxiv.org/abs/2103.16562), for masks and for label maps.

The boundary of a mask are its pixels within a distance of its outline: 2 % of the diagonal of the
image, in steps to the 8 neighbours, as the authors measure. Where the mask ends at the image's
border is outline too. Boundary IoU is the IoU of two boundaries.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import pycocotools.mask as mask_util

from project.evaluation.matches import IOU_THRESHOLDS, Ious

WIDTH = 0.02  # of the image's diagonal


def boundary_width(height: int, width: int) -> int:
    """Pixels, at least 1."""
    return max(1, round(WIDTH * float(np.hypot(height, width))))


def mask_boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool or uint8 mask -> (H, W) bool; what lies outside the array is not of the mask."""
    pixels = np.ascontiguousarray(mask, dtype=np.uint8)
    inner = cv2.erode(pixels, _square(width), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return (pixels > inner).astype(bool)


def label_boundary(
    labels: np.ndarray, ignored: np.ndarray, width: int, num_classes: int
) -> np.ndarray:
    """The boundaries of all classes of a label map at once.

    A pixel is inside its class where the whole square around it is of its class. Pixels to be
    ignored fit to every class: where a class ends there is not known, so it is no outline.

    Args:
        labels: (H, W) uint8 semantic ids; from K on no class, which has outlines too.
        ignored: (H, W) bool.
        width: pixels.
        num_classes: K.

    Returns:
        (H, W) bool, False at ignored pixels.
    """
    # Values from 1 to `top` - 1, so that 0 lies below and `top` above all of them.
    dtype = np.dtype(np.uint8 if num_classes < 254 else np.uint16)
    top = dtype.type(np.iinfo(dtype).max)
    values = np.minimum(labels, np.uint8(num_classes)).astype(dtype, copy=False) + dtype.type(1)
    lowest = highest = values
    if ignored.any():
        holes = ignored * top
        lowest, highest = values | holes, values & ~holes
    # 0 outside the image makes its border an outline.
    lowest = extreme_in_square(lowest, width, np.minimum)
    highest = extreme_in_square(highest, width, np.maximum)
    outline = lowest != values
    outline |= highest != values
    outline &= ~ignored
    return outline


def extreme_in_square(values: np.ndarray, width: int, choose: np.ufunc) -> np.ndarray:
    """The least or largest value in the square around each pixel, which is 0 beyond the border.

    Windows of 1, 2, 4, ... pixels are put together, in both directions. OpenCV compares all pixels
    of a window in turn: 5 ms of 1024 x 2048 pixels and a width of 46, and 2 ms here.

    Args:
        values: (H, W) unsigned.
        width: of the square beside the pixel.
        choose: `np.minimum` or `np.maximum`.

    Returns:
        (H, W) of the same type.
    """
    reach = 2 * width + 1
    for axis in (1, 0):
        margins = [(0, 0), (0, 0)]
        margins[axis] = (width, width)
        values = np.pad(values, margins)
        size = 1
        while size < reach:
            step = min(size, reach - size)
            head, tail = [slice(None)] * 2, [slice(None)] * 2
            head[axis], tail[axis] = slice(None, -step), slice(step, None)
            values = choose(values[tuple(head)], values[tuple(tail)])
            size += step
    return values


class _Piece(NamedTuple):
    """The boundary of one mask, cut out of its image at x, y."""

    x: int
    y: int
    pixels: np.ndarray
    area: int


def boundary_ious(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], mask_ious: Ious, limit: int
) -> dict[tuple[int, int], np.ndarray]:
    """The smaller of mask IoU and boundary IoU, as COCO's boundary AP takes it.

    Masks that could not match at any threshold keep their mask IoU, and so do crowds.

    Args:
        truth: a COCO dict with masks, see `evaluate_coco`.
        detections: see `evaluate_coco`.
        mask_ious: of the same, see `match_table`.
        limit: the best so many of an image and class are in `mask_ious`.
    """
    objects, found = _by_pair(truth["annotations"]), _by_pair(detections)
    result: dict[tuple[int, int], np.ndarray] = {}
    for pair, ious in mask_ious.items():
        if len(ious) == 0:
            continue
        ious = np.array(ious, dtype=np.float64)
        ranked = sorted(found[pair], key=lambda d: -d["score"])[:limit]
        crowd = np.array([bool(o["iscrowd"]) for o in objects[pair]])
        rows, columns = np.nonzero((ious >= IOU_THRESHOLDS[0]) & ~crowd)
        masks = {("d", int(d)): ranked[d] for d in rows} | {
            ("o", int(o)): objects[pair][o] for o in columns
        }
        pieces = {key: _piece(entry["segmentation"]) for key, entry in masks.items()}
        for d, o in zip(rows.tolist(), columns.tolist()):
            ious[d, o] = min(ious[d, o], _piece_iou(pieces["d", d], pieces["o", o]))
        result[pair] = ious
    return result


def _by_pair(
    entries: Sequence[Mapping[str, Any]],
) -> defaultdict[tuple[int, int], list[Mapping[str, Any]]]:
    groups: defaultdict[tuple[int, int], list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        groups[entry["image_id"], entry["category_id"]].append(entry)
    return groups


def _piece(rle: Any) -> _Piece:
    x, y, width, height = mask_util.toBbox(rle).astype(int).tolist()
    mask = mask_util.decode(rle)[y : y + height, x : x + width]
    pixels = mask_boundary(mask, boundary_width(*rle["size"]))
    return _Piece(x, y, pixels, int(np.count_nonzero(pixels)))


def _piece_iou(a: _Piece, b: _Piece) -> float:
    x0, y0 = max(a.x, b.x), max(a.y, b.y)
    x1 = min(a.x + a.pixels.shape[1], b.x + b.pixels.shape[1])
    y1 = min(a.y + a.pixels.shape[0], b.y + b.pixels.shape[0])
    if x1 <= x0 or y1 <= y0:
        return 0.0
    parts = [p.pixels[y0 - p.y : y1 - p.y, x0 - p.x : x1 - p.x] for p in (a, b)]
    both = int(np.count_nonzero(parts[0] & parts[1]))
    return both / (a.area + b.area - both)


def _square(width: int) -> np.ndarray:
    return np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
