"""Polygons to pixels within the box around them, to the last bit as pycocotools fills the frame.

pycocotools walks the outline alone; what costs is to decode its runs over the whole frame, and to
turn that from columns to rows. Of 7 objects in 800 x 1067 pixels that is 5 ms as Detectron2 does it
(`polygons_to_bitmask`) and 0.6 ms here. `cv2.fillPoly` takes 0.1 ms, but every pixel that the
outline touches, so that its masks are 1 to 3 % too large.

N objects, M polygons of P points, H x W pixels of the frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import pycocotools.mask as mask_util

from project.data.run_lengths import decompress

Polygon = np.ndarray  # (P, 2) float x and y, finite and within [0, W] x [0, H]


def raster_polygons(
    objects: Sequence[Sequence[Polygon]], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fills objects, each the union of its polygons; see `pycocotools.mask.frPyObjects`.

    Args:
        objects: the polygons of N objects.
        height: H.
        width: W.

    Returns:
        masks: (N, H, W) bool.
        boxes: (N, 4) XYXY about the pixels; zeros where there are none.
    """
    masks = np.zeros((len(objects), height, width), dtype=bool)
    boxes = np.zeros((len(objects), 4))
    polygons = [points.ravel().tolist() for parts in objects for points in parts]
    if not polygons:
        return masks, boxes
    # In the whole frame: where an outline is rounded to pixels would depend on where a box begins.
    codes = mask_util.frPyObjects(polygons, height, width)
    found = mask_util.toBbox(codes)
    found[:, 2:] += found[:, :2]
    lengths = decompress([code["counts"] for code in codes])
    owners = [index for index, parts in enumerate(objects) for _ in parts]
    boxes_of_all = found.astype(int).tolist()
    turns = (np.arange(1 + max(map(len, lengths))) & 1).astype(np.uint8)
    for owner, runs, box, place in zip(owners, lengths, found, boxes_of_all):
        if box[2] > box[0]:
            _paste(masks[owner], runs, turns, *place)
            boxes[owner] = joined_boxes(boxes[owner], box) if boxes[owner].any() else box
    return masks, boxes


def _paste(
    mask: np.ndarray,
    runs: np.ndarray,
    turns: np.ndarray,
    left: int,
    top: int,
    right: int,
    bottom: int,
) -> None:
    """Adds pixels to an (H, W) mask.

    Args:
        mask: to add to.
        runs: (R,) lengths of runs of 0, 1, 0, ... down the columns of the frame.
        turns: uint8 0, 1, 0, ..., at least R + 1 of them.
        left: of the XYXY box about the pixels, which is not empty.
        top: likewise.
        right: likewise.
        bottom: likewise.
    """
    height, width = bottom - top, right - left
    edges = runs.cumsum()
    edges = edges[: len(edges) & ~1]  # begin and end of each run of 1
    if height == len(mask):
        edges -= left * height
    else:  # then none goes on from the foot of one column to the head of the next
        edges[1::2] -= 1
        columns = edges // len(mask)
        edges -= columns * (len(mask) - height) + (left * height + top)
        edges[1::2] += 1
    lengths = np.empty(len(edges) + 1, dtype=edges.dtype)
    lengths[0], lengths[-1] = edges[0], height * width - edges[-1]
    np.subtract(edges[1:], edges[:-1], out=lengths[1:-1])
    # Three times as quick as a copy of the transposed view.
    pixels = cv2.transpose(turns[: len(lengths)].repeat(lengths).reshape(width, height)).view(bool)
    window = mask[top:bottom, left:right]
    np.logical_or(window, pixels, out=window)


def joined_boxes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The XYXY box about two."""
    return np.concatenate([np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])])
