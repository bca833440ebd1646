"""Losses and targets of instance masks, as plain functions of tensors.

Legend: R masks of M x M cells, each inside the box of its RoI. Logits (R, M, M) of any floating
type; targets (R, M, M) of 0 and 1. All is computed in float32, inside autocast too. Without masks
a loss is exactly 0, with a gradient of 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy, mean over all cells (He et al. 2017, arXiv:1703.06870).

    Args:
        logits: (R, M, M).
        targets: (R, M, M).

    Returns:
        A scalar, at least 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        if not len(logits):
            return logits.float().sum() * 0
        return F.binary_cross_entropy_with_logits(logits.float(), targets.float())


def mask_dice(logits: Tensor, targets: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice of each mask, mean over masks (Milletari et al. 2016, arXiv:1606.04797).

        dice_r = (2 * sum_i p_i y_i + s) / (sum_i p_i^2 + sum_i y_i^2 + s),   p = sigmoid(logits)

    A thin mask weighs as much as a full one, where the cross entropy counts cells.

    Args:
        logits: (R, M, M).
        targets: (R, M, M).
        smooth: s in cells; keeps empty targets from 0 / 0.

    Returns:
        A scalar in [0, 1].
    """
    with torch.autocast(logits.device.type, enabled=False):
        probs, truth = logits.float().sigmoid().flatten(1), targets.float().flatten(1)  # (R, M*M)
        overlap = (probs * truth).sum(dim=1)
        size = probs.square().sum(dim=1) + truth.square().sum(dim=1)
        dice = (2 * overlap + smooth) / (size + smooth)
        return (1 - dice).sum() / max(len(dice), 1)


def boundary_targets(targets: Tensor) -> Tensor:
    """Cells of a mask that touch a cell outside it, or the edge of the box.

    What is positive of the 8-neighbour Laplacian, as in Cheng et al. 2020 (arXiv:2007.08921).

    Args:
        targets: (R, M, M) of 0 and 1.

    Returns:
        (R, M, M) of 0 and 1.
    """
    mask = targets.float()
    around = 9 * F.avg_pool2d(mask[:, None], 3, stride=1, padding=1)[:, 0]  # 1 to 9 in the mask
    return mask * (around < 8.5)


def mask_ious(masks: Tensor, targets: Tensor, full_areas: Tensor) -> Tensor:
    """IoU of each predicted mask with the whole true object, in and outside the box.

    Args:
        masks: (R, M, M) bool, predicted.
        targets: (R, M, M) bool, the part of the object that lies in the box.
        full_areas: (R,) cells of the whole object, on the grid of its box.

    Returns:
        (R,) in [0, 1].
    """
    overlap = (masks & targets).flatten(1).sum(dim=1)
    # Rasterised at two sizes, the part may come out larger than the whole.
    full = torch.maximum(full_areas, targets.flatten(1).sum(dim=1))
    union = masks.flatten(1).sum(dim=1) + full - overlap
    return overlap / union.clamp(min=1)
