"""Losses of semantic segmentation, as plain functions of tensors.

Legend: N images, K classes, H x W pixels. Logits (N, K, H, W) of any floating type; targets
(N, H, W) with class ids 0..K-1, or `ignore_value` where a pixel teaches nothing. Everything is
computed in float32, inside autocast too. A batch in which every pixel is ignored gives exactly 0,
with a gradient of 0, where a plain mean would give NaN.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, targets: Tensor, *, ignore_value: int, class_weights: Tensor | None = None
) -> Tensor:
    """Weighted mean of -log p of the true class.

        loss = sum_i w[t_i] * -log softmax(logits_i)[t_i] / sum_i w[t_i],   i over taught pixels

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.
        class_weights: (K,) w, at least 0; None weighs all classes 1.

    Returns:
        A scalar, at least 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        weights = None if class_weights is None else class_weights.float()
        total = F.cross_entropy(
            logits.float(), targets, weight=weights, ignore_index=ignore_value, reduction="sum"
        )
        taught = targets[targets != ignore_value]
        norm = total.new_tensor(taught.numel()) if weights is None else weights[taught].sum()
        return total / torch.where(norm > 0, norm, 1.0)


def dice_loss(logits: Tensor, targets: Tensor, *, ignore_value: int, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice (Milletari et al. 2016, arXiv:1606.04797), mean over the classes in `targets`.

        dice_k = (2 * sum_i p_ik y_ik + s) / (sum_i p_ik + sum_i y_ik + s),   p = softmax(logits)

    Sums run over the taught pixels of the whole batch: a class that fills few pixels of one image
    is not judged on these alone. A class that no target holds has no overlap to gain and is left
    out; probability given to it is missing, and so punished, at the true class.

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.
        smooth: s in pixels; keeps tiny classes from jumping between 0 and 1.

    Returns:
        A scalar in [0, 1].
    """
    with torch.autocast(logits.device.type, enabled=False):
        taught = (targets != ignore_value).float()  # (N, H, W)
        safe = targets.where(taught > 0, 0)
        probs = logits.float().softmax(dim=1)
        own = probs.gather(1, safe[:, None])[:, 0] * taught  # (N, H, W) p of the true class
        # Adding by index spares a one-hot tensor (N, K, H, W) of the targets.
        zeros = own.new_zeros(logits.shape[1])
        overlap = zeros.index_add(0, safe.flatten(), own.flatten())  # (K,)
        true = zeros.index_add(0, safe.flatten(), taught.flatten())
        predicted = (probs * taught[:, None]).sum(dim=(0, 2, 3))
        dice = (2 * overlap + smooth) / (predicted + true + smooth)
        present = true > 0
        return torch.where(present, 1 - dice, 0).sum() / present.sum().clamp(min=1)
