"""Where objects are: against their images, and boxes against outlines."""

import numpy as np

from project.data.checks.object_table import ObjectTable

# Outlines are drawn to fractions of a pixel, masks end at whole ones, some tools count the last
# pixel and some do not: each is up to one pixel on either side. Those of a large object that was
# drawn on a smaller copy of its photo are farther away in proportion.
_BOX_PIXELS, _BOX_SHARE = 2.0, 0.02
# Tools let the mouse leave the image by some pixels. It is far where a tenth of the object, or a
# twentieth of the image, is lost.
_HANG_PIXELS, _HANG_OBJECT, _HANG_IMAGE = 4.0, 0.1, 0.05
# A whole image in shares of its sides is 1; tools overshoot.
_SHARES, _SMALLEST_SIDE = 1.5, 16


def misplaced(table: ObjectTable) -> dict[str, np.ndarray]:
    """Rule -> (N,) bool, which objects break it; each is told by what explains the others.

    Returns:
        The rules polygon_normalised, polygon_outside, box_outside, box_xyxy, box_not_mask and
        polygon_overhang.
    """
    known = ~np.isnan(table.bounds[:, 0])
    shares = known & _is_in_shares(table)
    lost = known & ~shares & _is_outside(table.bounds, table.sizes)
    fits = _is_near(table.boxes, table.bounds) | _is_near(table.boxes, _clip(table))
    corners = ~fits & _is_corners(table, known)
    box_lost = ~fits & ~corners & _is_outside(table.boxes, table.sizes)
    places = np.where(known[:, None], table.bounds, table.boxes)
    return {
        "polygon_normalised": shares,
        "polygon_outside": lost,
        "box_xyxy": corners & ~shares & ~lost,
        "box_outside": box_lost & ~shares & ~lost,
        "box_not_mask": known & ~fits & ~corners & ~box_lost & ~shares & ~lost,
        "polygon_overhang": _is_far_out(places, table.sizes) & ~lost & ~box_lost & ~corners,
    }


def _is_in_shares(table: ObjectTable) -> np.ndarray:
    """(N,) bool, whether the polygons are in shares of the image's sides.

    An object of a pixel in the first corner looks the same but for whole coordinates, or a box
    that agrees with it.
    """
    inside = np.all((table.bounds >= 0) & (table.bounds <= _SHARES), axis=1)
    odd = table.fractional | ~_is_near(table.boxes, table.bounds)
    return inside & odd & np.all(table.sizes >= _SMALLEST_SIDE, axis=1)


def _is_outside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) bool, whether nothing of a box is within [0, W] x [0, H]."""
    return np.any((boxes[:, 2:] <= 0) | (boxes[:, :2] >= sizes), axis=1)


def _is_far_out(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) bool, whether a box reaches far beyond its image."""
    beyond = np.maximum(-boxes[:, :2], boxes[:, 2:] - sizes)
    extents = boxes[:, 2:] - boxes[:, :2]
    limits = np.minimum(_HANG_OBJECT * extents, _HANG_IMAGE * sizes)
    return np.any(beyond > np.maximum(_HANG_PIXELS, limits), axis=1)


def _clip(table: ObjectTable) -> np.ndarray:
    """(N, 4) the bounds within the images, as tools write the boxes of overhanging outlines."""
    return np.clip(table.bounds, 0, np.tile(table.sizes, 2))


def _is_near(boxes: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(N,) bool, whether a box is that of a mask; False where the mask is not known."""
    sides = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    tolerance = np.maximum(_BOX_PIXELS, _BOX_SHARE * sides)
    return np.abs(boxes - bounds).max(axis=1) <= tolerance


def _is_corners(table: ObjectTable, known: np.ndarray) -> np.ndarray:
    """(N,) bool, whether the four numbers of a box make sense as two corners only."""
    stated = table.boxes.copy()
    stated[:, 2:] -= stated[:, :2]
    ordered = (stated[:, 2:] > stated[:, :2]).all(axis=1)
    # Without a mask: two corners within the image that, as corner and size, are far outside.
    within = (stated[:, 2:] <= table.sizes).all(axis=1) & _is_far_out(table.boxes, table.sizes)
    return ordered & np.where(known, _is_near(stated, table.bounds), within)
