"""Detectron2's region proposal network for all images at once, for GPUs.

Detectron2 goes image by image, and waits for the GPU several times in each: with 16 images the GPU
idles for half of the training step. Here the truth is padded to one shape, samples are places with
a mark of which are real, and the host waits twice.

Legend: N images, L levels, A anchors of all levels, G objects, S samples.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from fvcore.nn import smooth_l1_loss
from torch import Tensor

from project.layers.boxes import box_deltas, pad_boxes, upload
from project.layers.nms import greedy_keep
from project.modeling.matching import match_all, sample

# Boxes of a level before suppression, above which that is Detectron2's, image by image: the
# overlaps of all pairs would take too much memory.
_LONGEST = 4096


@dataclass(frozen=True)
class Samples:
    """Anchors that an image's losses are of, as places among all.

    Attributes:
        positive: (N, S) places of anchors that hit an object.
        is_positive: (N, S) bool, which of these are real.
        truth: (N, S, 4) the boxes that they hit; the anchors themselves where none is real.
        negative: (N, T) places of anchors on background.
        is_negative: (N, T) bool.
    """

    positive: Tensor
    is_positive: Tensor
    truth: Tensor
    negative: Tensor
    is_negative: Tensor


class QuickRPN(RPN):
    """Trains and proposes as `RPN` does, with other random samples; predicts as it does."""

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[Samples, None]:
        """Chooses what the losses are of.

        Args:
            anchors: of each level.
            gt_instances: of each image, with `gt_boxes`.
        """
        every = torch.cat([level.tensor for level in anchors])  # (A, 4)
        truth = [x.gt_boxes.tensor for x in gt_instances]
        matches, labels = match_all(truth, every, self.anchor_matcher)
        positive, is_positive, negative, is_negative = sample(
            labels, self.batch_size_per_image, self.positive_fraction
        )
        hit = matches.gather(1, positive)[..., None].expand(-1, -1, 4)
        boxes = pad_boxes(truth)[0].gather(1, hit)
        boxes = torch.where(is_positive[..., None], boxes, every[positive])
        return Samples(positive, is_positive, boxes, negative, is_negative), None

    def losses(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        gt_labels: Samples,
        pred_anchor_deltas: list[Tensor],
        gt_boxes: None,
    ) -> dict[str, Tensor]:
        """Detectron2's two losses, of the samples.

        Args:
            anchors: of each level.
            pred_objectness_logits: (N, anchors) of each level.
            gt_labels: what `label_and_sample_anchors` chose.
            pred_anchor_deltas: (N, anchors, 4) of each level.
            gt_boxes: not needed.
        """
        s = gt_labels
        every = torch.cat([level.tensor for level in anchors])
        logits = torch.cat(pred_objectness_logits, dim=1).float()
        places, weights = torch.cat([s.positive, s.negative], 1), [s.is_positive, s.is_negative]
        targets = torch.zeros(places.shape, device=places.device)
        targets[:, : s.positive.shape[1]] = 1
        objectness = F.binary_cross_entropy_with_logits(
            logits.gather(1, places), targets, torch.cat(weights, 1).float(), reduction="sum"
        )
        deltas = torch.cat(pred_anchor_deltas, dim=1)
        deltas = deltas.gather(1, s.positive[..., None].expand(-1, -1, 4)).float()
        transform = cast(Box2BoxTransform, self.box2box_transform)
        wanted = box_deltas(every[s.positive], s.truth, transform.weights)
        distances = smooth_l1_loss(deltas, wanted, beta=self.smooth_l1_beta, reduction="none")
        # Not times 0: the network may say anything where nothing is real.
        location = torch.where(s.is_positive[..., None], distances, 0.0).sum()
        storage = get_event_storage()
        storage.put_scalar("rpn/num_pos_anchors", s.is_positive.sum() / len(logits))
        storage.put_scalar("rpn/num_neg_anchors", s.is_negative.sum() / len(logits))
        normalizer = self.batch_size_per_image * len(logits)
        losses = {"loss_rpn_cls": objectness, "loss_rpn_loc": location}
        weight = cast(dict[str, float], self.loss_weight)
        return {k: v * (weight.get(k, 1.0) / normalizer) for k, v in losses.items()}

    @torch.no_grad()
    def predict_proposals(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        image_sizes: list[tuple[int, int]],
    ) -> list[Instances]:
        """The best boxes of each image, the best first.

        Args:
            anchors: of each level.
            pred_objectness_logits: (N, anchors) of each level.
            pred_anchor_deltas: (N, anchors, 4) of each level.
            image_sizes: height and width of each image.

        Raises:
            FloatingPointError: in training, boxes or scores that are not finite.
        """
        most = self.pre_nms_topk[self.training]
        longest = min(most, max(logits.shape[1] for logits in pred_objectness_logits))
        if longest > _LONGEST:
            return super().predict_proposals(
                anchors, pred_objectness_logits, pred_anchor_deltas, image_sizes
            )
        levels = [
            _best(level.tensor, logits, deltas, longest)
            for level, logits, deltas in zip(anchors, pred_objectness_logits, pred_anchor_deltas)
        ]
        sources, deltas, scores, real = (torch.stack(values, dim=1) for values in zip(*levels))
        transform = cast(Box2BoxTransform, self.box2box_transform)
        boxes = transform.apply_deltas(deltas.flatten(0, 2), sources.flatten(0, 2))
        boxes = boxes.view(*scores.shape, 4)  # (N, L, K, 4)
        finite = boxes.isfinite().all(dim=-1) & scores.isfinite()
        broken = (real & ~finite).any()
        sizes = upload(image_sizes, boxes.dtype, boxes.device).flip(1).repeat(1, 2)  # (N, 4)
        boxes = boxes.clamp(min=0).minimum(sizes[:, None, None])  # (N, L, K, 4)
        sides = boxes[..., 2:] - boxes[..., :2]
        real &= finite & (sides > self.min_box_size).all(dim=-1)
        keep = greedy_keep(boxes.flatten(0, 1), real.flatten(0, 1), self.nms_thresh).view_as(real)
        scores = scores.masked_fill(~keep, -torch.inf).flatten(1)
        count = min(self.post_nms_topk[self.training], scores.shape[1])
        scores, places = scores.topk(count, dim=1)
        boxes = boxes.flatten(1, 2).gather(1, places[..., None].expand(-1, -1, 4))
        found = torch.cat([(scores > -torch.inf).sum(dim=1), broken[None]]).tolist()
        if found.pop() and self.training:
            raise FloatingPointError(
                "Predicted boxes or scores contain Inf/NaN. Training has diverged."
            )
        results = []
        for size, own_boxes, own_scores, length in zip(image_sizes, boxes, scores, found):
            fields: dict[str, Any] = {"proposal_boxes": Boxes(own_boxes[:length])}
            results.append(Instances(size, **fields, objectness_logits=own_scores[:length]))
        return results


def _best(
    anchors: Tensor, logits: Tensor, deltas: Tensor, length: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best of one level, padded to K = `length`.

    Returns:
        anchors: (N, K, 4).
        deltas: (N, K, 4).
        scores: (N, K), falling.
        real: (N, K) bool, which are not padding.
    """
    scores, places = logits.float().topk(min(length, logits.shape[1]), dim=1)
    chosen = deltas.gather(1, places[..., None].expand(-1, -1, 4))
    real = torch.ones_like(scores, dtype=torch.bool)
    rest = length - places.shape[1]
    sources, chosen = (F.pad(own, (0, 0, 0, rest)) for own in (anchors[places], chosen))
    return sources, chosen, F.pad(scores, (0, rest)), F.pad(real, (0, rest))


def quicken_rpn(module: torch.nn.Module) -> None:
    """Gives each RPN below `module` the way above, in place, if it is as Detectron2's papers'."""
    for child in module.modules():
        if type(child) is RPN and is_usual(child):
            child.__class__ = QuickRPN


def is_usual(rpn: RPN) -> bool:
    """Whether its boxes are upright, its loss is an L1, and anchors over the border count."""
    return (
        isinstance(rpn.box2box_transform, Box2BoxTransform)
        and rpn.box_reg_loss_type == "smooth_l1"
        and rpn.anchor_boundary_thresh < 0
    )
