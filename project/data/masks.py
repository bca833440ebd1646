"""Object masks: polygons and run-length encodings (RLE), in and out.

pycocotools reads memory that is not its own, or runs forever, on hostile numbers. Everything is
checked here before it gets there.
"""

from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from project.data.faults import Fault, short
from project.data.images import check_size
from project.data.panoptic_png import read_segment_ids
from project.data.run_lengths import run_lengths
from project.data.spec import DEFAULT_MAX_PIXELS

Segmentation = list[list[float]] | dict[str, Any]
Rle = dict[str, Any]

MAX_SIDE = 2**15  # pixels of an image's side; more is a mistake in an annotation file
_NUMBERS = {int, float}  # not bool, which is an int to Python


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
        counts = run_lengths(segmentation, height, width)
        columns = np.repeat((np.arange(len(counts)) & 1).astype(np.uint8), counts)
        # Three times as fast as copying a transposed view.
        return cv2.transpose(columns.reshape(width, height)).view(bool)
    check_polygons(segmentation, height, width)
    return _rasterise(segmentation, height, width)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) mask to a compressed RLE that can be written to JSON."""
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}


def measure_mask(mask: np.ndarray) -> tuple[list[float], float]:
    """The [x, y, width, height] box around the pixels of an (H, W) mask, and their number.

    A mask without a pixel has a box of zeros.
    """
    pixels = mask.astype(np.uint8, copy=False)
    return [float(side) for side in cv2.boundingRect(pixels)], float(np.count_nonzero(mask))


def compress(segmentation: Segmentation, height: int, width: int) -> Segmentation:
    """The same mask, as polygons or a compressed RLE; checks what it gets.

    Raises:
        DatasetError: see `check_segmentation`.
    """
    if not isinstance(segmentation, dict):
        check_polygons(segmentation, height, width)
        return segmentation
    # pycocotools gives boxes of four billion pixels where a run after the first is empty.
    if (
        isinstance(segmentation.get("counts"), (str, bytes))
        and run_lengths(segmentation, height, width)[1:].all()
    ):
        return segmentation
    return encode_mask(decode_mask(segmentation, height, width))


def to_rle(segmentation: Segmentation, height: int, width: int) -> Rle:
    """Polygons or any RLE to a compressed RLE whose counts are bytes.

    Raises:
        DatasetError: numbers that are no mask of this size, see `check_segmentation`.
    """
    packed = compress(segmentation, height, width)
    if not isinstance(packed, dict):
        return mask_util.merge(mask_util.frPyObjects(packed, height, width))
    counts = packed["counts"]
    return {**packed, "counts": counts.encode("ascii") if isinstance(counts, str) else counts}


def check_segmentation(segmentation: Segmentation, height: int, width: int) -> None:
    """Checks polygons or RLE; see `decode_mask` for the arguments.

    Raises:
        Fault: see `check_polygons` and `run_lengths`.
        DatasetError: a panoptic PNG that cannot be read or has another size.
    """
    if isinstance(segmentation, dict) and "png" in segmentation:
        _segment(segmentation, height, width)
    elif isinstance(segmentation, dict):
        run_lengths(segmentation, height, width)
    else:
        check_polygons(segmentation, height, width)


def check_polygons(polygons: Any, height: int, width: int) -> None:
    """Checks a list of polygons.

    Raises:
        Fault: it is not a list of lists of at least three points (segmentation_invalid), or a
            coordinate is not finite or nowhere near the image (polygon_hostile).
    """
    if not isinstance(polygons, list):
        raise Fault(
            "segmentation_invalid",
            f"its segmentation is {short(polygons)} ({type(polygons).__name__})",
            "polygons or run lengths",
            "export it again",
        )
    # Some overshoot is ordinary; pycocotools' memory grows with the length of the outline.
    limit = 10 * max(height, width)
    for polygon in polygons:
        points = polygon_numbers(polygon)
        if len(points) < 6:
            raise _no_polygon(polygon)
        if not np.abs(points).max() <= limit:  # also catches NaN
            raise Fault(
                "polygon_hostile",
                f"a polygon has the coordinate {points[~(np.abs(points) <= limit)][0]}, far"
                " outside of the image",
                f"0 to {width} across and 0 to {height} down",
                "outline the object again, or take it out",
            )


def polygon_numbers(polygon: Any) -> np.ndarray:
    """(2 P,) float x0, y0, x1, y1, ... of a polygon from a file.

    Raises:
        Fault: it is not a list of pairs of numbers (segmentation_invalid).
    """
    # A look at each type: numpy would take text, lists of lists and True for numbers as well.
    if not isinstance(polygon, list) or len(polygon) % 2 or not set(map(type, polygon)) <= _NUMBERS:
        raise _no_polygon(polygon)
    try:
        return np.array(polygon, dtype=np.float64)
    except OverflowError:  # a whole number of hundreds of digits
        return np.full(len(polygon), np.inf)


def _no_polygon(polygon: Any) -> Fault:
    return Fault(
        "segmentation_invalid",
        f"it has the polygon {short(polygon)}",
        "a list [x0, y0, x1, y1, ...] of at least three points",
        "outline the object again, or take it out",
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
    # A map is as large as its image, whose size has been checked.
    ids = read_segment_ids(segmentation["png"], max(DEFAULT_MAX_PIXELS, height * width))
    check_size(ids.shape[:2], segmentation["png"], (height, width), "its annotation")
    return ids == segmentation["id"]
