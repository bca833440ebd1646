"""Boundary-preserving Mask R-CNN (Cheng et al. 2020, arXiv:2007.08921): masks and their edges.

Legend: R RoIs of all images, C channels, P x P pooled cells, M x M cells of a mask, M = 2P, K
classes (1 where masks are class-agnostic).
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference
from detectron2.structures import Instances
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import ConvBlock
from project.layers.mask_losses import boundary_targets, mask_bce, mask_dice
from project.modeling.mask_heads import check_losses, joined, mask_losses, mask_targets, of_class


@ROI_MASK_HEAD_REGISTRY.register()
class BoundaryMaskHead(nn.Module):
    """A mask branch and a boundary branch that feed each other.

    The mask branch looks at the level that fits the box, the boundary branch at the finest level
    with twice as many cells. Boundaries are learnt by cross entropy and Dice, and only masks are
    predicted with.
    """

    @configurable
    def __init__(
        self,
        *,
        in_features: Sequence[str],
        channels: int,
        mask_pooler: ROIPooler,
        boundary_pooler: ROIPooler,
        num_classes: int,
        conv_dim: int = 256,
        num_conv: int = 4,
        num_boundary_conv: int = 2,
        norm: str = "",
        losses: Sequence[str] = ("bce",),
        boundary_loss_weight: float = 1.0,
    ):
        """Builds the two branches and what joins them.

        Args:
            in_features: levels that RoIs are pooled from, finest first.
            channels: of every level.
            mask_pooler: RoIs of all levels -> (R, C, P, P).
            boundary_pooler: RoIs of the finest level -> (R, C, 2P, 2P).
            num_classes: K.
            conv_dim: channels of both branches.
            num_conv: convolutions of the mask branch.
            num_boundary_conv: of the boundary branch.
            norm: see `project.layers.blocks.build_norm`.
            losses: of the masks.
            boundary_loss_weight: factor of the losses of the boundaries.

        Raises:
            ConfigError: an unknown loss or norm, or a branch without convolutions.
        """
        super().__init__()
        check_losses(losses)
        if min(num_conv, num_boundary_conv) < 1:
            raise ConfigError(
                "BoundaryMaskHead: MODEL.ROI_MASK_HEAD.NUM_CONV and BOUNDARY.NUM_CONV must be at"
                f" least 1, found {num_conv} and {num_boundary_conv}"
            )
        self.in_features = list(in_features)
        self.mask_pooler = mask_pooler
        self.boundary_pooler = boundary_pooler
        self.loss_names = tuple(losses)
        self.boundary_loss_weight = boundary_loss_weight
        self.mask_convs = _convs(channels, conv_dim, num_conv, norm)
        self.to_half = ConvBlock(channels, conv_dim, stride=2, norm=norm)
        self.mask_to_boundary = ConvBlock(conv_dim, conv_dim, kernel_size=1, norm=norm)
        self.boundary_convs = _convs(conv_dim, conv_dim, num_boundary_conv, norm)
        self.boundary_to_mask = ConvBlock(conv_dim, conv_dim, kernel_size=1, norm=norm)
        self.fusion = ConvBlock(conv_dim, conv_dim, norm=norm)
        self.mask_up, self.mask_predictor = _predictor(conv_dim, num_classes)
        self.boundary_up, self.boundary_predictor = _predictor(conv_dim, num_classes)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.ROI_MASK_HEAD
        levels = sorted(input_shape, key=lambda name: input_shape[name].stride)
        scales = [1 / input_shape[name].stride for name in levels]
        # The mask head has no POOLER_TYPE: Detectron2 gives whole levels to heads without one.
        pooling = (head.POOLER_SAMPLING_RATIO, cfg.MODEL.ROI_BOX_HEAD.POOLER_TYPE)
        return {
            "in_features": levels,
            "channels": input_shape[levels[0]].channels,
            "mask_pooler": ROIPooler(head.POOLER_RESOLUTION, scales, *pooling),
            "boundary_pooler": ROIPooler(2 * head.POOLER_RESOLUTION, scales[:1], *pooling),
            "num_classes": 1 if head.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "conv_dim": head.CONV_DIM,
            "num_conv": head.NUM_CONV,
            "num_boundary_conv": head.BOUNDARY.NUM_CONV,
            "norm": head.NORM,
            "losses": head.LOSSES,
            "boundary_loss_weight": head.BOUNDARY.LOSS_WEIGHT,
        }

    def layers(self, mask: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of masks and of their boundaries.

        Args:
            mask: (R, C, P, P) pooled features.
            boundary: (R, C, 2P, 2P) pooled features.

        Returns:
            Both (R, K, M, M).
        """
        mask = self.mask_convs(mask)
        boundary = self.to_half(boundary) + self.mask_to_boundary(mask)  # (R, conv_dim, P, P)
        boundary = self.boundary_convs(boundary)
        mask = self.fusion(mask + self.boundary_to_mask(boundary))
        return (
            self.mask_predictor(F.relu(self.mask_up(mask))),
            self.boundary_predictor(F.relu(self.boundary_up(boundary))),
        )

    def forward(self, features: dict[str, Tensor], instances: list[Instances]) -> Any:
        """Pools and predicts.

        Args:
            features: the levels, by name.
            instances: those of the RoIs, by image; with truth in training.

        Returns:
            In training the losses by name, otherwise the instances with `pred_masks`.
        """
        boxes = [x.proposal_boxes if self.training else x.pred_boxes for x in instances]
        levels = [features[name] for name in self.in_features]
        pooled = self.mask_pooler(levels, boxes), self.boundary_pooler(levels[:1], boxes)
        masks, boundaries = self.layers(*pooled)
        if not self.training:
            mask_rcnn_inference(masks, instances)
            return instances
        classes = joined(instances, "gt_classes")
        own, own_boundaries = of_class(masks, classes), of_class(boundaries, classes)
        targets = mask_targets(instances, own.shape[-1])
        edges = boundary_targets(targets)
        edge_loss = mask_bce(own_boundaries, edges) + mask_dice(own_boundaries, edges)
        losses = mask_losses(own, targets, self.loss_names)
        return {**losses, "loss_mask_boundary": edge_loss * self.boundary_loss_weight}


def _convs(in_channels: int, channels: int, count: int, norm: str) -> nn.Sequential:
    inputs = [in_channels, *[channels] * (count - 1)]
    return nn.Sequential(*(ConvBlock(i, channels, norm=norm) for i in inputs))


def _predictor(channels: int, num_classes: int) -> tuple[nn.Module, nn.Module]:
    """Doubles the side, and yields a logit for each class."""
    up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
    nn.init.kaiming_normal_(up.weight, mode="fan_out", nonlinearity="relu")
    predictor = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(predictor.weight, std=0.001)
    for layer in (up, predictor):
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    return up, predictor
