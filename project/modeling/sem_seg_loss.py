"""The loss of semantic heads: cross entropy plus Dice."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import check_choice
from project.layers.losses import cross_entropy, dice_loss

CLASS_WEIGHTINGS = ("none", "inverse_frequency", "given")


class SemSegLoss(nn.Module):
    """Cross entropy with class weights, and soft Dice, each with its factor."""

    class_weights: Tensor | None

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        ignore_value: int = 255,
        ce_weight: float = 1.0,
        dice_weight: float = 1.0,
        class_weights: Sequence[float] | None = None,
    ):
        """Checks factors and weights.

        Args:
            num_classes: K.
            ignore_value: marks pixels of the targets that are left out.
            ce_weight: factor of the cross entropy; 0 leaves it out.
            dice_weight: factor of the Dice loss; 0 leaves it out.
            class_weights: K weights of the cross entropy; None weighs all classes 1; empty: they
                are still to be counted, and the model can only predict.

        Raises:
            ConfigError: negative factors or weights, nothing to learn, or another number of
                weights than of classes.
        """
        super().__init__()
        if min(ce_weight, dice_weight) < 0 or ce_weight == dice_weight == 0:
            raise ConfigError(
                f"the semantic loss needs factors of at least 0 and one above, found CE_WEIGHT"
                f" {ce_weight} and DICE_WEIGHT {dice_weight}"
            )
        if class_weights and (len(class_weights) != num_classes or min(class_weights) < 0):
            raise ConfigError(
                f"MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS must hold {num_classes} weights of at least 0,"
                f" one a class in the order of the classes; found {list(class_weights)}"
            )
        self.ignore_value = ignore_value
        self.ce_weight = ce_weight
        self.dice_weight = dice_weight
        self.is_uncounted = class_weights is not None and len(class_weights) == 0
        weights = torch.tensor(class_weights, dtype=torch.float32) if class_weights else None
        self.register_buffer("class_weights", weights, persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        check_choice("class weighting", head.CLASS_WEIGHTING, CLASS_WEIGHTINGS)
        if head.CLASS_WEIGHTING == "given" and not head.CLASS_WEIGHTS:
            raise ConfigError(
                "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING is 'given', but CLASS_WEIGHTS is empty: write"
                f" {head.NUM_CLASSES} weights in the order of the classes"
            )
        return {
            "num_classes": head.NUM_CLASSES,
            "ignore_value": head.IGNORE_VALUE,
            "ce_weight": head.CE_WEIGHT,
            "dice_weight": head.DICE_WEIGHT,
            "class_weights": None if head.CLASS_WEIGHTING == "none" else head.CLASS_WEIGHTS,
        }

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Judges a batch.

        Args:
            logits: (N, K, H, W).
            targets: (N, H, W) class ids, with `ignore_value` holes.

        Returns:
            "loss_sem_seg_ce" and "loss_sem_seg_dice", scalars, those with a factor.

        Raises:
            ConfigError: the class weights were never counted.
        """
        if self.is_uncounted:
            raise ConfigError(
                "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS is empty: train through tools/train_net.py,"
                " which counts them, or fill them with inverse_frequency_weights"
            )
        losses = {}
        if self.ce_weight:
            ce = cross_entropy(
                logits, targets, ignore_value=self.ignore_value, class_weights=self.class_weights
            )
            losses["loss_sem_seg_ce"] = ce * self.ce_weight
        if self.dice_weight:
            dice = dice_loss(logits, targets, ignore_value=self.ignore_value)
            losses["loss_sem_seg_dice"] = dice * self.dice_weight
        return losses


def inverse_frequency_weights(counts: Sequence[float]) -> list[float]:
    """Class weights that are inverse to how many pixels each class has.

        w_k = (1 / n_k) / mean over present classes of (1 / n)

    An absent class would weigh infinitely; it gets 1, the mean, so that a class that turns up
    only when the training goes on with more data is neither mute nor shouting.

    Args:
        counts: K numbers n of pixels, at least 0.

    Returns:
        K weights with mean 1.
    """
    inverse = [1 / float(n) if n > 0 else 0.0 for n in counts]
    present = sum(value > 0 for value in inverse)
    mean = sum(inverse) / max(present, 1)
    return [value / mean if value else 1.0 for value in inverse]
