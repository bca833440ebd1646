"""The loss of semantic heads: a sum of those that a config lists."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import check_choice
from project.modeling.loss_list import DEFAULT, LOSSES, read_losses

CLASS_WEIGHTINGS = ("none", "inverse_frequency", "given")


class SemSegLoss(nn.Module):
    """The losses of MODEL.SEM_SEG_HEAD.LOSSES, each times its weight.

    Those that judge single pixels weigh these by their classes.
    """

    class_weights: Tensor | None

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        ignore_value: int = 255,
        losses: Sequence[Any] = DEFAULT,
        class_weights: Sequence[float] | None = None,
    ):
        """Reads the list and checks the weights.

        Args:
            num_classes: K.
            ignore_value: marks pixels of the targets that are left out.
            losses: entries {name: NAME, weight: FACTOR, ARGUMENT: VALUE, ...}, see
                `project.modeling.loss_list`.
            class_weights: K weights of the classes; None weighs all 1; empty: they are still to
                be counted, and the model can only predict.

        Raises:
            ConfigError: a list that cannot be used, negative class weights, or another number of
                these than of classes.
        """
        super().__init__()
        if class_weights and (len(class_weights) != num_classes or min(class_weights) < 0):
            raise ConfigError(
                f"MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS must hold {num_classes} weights of at least 0,"
                f" one a class in the order of the classes; found {list(class_weights)}"
            )
        self.ignore_value = ignore_value
        self.losses = read_losses(losses)
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
            "losses": head.LOSSES,
            "class_weights": None if head.CLASS_WEIGHTING == "none" else head.CLASS_WEIGHTS,
        }

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Judges a batch.

        Args:
            logits: (N, K, H, W).
            targets: (N, H, W) class ids, with `ignore_value` holes.

        Returns:
            "loss_sem_seg_ce", "loss_sem_seg_dice", ...: scalars, each times its weight.

        Raises:
            ConfigError: the class weights were never counted.
        """
        if self.is_uncounted:
            raise ConfigError(
                "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS is empty: train through tools/train_net.py,"
                " which counts them, or fill them with inverse_frequency_weights"
            )
        found = {}
        for entry in self.losses:
            kind = LOSSES[entry.name]
            arguments = dict(entry.arguments)
            weight = arguments.pop("weight")
            if kind.weighs_classes:
                arguments["class_weights"] = self.class_weights
            value = kind.function(logits, targets, ignore_value=self.ignore_value, **arguments)
            found[f"loss_sem_seg_{kind.log_name}"] = value * weight
        return found


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
