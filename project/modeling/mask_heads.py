"""Mask heads with losses by choice, and what all mask heads of ours share.

Legend: R RoIs of all images, C channels, P x P pooled cells, M x M cells of a mask, K classes (1
where masks are class-agnostic).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead, mask_rcnn_inference
from detectron2.structures import Instances
from torch import Tensor

from project.errors import ConfigError
from project.layers.blocks import check_choice
from project.layers.mask_losses import mask_bce, mask_dice
from project.modeling.polygon_views import joint_crops

LOSSES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "bce": ("loss_mask", mask_bce),
    "dice": ("loss_mask_dice", mask_dice),
}


def check_losses(names: Sequence[str]) -> None:
    """Passes for names of mask losses, each once.

    Raises:
        ConfigError: none, an unknown one, or one twice.
    """
    for name in names:
        check_choice("MODEL.ROI_MASK_HEAD.LOSSES", name, LOSSES)
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"MODEL.ROI_MASK_HEAD.LOSSES: expected {' or '.join(LOSSES)} or both, found"
            f" {list(names)}"
        )


def mask_losses(logits: Tensor, targets: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """The losses of those names.

    Args:
        logits: (R, M, M), of the true class of each RoI.
        targets: (R, M, M).
        names: of `LOSSES`.
    """
    chosen = (LOSSES[name] for name in names)
    return {key: loss(logits, targets) for key, loss in chosen}


def mask_targets(instances: Sequence[Instances], side: int) -> Tensor:
    """What of each RoI's object lies in its box, as (R, side, side) of 0 and 1."""
    joint = joint_crops(instances, side)
    if joint is not None:
        return joint.float()
    parts = [
        x.gt_masks.crop_and_resize(x.proposal_boxes.tensor, side).to(x.proposal_boxes.device)
        for x in instances
        if len(x)
    ]
    if not parts:
        return torch.zeros(0, side, side, device=instances[0].proposal_boxes.device)
    return torch.cat(parts).float()


def of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """(R, K, ...) -> (R, ...): of each RoI's class, or the only one there is."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(len(logits), device=logits.device), classes]


def joined(instances: Sequence[Instances], field: str) -> Tensor:
    """A field of all images, as one tensor."""
    return torch.cat([x.get(field) for x in instances])


@ROI_MASK_HEAD_REGISTRY.register()
class ConvMaskHead(MaskRCNNConvUpsampleHead):
    """Detectron2's convolutional mask head, with cross entropy, Dice or both as its loss."""

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, losses: Sequence[str] = ("bce",), **kwargs: Any):
        """Takes what Detectron2's head takes.

        Args:
            input_shape: of the pooled features.
            losses: of `LOSSES`.
            **kwargs: see `MaskRCNNConvUpsampleHead`.

        Raises:
            ConfigError: an unknown loss.
        """
        super().__init__(input_shape, **kwargs)
        check_losses(losses)
        self.loss_names = tuple(losses)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        given = super().from_config(cfg, input_shape)
        return {**given, "losses": cfg.MODEL.ROI_MASK_HEAD.LOSSES}

    def layers(self, x: Tensor) -> Tensor:
        """(R, C, P, P) pooled features -> (R, K, M, M) logits, M = 2P."""
        for layer in self.conv_norm_relus:
            x = layer(x)
        return self.predictor(self.deconv_relu(self.deconv(x)))

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Predicts masks.

        Args:
            x: (R, C, P, P) pooled features.
            instances: those of the RoIs, by image; with truth in training.

        Returns:
            In training the losses by name, otherwise the instances with `pred_masks`.
        """
        logits = self.layers(x)
        if not self.training:
            mask_rcnn_inference(logits, instances)
            return instances
        own = of_class(logits, joined(instances, "gt_classes"))
        return mask_losses(own, mask_targets(instances, own.shape[-1]), self.loss_names)
