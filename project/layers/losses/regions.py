"""Losses that judge the overlap of whole classes; see the package for the legend."""

import torch
from torch import Tensor


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
    return tversky_loss(
        logits, targets, ignore_value=ignore_value, alpha=0.5, beta=0.5, smooth=smooth / 2
    )


def tversky_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_value: int,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
) -> Tensor:
    """1 - soft Tversky index (Salehi et al. 2017, arXiv:1706.05721), mean over classes as in Dice.

        T_k = (TP + s) / (TP + alpha * FP + beta * FN + s),   p = softmax(logits)
        TP = sum_i p_ik y_ik,   FP = sum_i p_ik (1 - y_ik),   FN = sum_i (1 - p_ik) y_ik

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.
        alpha: price of what is found and not there, at least 0.
        beta: price of what is there and not found, at least 0; above alpha it favours recall.
        smooth: s in pixels.

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
        wrong = alpha * (predicted - overlap) + beta * (true - overlap)
        index = (overlap + smooth) / (overlap + wrong + smooth)
        present = true > 0
        return torch.where(present, 1 - index, 0).sum() / present.sum().clamp(min=1)


def lovasz_softmax(logits: Tensor, targets: Tensor, *, ignore_value: int) -> Tensor:
    """Lovasz-Softmax (Berman et al. 2018, arXiv:1705.08790): a convex surrogate of 1 - mean IoU.

    For each class in `targets` the errors |y_ik - p_ik| of all taught pixels of the batch, largest
    first, are weighed by how much each further one would lower the IoU of the class if it were
    wrong; the loss is the mean over these classes.

    Args:
        logits: (N, K, H, W).
        targets: (N, H, W).
        ignore_value: marks pixels that are left out.

    Returns:
        A scalar in [0, 1].
    """
    with torch.autocast(logits.device.type, enabled=False):
        taught = targets != ignore_value
        probs = logits.float().softmax(dim=1).movedim(1, 0)[:, taught]  # (K, P)
        labels = targets[taught]  # (P,)
        # One class after another: all at once would sort K x P numbers, most of them in vain.
        losses = [_lovasz(probs[k], labels == k) for k in labels.unique().tolist()]
        return torch.stack(losses).mean() if losses else probs.sum()


def _lovasz(probs: Tensor, true: Tensor) -> Tensor:
    """Algorithm 1 of the paper for one class: (P,) probabilities and where they should be 1."""
    errors, order = (true.float() - probs).abs().sort(descending=True)
    true = true[order].float()
    count = true.sum()
    overlap = count - true.cumsum(0)
    union = count + (1 - true).cumsum(0)
    lost = 1 - overlap / union  # 1 - IoU if the pixels up to here were wrong
    return errors @ lost.diff(prepend=lost.new_zeros(1))
