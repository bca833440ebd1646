"""The training of Detectron2's box and mask heads for all images at once, for GPUs.

Detectron2 samples image by image and reads counts back for its statistics, each of which waits for
the GPU. Here the host waits once, to know how many regions of each image were drawn.

Legend: N images, R sampled regions of all images, K classes.
"""

from typing import Any

import torch
from detectron2.layers import cross_entropy
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from fvcore.nn import smooth_l1_loss
from torch import Tensor, nn

from project.layers.boxes import box_deltas, pad_boxes, upload
from project.modeling.boundary_mask_head import BoundaryMaskHead
from project.modeling.mask_heads import ConvMaskHead
from project.modeling.matching import match_all, sample
from project.modeling.polygon_views import share_polygons
from project.modeling.quick_mask_head import QuickMaskHead

# Mask heads whose targets are those of `mask_targets`.
_TAKE_VIEWS = (QuickMaskHead, ConvMaskHead, BoundaryMaskHead)


class Sampled(list[Instances]):
    """Regions by image, those of objects first.

    Attributes:
        positives: how many of each image are of objects.
    """

    positives: list[int]


class QuickROIHeads(StandardROIHeads):
    """Trains as `StandardROIHeads`, with other random samples; predicts as it does."""

    def forward(
        self,
        images: Any,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> Any:
        """See `StandardROIHeads`.

        Args:
            images: not used.
            features: by name.
            proposals: of each image.
            targets: the truth of each image, in training.
        """
        names = {*self.box_in_features, *(self.mask_in_features if self.mask_on else [])}
        # What torchvision's RoIAlign takes: both poolers share one copy, and its gradient.
        precise = {
            name: features[name].to(torch.float32, memory_format=torch.contiguous_format)
            for name in names
        }
        return super().forward(images, {**features, **precise}, proposals, targets)

    @torch.no_grad()
    def label_and_sample_proposals(
        self, proposals: list[Instances], targets: list[Instances]
    ) -> Sampled:
        """Chooses regions and gives them their truth.

        Args:
            proposals: of each image.
            targets: the truth of each image.

        Returns:
            Of each image, fields as Detectron2 has them, but `objectness_logits`.
        """
        if isinstance(self.mask_head if self.mask_on else None, _TAKE_VIEWS):
            targets = share_polygons(targets, proposals[0].proposal_boxes.device)
        own = [x.proposal_boxes.tensor for x in proposals]
        truth_boxes = [x.gt_boxes.tensor for x in targets]
        if self.proposal_append_gt:
            own = [torch.cat(pair) for pair in zip(own, truth_boxes)]
        boxes, is_box = pad_boxes(own)
        matches, labels = match_all(truth_boxes, boxes, self.proposal_matcher)
        # Without objects all is background, whatever the matcher calls an IoU of 0.
        without = upload([not len(truth) for truth in truth_boxes], torch.bool, boxes.device)
        labels.masked_fill_(without[:, None], 0).masked_fill_(~is_box, -1)
        positive, is_positive, negative, is_negative = sample(
            labels, self.batch_size_per_image, self.positive_fraction
        )
        counts = torch.stack([is_positive.sum(dim=1), is_negative.sum(dim=1)], dim=1).tolist()
        sampled = Sampled(
            self._give_truth(target, padded, match, places[:count], others[:other_count], count)
            for target, padded, match, places, others, (count, other_count) in zip(
                targets, boxes, matches, positive, negative, counts
            )
        )
        sampled.positives = [count for count, _ in counts]
        storage = get_event_storage()
        storage.put_scalar("roi_head/num_fg_samples", sum(c for c, _ in counts) / len(counts))
        storage.put_scalar("roi_head/num_bg_samples", sum(c for _, c in counts) / len(counts))
        return sampled

    def _give_truth(
        self,
        target: Instances,
        boxes: Tensor,
        matches: Tensor,
        positive: Tensor,
        negative: Tensor,
        count: int,
    ) -> Instances:
        """The regions of one image with all that the truth says of their objects."""
        places = torch.cat([positive, negative])
        sampled = Instances(target.image_size)
        sampled.proposal_boxes = Boxes(boxes[places])
        if not len(target):
            sampled.gt_classes = torch.full_like(places, self.num_classes)
            return sampled
        objects = matches[places]
        sampled.gt_classes = target.gt_classes[objects]
        sampled.gt_classes[count:] = self.num_classes
        for name, value in target.get_fields().items():
            if name.startswith("gt_") and not sampled.has(name):
                sampled.set(name, value[objects])
        return sampled

    def _forward_mask(self, features: dict[str, Tensor], instances: list[Instances]) -> Any:
        if self.training and self.mask_on and isinstance(instances, Sampled):
            instances = [x[:count] for x, count in zip(instances, instances.positives)]
            if self.mask_pooler is None:
                return self.mask_head({f: features[f] for f in self.mask_in_features}, instances)
            pooled = self.mask_pooler(
                [features[f] for f in self.mask_in_features], [x.proposal_boxes for x in instances]
            )
            return self.mask_head(pooled, instances)
        return super()._forward_mask(features, instances)


class QuickOutputLayers(FastRCNNOutputLayers):
    """`FastRCNNOutputLayers` whose losses and statistics stay on the device."""

    def losses(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor]:
        """Detectron2's two losses.

        Args:
            predictions: logits (R, K + 1), deltas (R, 4) or (R, K * 4).
            proposals: sampled regions of each image.
        """
        scores, deltas = predictions
        classes = torch.cat([p.gt_classes for p in proposals])
        boxes = torch.cat([p.proposal_boxes.tensor for p in proposals])
        truth = torch.cat(
            [(p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes).tensor for p in proposals]
        )
        put_class_statistics(scores, classes)
        losses = {
            "loss_cls": cross_entropy(scores, classes, reduction="mean"),
            "loss_box_reg": self.box_reg_loss(boxes, truth, deltas, classes),
        }
        return {k: v * self.loss_weight.get(k, 1.0) for k, v in losses.items()}

    def box_reg_loss(
        self, proposal_boxes: Tensor, gt_boxes: Tensor, pred_deltas: Tensor, gt_classes: Tensor
    ) -> Tensor:
        """L1 loss of the regions of objects, over the number of all regions.

        Args:
            proposal_boxes: (R, 4).
            gt_boxes: (R, 4).
            pred_deltas: (R, 4) or (R, K * 4).
            gt_classes: (R,) int64, K for background.
        """
        is_object = ((gt_classes >= 0) & (gt_classes < self.num_classes))[:, None]
        if pred_deltas.shape[1] != 4:
            own = gt_classes.clamp(0, self.num_classes - 1)[:, None, None].expand(-1, 1, 4)
            pred_deltas = pred_deltas.view(-1, self.num_classes, 4).gather(1, own)[:, 0]
        aims = torch.where(is_object, gt_boxes, proposal_boxes)
        wanted = box_deltas(proposal_boxes, aims, self.box2box_transform.weights)
        distances = smooth_l1_loss(
            pred_deltas.float(), wanted, beta=self.smooth_l1_beta, reduction="none"
        )
        return torch.where(is_object, distances, 0.0).sum() / max(len(gt_classes), 1)


def put_class_statistics(scores: Tensor, classes: Tensor) -> None:
    """Detectron2's shares of regions whose class was right, as tensors.

    Args:
        scores: (R, K + 1) logits.
        classes: (R,) int64, K for background.
    """
    if not len(classes):
        return
    background = scores.shape[1] - 1
    found = scores.argmax(dim=1)
    is_object = (classes >= 0) & (classes < background)
    right = found == classes
    objects = is_object.sum()
    storage = get_event_storage()
    storage.put_scalar("fast_rcnn/cls_accuracy", right.float().mean())
    missed = (found == background) & is_object
    for name, regions in (("fg_cls_accuracy", right & is_object), ("false_negative", missed)):
        storage.put_scalar(f"fast_rcnn/{name}", regions.sum() / objects)  # NaN without objects


def quicken_roi_heads(module: nn.Module) -> None:
    """Gives Detectron2's standard heads below `module` the ways above, in place."""
    for child in module.modules():
        if type(child) is StandardROIHeads:
            child.__class__ = QuickROIHeads
        if type(child) is FastRCNNOutputLayers and is_usual(child):
            child.__class__ = QuickOutputLayers


def is_usual(layers: FastRCNNOutputLayers) -> bool:
    """Whether the losses are cross entropy and L1 of upright boxes."""
    return (
        isinstance(layers.box2box_transform, Box2BoxTransform)
        and layers.box_reg_loss_type == "smooth_l1"
        and not layers.use_sigmoid_ce
    )
