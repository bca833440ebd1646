"""All that is counted of a true and a predicted label map, in one look at each pixel.

K classes, H x W pixels.
"""

import cv2
import numpy as np

from project.data.categories import IGNORE_LABEL
from project.evaluation.boundary import boundary_width, label_boundary
from project.evaluation.confusion import confusion_matrix, histogram

_PIXELS = 2**23  # at a time: OpenCV counts in float32, exact up to 2**24
_CODES = 2**16
_FLAGS = 4  # on the boundaries of neither, of truth, of prediction, of both


def label_counts(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the pixels of one image.

    Args:
        truth: (H, W) uint8 semantic ids; `IGNORE_LABEL` does not count.
        prediction: (H, W) uint8 semantic ids; `IGNORE_LABEL` is no class.
        num_classes: K, at most 255.

    Returns:
        The (K, K + 1) matrix of `confusion_matrix`, and (K, 2) int64: pixels in both boundaries of
        a class, and in either.
    """
    ignored = truth == IGNORE_LABEL
    width = boundary_width(*truth.shape)
    edges = [label_boundary(m, ignored, width, num_classes) for m in (truth, prediction)]
    if _FLAGS * (num_classes + 1) ** 2 > _CODES:
        return _one_by_one(truth, prediction, edges, num_classes)
    cells = _joint_histogram(truth, prediction, edges, num_classes)
    matrix = cells.sum(axis=(2, 3))[:num_classes]
    of_truth = cells[..., 1].sum(axis=(1, 2))
    of_prediction = cells[:, :, 1].sum(axis=(0, 2))
    both = np.diagonal(cells[..., 1, 1])
    boundary = np.stack([both, of_truth + of_prediction - both], axis=1)[:num_classes]
    return matrix, boundary


def _joint_histogram(
    truth: np.ndarray, prediction: np.ndarray, edges: list[np.ndarray], num_classes: int
) -> np.ndarray:
    """(K + 1, K + 1, 2, 2) int64: true and predicted class, on the prediction's edge, the truth's.

    One number of 16 bits a pixel has all four; to count it takes no longer than to count one.
    """
    side, last = num_classes + 1, np.uint8(num_classes)
    cells = np.zeros(_FLAGS * side**2, dtype=np.int64)
    step = max(1, _PIXELS // max(truth.shape[1], 1))
    for row in range(0, truth.shape[0], step):
        rows = slice(row, row + step)
        code = np.minimum(truth[rows], last).astype(np.uint16)
        code *= np.uint16(side)
        code += np.minimum(prediction[rows], last)
        for edge in reversed(edges):
            code <<= np.uint16(1)
            code += edge[rows]
        found = cv2.calcHist([code], [0], None, [len(cells)], [0, len(cells)])
        cells += found.ravel().astype(np.int64)
    return cells.reshape(side, side, 2, 2)


def _one_by_one(
    truth: np.ndarray, prediction: np.ndarray, edges: list[np.ndarray], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """`label_counts` of so many classes that 16 bits do not hold all that is known of a pixel."""
    true, found = edges
    both = histogram(truth, true & found & (truth == prediction))
    either = histogram(truth, true) + histogram(prediction, found) - both
    boundary = np.stack([both, either], axis=1)[:num_classes]
    return confusion_matrix(truth, prediction, num_classes), boundary
