"""Object masks: polygons and run-length encodings (RLE), in and out.

pycocotools reads memory that is not its own, or runs forever, on hostile numbers. Everything is
checked here before it gets there.
"""

from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from project.data.images import check_size
from project.data.panoptic_png import read_segment_ids
from project.errors import DatasetError

Segmentation = list[list[float]] | dict[str, Any]

MAX_SIDE = 2**15  # pixels of an image's side; more is a mistake in an annotation file
_MAX_CHARACTERS = 12  # of one number in a compressed RLE; 12 hold 60 bits


def decode_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Polygons or RLE to pixels.

    Args:
        segmentation: list of polygons `[x0, y0, x1, y1, ...]`, whose union is the mask, or an RLE
            `{"size": [height, width], "counts": ...}`, compressed (str, bytes) or not (list), or a
            segment of a panoptic PNG, `{"size": ..., "png": path, "id": number}`.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        (H, W) bool.

    Raises:
        DatasetError: see `check_segmentation`.
    """
    if isinstance(segmentation, dict) and "png" in segmentation:
        return _segment(segmentation, height, width)
    if isinstance(segmentation, dict):
        counts = _run_lengths(segmentation, height, width)
        columns = np.repeat((np.arange(len(counts)) & 1).astype(np.uint8), counts)
        # Three times as fast as copying a transposed view.
        return cv2.transpose(columns.reshape(width, height)).view(bool)
    check_polygons(segmentation, height, width)
    return _rasterise(segmentation, height, width)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) mask to a compressed RLE that can be written to JSON."""
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}


def compress(segmentation: Segmentation, height: int, width: int) -> Segmentation:
    """The same mask, as polygons or a compressed RLE; checks what it gets.

    Raises:
        DatasetError: see `check_segmentation`.
    """
    check_segmentation(segmentation, height, width)
    if isinstance(segmentation, dict) and not isinstance(segmentation.get("counts"), (str, bytes)):
        return encode_mask(decode_mask(segmentation, height, width))
    return segmentation


def check_segmentation(segmentation: Segmentation, height: int, width: int) -> None:
    """Checks polygons or RLE; see `decode_mask` for the arguments.

    Raises:
        DatasetError: numbers that are not finite or far outside of the image, an RLE of another
            size or damaged, another type.
    """
    if isinstance(segmentation, dict) and "png" in segmentation:
        _segment(segmentation, height, width)
    elif isinstance(segmentation, dict):
        _run_lengths(segmentation, height, width)
    else:
        check_polygons(segmentation, height, width)


def check_polygons(polygons: Any, height: int, width: int) -> None:
    """Checks a list of polygons.

    Raises:
        DatasetError: it is not a list of lists of at least three finite points near the image.
    """
    if not isinstance(polygons, list):
        raise DatasetError(f"segmentation must be polygons or RLE, found {type(polygons).__name__}")
    # Some overshoot is ordinary; pycocotools' memory grows with the length of the outline.
    limit = 10 * max(height, width)
    for polygon in polygons:
        points = _numbers(polygon)
        if points is None or len(points) % 2 or len(points) < 6:
            raise DatasetError(
                "a polygon must be a list [x0, y0, x1, y1, ...] of at least three points,"
                f" found {str(polygon)[:60]}"
            )
        if not np.abs(points).max() <= limit:  # also catches NaN
            raise DatasetError(
                f"a polygon has the coordinate {points[~(np.abs(points) <= limit)][0]},"
                f" far outside of the image of {height} x {width} pixels (height x width)"
            )


def clip_polygon(points: np.ndarray, width: float, height: float) -> np.ndarray:
    """The part of a polygon within [0, width] x [0, height] (Sutherland and Hodgman, 1974).

    Args:
        points: (P, 2) float, x and y.

    Returns:
        (Q, 2) float; Q is 0 where nothing is within, and `points` itself where all of it is.
    """
    if len(points) and points.min() >= 0 and (points <= (width, height)).all():
        return points
    for axis, bound, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        if not len(points):
            return points
        points = _clip_side(points, axis, bound, sign)
    return points


def visible_part(
    points: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """What is seen of a polygon in an image, and its box.

    Clipping a concave polygon leaves bridges of no width along the border, and points where it
    only touches the border. A clipped polygon's box is therefore that of its pixels.

    Args:
        points: (P, 2) float, x and y.

    Returns:
        (Q, 2) float points with Q of 3 or more, and the (4,) float XYXY box; None where nothing is
        seen.
    """
    clipped = clip_polygon(points, width, height)
    if len(clipped) < 3:
        return None
    if clipped is points:
        return points, np.concatenate([points.min(axis=0), points.max(axis=0)])
    rles = mask_util.frPyObjects([clipped.ravel().tolist()], height, width)
    x, y, box_width, box_height = mask_util.toBbox(rles)[0]
    if not box_width * box_height:
        return None
    return clipped, np.array([x, y, x + box_width, y + box_height])


def _clip_side(points: np.ndarray, axis: int, bound: float, sign: int) -> np.ndarray:
    """Keeps what is above (sign 1) or below (sign -1) a bound of x (axis 0) or y (axis 1)."""
    inside = sign * (points[:, axis] - bound)
    following, inside_following = np.roll(points, -1, axis=0), np.roll(inside, -1)
    crosses = (inside >= 0) != (inside_following >= 0)
    share = inside / np.where(crosses, inside - inside_following, 1)
    crossing = points + share[:, None] * (following - points)
    crossing[:, axis] = bound  # without the last digit's rounding
    # Each point, if inside, is followed by the point where its edge crosses the line, if it does.
    both = np.stack([points, crossing], axis=1)  # (P, 2, 2)
    return both[np.stack([inside >= 0, crosses], axis=1)]


def _rasterise(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    if not polygons:
        return np.zeros((height, width), dtype=bool)
    parts = mask_util.frPyObjects(polygons, height, width)
    return decode_mask(mask_util.merge(parts), height, width)


def _segment(segmentation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(H, W) bool pixels of a segment of a panoptic PNG."""
    ids = read_segment_ids(segmentation["png"])
    check_size(ids.shape[:2], segmentation["png"], (height, width), "its annotation")
    return ids == segmentation["id"]


def _run_lengths(rle: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(R,) lengths of the runs of 0, 1, 0, ..., column by column; checked."""
    if rle.get("size") not in ([height, width], (height, width)):
        raise DatasetError(
            f"the RLE has the size {rle.get('size')}, its image is [{height}, {width}]"
            " (height, width)"
        )
    counts = rle.get("counts")
    lengths = (
        _decompress(counts.encode() if isinstance(counts, str) else counts)
        if isinstance(counts, (str, bytes))
        else _numbers(counts)
    )
    if lengths is None or (len(lengths) and lengths.dtype.kind not in "iu"):
        raise DatasetError(f"the RLE's counts are damaged: {str(counts)[:60]}")
    total = height * width
    if len(lengths) and (lengths.min() < 0 or lengths.max() > total):
        raise DatasetError("the RLE's counts hold a run that is negative or longer than the image")
    if int(lengths.sum()) != total:
        raise DatasetError(
            f"the RLE's counts sum to {int(lengths.sum())}, its image has {height} x {width} ="
            f" {total} pixels"
        )
    return lengths


def _decompress(text: bytes) -> np.ndarray | None:
    """Counts of COCO's compressed RLE, or None where the text is damaged.

    A number is a group of characters: 48 + five bits, lowest first, + 32 where another follows; the
    top bit of the last is its sign. From the fourth on, numbers are differences to the one before
    the last (cocoapi, common/maskApi.c, rleToString).
    """
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    last = (codes & 32) == 0
    if codes.min() < 0 or codes.max() > 63 or not last[-1]:
        return None
    ends = np.flatnonzero(last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    if sizes.max() > _MAX_CHARACTERS:
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, sizes))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends - 1] & 16, 1 << (5 * sizes), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _numbers(values: Any) -> np.ndarray | None:
    """A list of numbers as (N,) array, or None where it is not one."""
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    if array.size == 0 and isinstance(values, list):
        return np.zeros(0, dtype=np.int64)
    return array if array.ndim == 1 and array.dtype.kind in "iuf" else None
