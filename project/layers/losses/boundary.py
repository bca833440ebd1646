"""The boundary loss; see the package for the legend."""

import cv2
import numpy as np
import torch
from torch import Tensor


def boundary_loss(logits: Tensor, targets: Tensor, *, ignore_value: int) -> Tensor:
    """Mean signed distance of the predicted pixels of a class to its true outline.

        loss = mean_i sum_k p_ik * phi_k(i),   p = softmax(logits),   i over taught pixels

    Kervadec et al. 2019 (arXiv:1812.07032), for all classes of an image instead of one object.
    Far from an outline it pulls harder than near it, which region losses do not; alone it has a
    poor start, so add it with a small weight (0.01 in the paper) to a region loss. The distances
    are computed on the CPU, by OpenCV, from the targets of each step.

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.

    Returns:
        A scalar in pixels of distance, below 0 where the classes are found.
    """
    with torch.autocast(logits.device.type, enabled=False):
        probs = logits.float().softmax(dim=1)
        maps = np.stack(
            [
                signed_distances(image, logits.shape[1], ignore_value)
                for image in targets.cpu().numpy()
            ]
        )
        distances = torch.from_numpy(maps).to(probs.device, non_blocking=True)
        taught = (targets != ignore_value).sum()
        return (probs * distances).sum() / taught.clamp(min=1)


def signed_distances(target: np.ndarray, num_classes: int, ignore_value: int) -> np.ndarray:
    """Distance maps phi, in the convention of the authors' own code.

    Outside of a class phi is the distance to its nearest pixel, inside it is 1 less than the
    distance to the nearest taught pixel of another class, and negative. Ignored pixels belong to
    no class and have phi 0. So have all pixels of a class that an image lacks or that fills it:
    there is no outline.

    Args:
        target: (H, W) class ids with `ignore_value` holes.
        num_classes: K.
        ignore_value: marks pixels that are left out.

    Returns:
        (K, H, W) float32, in pixels.
    """
    distances = np.zeros((num_classes, *target.shape), dtype=np.float32)
    taught = target != ignore_value
    classes = np.unique(target[taught])
    if len(classes) < 2:
        return distances
    for k in classes:
        inside = target == k
        outward = _to_nearest_zero(~inside)
        inward = _to_nearest_zero(inside | ~taught)
        distances[k] = np.where(inside, 1 - inward, outward) * taught
    return distances


def _to_nearest_zero(mask: np.ndarray) -> np.ndarray:
    """(H, W) exact Euclidean distance of each pixel to the nearest one that is False."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
