"""Rand scores of segments that a label map separates by lines, such as cells by membranes.

Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
connectomics", https://doi.org/10.3389/fnana.2015.00142 (the ISBI 2012 challenge). Segments are the
4-connected components of the foreground class: a diagonal line of one pixel separates. Only pixels
of the true foreground count, since how wide the lines are drawn says nothing.
"""

import cv2
import numpy as np

from project.data.categories import IGNORE_LABEL


def segments(semantic: np.ndarray, foreground: int) -> np.ndarray:
    """(H, W) uint8 semantic ids -> (H, W) int32 segment numbers from 1 on, 0 elsewhere."""
    of_class = (semantic == foreground).astype(np.uint8)
    return cv2.connectedComponents(of_class, connectivity=4, ltype=cv2.CV_32S)[1]


def rand_scores(truth: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """Compares the segments of one image.

    With n_ij pixels of true segment i and predicted segment j, and t_i and s_j their sums:
    VRand = 2 sum n_ij^2 / (sum t_i^2 + sum s_j^2), where each foreground pixel that the prediction
    gives to no segment is a segment of its own. ARE = 1 - F of precision and recall over pairs of
    different pixels, where those pixels are one segment, as
    `skimage.metrics.adapted_rand_error` has it.

    Args:
        truth: (H, W) segment numbers, 0 does not count.
        prediction: (H, W) segment numbers, 0 is no segment.

    Returns:
        VRand (higher is better) and ARE (lower is better), 0 to 100; NaN without foreground, ARE
        also where no segment has two pixels.
    """
    counted = truth > 0
    pixels = int(np.count_nonzero(counted))
    if not pixels:
        return float("nan"), float("nan")
    pairs = truth[counted].astype(np.int64) << 32 | prediction[counted].astype(np.int64)
    values, sizes = np.unique(pairs, return_counts=True)
    t, s = values >> 32, values & 0xFFFFFFFF
    inside = s > 0
    single = int(sizes[~inside].sum())

    def squares(sizes: np.ndarray) -> float:
        return float((sizes.astype(np.float64) ** 2).sum())

    of_truth = squares(np.bincount(t, weights=sizes))
    of_prediction = squares(np.bincount(s, weights=sizes))
    own = squares(np.bincount(s[inside], weights=sizes[inside])) + single
    both = squares(sizes[inside]) + single
    v_rand = 100 * 2 * both / (of_truth + own)
    different = of_truth + of_prediction - 2 * pixels
    error = 1 - 2 * (squares(sizes) - pixels) / different if different else float("nan")
    return v_rand, 100 * error


def image_rand_scores(
    truth: np.ndarray, prediction: np.ndarray, foreground: int
) -> tuple[float, float]:
    """`rand_scores` of two (H, W) uint8 label maps; true pixels of `IGNORE_LABEL` do not count."""
    assert foreground != IGNORE_LABEL
    return rand_scores(segments(truth, foreground), segments(prediction, foreground))
