"""Masks as one closed outline each, with nothing lost: for formats that hold a single polygon.

Outlines run along the edges of pixels, in continuous coordinates: the pixel (x, y) covers
[x, x + 1] x [y, y + 1]. Rasterised by pycocotools they give back exactly the pixels.
"""

import cv2
import numpy as np

_MAX_STARTS = 1000  # corners that are looked at for seams; noise has far more


def trace(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The outline of a mask.

    Further parts, and holes, are joined to the first part by seams: two edges back and forth along
    one line, which enclose nothing.

    Args:
        mask: (H, W) bool with at least one pixel.

    Returns:
        The outline, (P, 2) float x and y, P of 4 or more; and the number of seams.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    crop = mask[y : y + height, x : x + width].view(np.uint8)
    # Contours pass through the middles of the outermost pixels. In an image of twice the size,
    # those are either the first or the second of a pair, which says on which side the edge is.
    doubled = cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    first, *others = (_corners((contour[:, 0] + 1) // 2) for contour in contours)
    return _join(first, others) + np.array([x, y], dtype=np.float64), len(others)


def _corners(points: np.ndarray) -> np.ndarray:
    """(Q, 2) points of a ring without those that repeat, or lie on a straight edge."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _join(first: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Closed rings as one: each of the others by a seam to the corner of the first nearest to it.

    Args:
        first: (P, 2) corners.
        others: (R, 2) corners each.
    """
    starts = np.unique(np.linspace(0, len(first) - 1, _MAX_STARTS, dtype=int))
    detours: dict[int, list[np.ndarray]] = {}
    for ring in others:
        distances = ((first[starts, None] - ring[None]) ** 2).sum(axis=2)  # (S, R)
        start, entry = np.unravel_index(distances.argmin(), distances.shape)
        ring = np.roll(ring, -entry, axis=0)
        back = first[starts[start]][None]
        detours.setdefault(int(starts[start]), []).append(np.concatenate([ring, ring[:1], back]))
    pieces = []
    for index, corner in enumerate(first):
        pieces += [corner[None], *detours.get(index, ())]
    return np.concatenate(pieces)
