"""Mask Scoring R-CNN: how good a mask is goes into its score.

Legend: R RoIs of all images, C channels, P x P pooled cells, M x M cells of a mask, M = 2P, K
classes (1 where masks are class-agnostic).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference
from detectron2.structures import BitMasks, Instances
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import ConvBlock
from project.layers.mask_losses import mask_ious
from project.modeling.mask_heads import ConvMaskHead, joined, mask_losses, mask_targets, of_class


class MaskIoUHead(nn.Module):
    """Predicts the IoU of a mask with its object, from the pooled features and the mask."""

    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        num_conv: int = 4,
        conv_dim: int = 256,
        num_fc: int = 2,
        fc_dim: int = 1024,
    ):
        """Builds convolutions, the last of stride 2, and fully connected layers.

        Args:
            input_shape: channels and side of the pooled features.
            num_classes: K.
            num_conv: convolutions, at least 1.
            conv_dim: their channels.
            num_fc: fully connected layers before the last.
            fc_dim: their width.

        Raises:
            ConfigError: no convolution.
        """
        super().__init__()
        if num_conv < 1 or num_fc < 0:
            raise ConfigError(
                "MODEL.ROI_MASK_HEAD.MASK_IOU: expected NUM_CONV of at least 1 and NUM_FC of at"
                f" least 0, found {num_conv} and {num_fc}"
            )
        inputs = [input_shape.channels + 1, *[conv_dim] * (num_conv - 1)]
        strides = [*[1] * (num_conv - 1), 2]
        self.convs = nn.Sequential(
            *(ConvBlock(i, conv_dim, stride=s, norm="") for i, s in zip(inputs, strides))
        )
        assert input_shape.height is not None
        widths = [conv_dim * ((input_shape.height + 1) // 2) ** 2, *[fc_dim] * num_fc]
        self.fcs = nn.ModuleList(nn.Linear(i, fc_dim) for i in widths[:-1])
        self.predictor = nn.Linear(widths[-1], num_classes)
        nn.init.normal_(self.predictor.weight, std=0.01)
        nn.init.constant_(self.predictor.bias, 0.5)  # about the mean of what it is to predict

    def forward(self, x: Tensor, probs: Tensor) -> Tensor:
        """Judges masks.

        Args:
            x: (R, C, P, P) pooled features.
            probs: (R, M, M) of the mask.

        Returns:
            (R, K) IoUs, of each class that the object may be of.
        """
        mask = F.max_pool2d(probs[:, None].to(x.dtype), 2)  # (R, 1, P, P)
        x = self.convs(torch.cat([x, mask], dim=1)).flatten(1)
        for fc in self.fcs:
            x = F.relu(fc(x))
        return self.predictor(x)


@ROI_MASK_HEAD_REGISTRY.register()
class MaskScoringHead(ConvMaskHead):
    """The convolutional mask head with a `MaskIoUHead` (Huang et al. 2019, arXiv:1903.00241).

    In prediction `scores` is the score of the class times the predicted IoU of the mask, and
    `class_scores` and `mask_ious` are the two; detections stay sorted by `scores`. Thresholds and
    suppression before the mask head go by the score of the class. The average precision of boxes
    is ranked by `scores` too, where the paper ranks boxes by their class scores.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        iou_head: MaskIoUHead,
        iou_loss_weight: float = 1.0,
        **kwargs: Any,
    ):
        """Takes what `ConvMaskHead` takes.

        Args:
            input_shape: of the pooled features.
            iou_head: predicts the IoU of masks.
            iou_loss_weight: factor of its loss.
            **kwargs: see `ConvMaskHead`.
        """
        super().__init__(input_shape, **kwargs)
        self.iou_head = iou_head
        self.iou_loss_weight = iou_loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        given = super().from_config(cfg, input_shape)
        iou = cfg.MODEL.ROI_MASK_HEAD.MASK_IOU
        head = MaskIoUHead(
            input_shape,
            num_classes=given["num_classes"],
            num_conv=iou.NUM_CONV,
            conv_dim=iou.CONV_DIM,
            num_fc=iou.NUM_FC,
            fc_dim=iou.FC_DIM,
        )
        return {**given, "iou_head": head, "iou_loss_weight": iou.LOSS_WEIGHT}

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """Predicts masks and their IoUs; see `ConvMaskHead.forward`."""
        logits = self.layers(x)
        if not self.training:
            return self._predict(x, logits, instances)
        classes = joined(instances, "gt_classes")
        own = of_class(logits, classes)
        targets = mask_targets(instances, own.shape[-1])
        # Detached: the IoU is to describe the mask, not the mask to suit the IoU.
        ious = of_class(self.iou_head(x, own.detach().sigmoid()), classes).float()
        full = full_areas(instances, own.shape[-1]).to(own.device)
        truth = mask_ious(own.detach() > 0, targets > 0.5, full)
        loss = (ious - truth).square().sum() / max(len(truth), 1)
        losses = mask_losses(own, targets, self.loss_names)
        return {**losses, "loss_mask_iou": loss * self.iou_loss_weight}

    def _predict(self, x: Tensor, logits: Tensor, instances: list[Instances]) -> list[Instances]:
        classes = joined(instances, "pred_classes")
        own = of_class(logits, classes)
        ious = of_class(self.iou_head(x, own.sigmoid()), classes).float().clamp(0, 1)
        mask_rcnn_inference(logits, instances)
        scored = []
        for found, own_ious in zip(instances, ious.split([len(x) for x in instances])):
            found.class_scores = found.scores.float()
            found.mask_ious = own_ious
            found.scores = found.class_scores * own_ious
            scored.append(found[found.scores.argsort(descending=True, stable=True)])
        return scored


def full_areas(instances: Sequence[Instances], side: int) -> Tensor:
    """Cells of each RoI's whole object, on the grid of side x side cells in its box: (R,)."""
    areas = [instances[0].proposal_boxes.tensor.new_zeros(0)]
    for x in instances:
        if not len(x):  # without objects there is no truth at all
            continue
        masks = x.gt_masks
        pixels = masks.tensor.flatten(1).sum(dim=1) if isinstance(masks, BitMasks) else masks.area()
        box = x.proposal_boxes.area()
        areas.append(pixels.to(box) * side**2 / box.clamp(min=1))
    return torch.cat(areas)
