"""Losses that judge each pixel by itself; see the package for the legend."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_value: int,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Weighted mean of -log p of the true class.

        loss = sum_i w[t_i] * -log softmax(logits_i)[t_i] / sum_i w[t_i],   i over taught pixels

    With label smoothing e (Szegedy et al. 2016, arXiv:1512.00567) the numerator is
    (1 - e) times that and e times the sum over i of the mean over k of w[k] * -log softmax_k.

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.
        class_weights: (K,) w, at least 0; None weighs all classes 1.
        label_smoothing: e in [0, 1], the share of the truth that is spread over all classes.

    Returns:
        A scalar, at least 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        weights = None if class_weights is None else class_weights.float()
        total = F.cross_entropy(
            logits.float(),
            targets,
            weight=weights,
            ignore_index=ignore_value,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        taught = targets[targets != ignore_value]
        norm = total.new_tensor(taught.numel()) if weights is None else weights[taught].sum()
        return total / torch.where(norm > 0, norm, 1.0)


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_value: int,
    alpha: float = 0.25,
    gamma: float = 2.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy that fades where the true class is found already.

        loss = sum_i w[t_i] * alpha * (1 - p_i)^gamma * -log p_i / sum_i w[t_i],
        p_i = softmax(logits_i)[t_i],   i over taught pixels

    Lin et al. 2017 (arXiv:1708.02002) weigh the object of two classes by alpha and the background
    by 1 - alpha. Of K classes none is "the object": alpha weighs all of them alike, so it only
    scales this loss against others, and the class weights w tell classes apart.

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.
        alpha: at least 0.
        gamma: at least 0; with 0 and alpha 1 it is the cross entropy.
        class_weights: (K,) w, at least 0; None weighs all classes 1.

    Returns:
        A scalar, at least 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        entropy = _entropy(logits, targets, ignore_value)
        # The floor keeps the power's gradient finite where p is 1.
        missing = (-torch.expm1(-entropy)).clamp(min=1e-6)
        weights = _pixel_weights(targets, ignore_value, class_weights)
        total = (weights * alpha * missing**gamma * entropy).sum()
        norm = weights.sum()
        return total / torch.where(norm > 0, norm, 1.0)


def ohem_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_value: int,
    threshold: float = 0.7,
    min_share: float = 0.1,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy of the hard pixels alone (Shrivastava et al. 2016, arXiv:1604.03540).

    A taught pixel is hard where p of its true class is below the threshold, or where it is among
    the hardest `min_share` of the batch. The loss is the weighted mean of `cross_entropy` over
    these. With threshold 0 it is the bootstrapped form (Wu et al. 2016, arXiv:1605.06885).

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.
        threshold: of p, in [0, 1].
        min_share: of the taught pixels, in [0, 1]; at least one pixel.
        class_weights: (K,), at least 0; None weighs all classes 1.

    Returns:
        A scalar, at least 0.
    """
    with torch.autocast(logits.device.type, enabled=False):
        entropy = _entropy(logits, targets, ignore_value)
        taught = targets != ignore_value
        sizes = entropy.detach()[taught]  # (P,) of the taught pixels
        if not len(sizes):
            return entropy.sum()
        least = max(1, math.ceil(min_share * len(sizes)))
        smallest = sizes.kthvalue(len(sizes) - least + 1).values
        bound = math.inf if threshold == 0 else -math.log(threshold)
        hard = taught & ((entropy > bound) | (entropy >= smallest))
        weights = _pixel_weights(targets, ignore_value, class_weights) * hard
        norm = weights.sum()
        return (weights * entropy).sum() / torch.where(norm > 0, norm, 1.0)


def _entropy(logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
    """(N, H, W) -log p of the true class; 0 where pixels are ignored."""
    return F.cross_entropy(logits.float(), targets, ignore_index=ignore_value, reduction="none")


def _pixel_weights(targets: Tensor, ignore_value: int, class_weights: Tensor | None) -> Tensor:
    """(N, H, W) weight of each pixel's class; 0 where pixels are ignored."""
    taught = targets != ignore_value
    if class_weights is None:
        return taught.float()
    return class_weights.float()[targets.where(taught, 0)] * taught
