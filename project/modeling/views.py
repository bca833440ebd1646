"""Test-time augmentation around any model: several views of an image, one output.

Semantic probabilities are averaged over the views. Instances of different views are taken for one
object where Detectron2's `GeneralizedRCNNWithTTA` would suppress one of them: same class, boxes of
enough overlap. The object's score is the mean over all views (0 where a view lacks it), its box the
mean by score (weighted boxes fusion, Solovyev et al. 2021, arXiv:1910.13302), its mask the mean
shape by score (Rohlfing and Maurer 2007, doi:10.1109/TIP.2006.884936), which is defined for two
masks too, where a vote is not. Panoptic segments are merged from the averages.

V views, K classes, N instances, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor, nn

from project.data.mask_crops import MaskCrop, MaskCrops
from project.data.transforms.geometry import ResizeShortestEdge
from project.errors import ConfigError
from project.modeling.panoptic import Merge

_SMALLEST = 1e-30  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    Attributes:
        size: the shorter side becomes this, pixels; 0: as it is.
        horizontal: flipped left to right.
        vertical: flipped top to bottom.
    """

    size: int = 0
    horizontal: bool = False
    vertical: bool = False

    @property
    def axes(self) -> tuple[int, ...]:
        """Of (..., H, W) tensors, those that are flipped."""
        return (-2,) * self.vertical + (-1,) * self.horizontal


def views_of(cfg: CfgNode) -> list[View]:
    """The views that TEST.AUG asks for; where it is there, the plain one is the first."""
    aug = cfg.TEST.AUG
    flips = product(
        (False, True) if aug.FLIP else (False,), (False, True) if aug.FLIP_VERTICAL else (False,)
    )
    return [View(size, *flip) for flip, size in product(flips, aug.MIN_SIZES)]


class AugmentedModel(nn.Module):
    """A model that looks at each image in several views."""

    def __init__(
        self,
        model: nn.Module,
        *,
        views: Sequence[View],
        merge: Merge,
        max_size: int = 4000,
        iou_threshold: float = 0.5,
        limit: int = 100,
    ) -> None:
        """Keeps what it is given.

        Args:
            model: any of Detectron2's kind.
            views: at least one.
            merge: (instances, semantic scores) of an image -> panoptic segments.
            max_size: longer side of a resized image, at most.
            iou_threshold: of two boxes from which on they are one object.
            limit: instances of an image, at most.
        """
        super().__init__()
        self.model = model
        self.views = list(views)
        self.merge = merge
        self.max_size = max_size
        self.iou_threshold = iou_threshold
        self.limit = limit

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The outputs of the images: "sem_seg" are logarithms of probabilities, masks `MaskCrops`.

        Args:
            batched_inputs: as in testing.
        """
        return [self._predict(x) for x in batched_inputs]

    def _predict(self, x: dict[str, Any]) -> dict[str, Any]:
        height, width = x["image"].shape[-2:]
        size = x.get("height", height), x.get("width", width)
        total: Tensor | None = None
        found: list[Instances] = []
        for view in self.views:
            image = self._resized(x["image"], view.size).flip(view.axes)
            output = self.model([{**x, "image": image, "height": size[0], "width": size[1]}])[0]
            if "sem_seg" in output:
                probabilities = output["sem_seg"].float().softmax(dim=0).flip(view.axes)
                total = probabilities if total is None else total.add_(probabilities)
            if "instances" in output:
                found.append(_unflipped(output["instances"].to("cpu"), view))
        result: dict[str, Any] = {}
        if found:
            result["instances"] = fuse_instances(found, self.iou_threshold, self.limit)
        if total is not None:
            result["sem_seg"] = (total / len(self.views)).clamp_(min=_SMALLEST).log_()
        if "panoptic_seg" in output:
            if not {"instances", "sem_seg"} <= result.keys():
                raise ConfigError(
                    "TEST.AUG: panoptic segments are merged from the averaged instances and"
                    f" semantics, but this model yields only {', '.join(result) or 'segments'};"
                    " set TEST.AUG.ENABLED False"
                )
            result["panoptic_seg"] = self.merge(result["instances"], result["sem_seg"])
        return result

    def _resized(self, image: Tensor, size: int) -> Tensor:
        if not size:
            return image
        pixels = np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0))
        resize = ResizeShortestEdge((size,), self.max_size, "choice").get_transform(pixels)
        resized = resize.apply_image(pixels).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(resized))


def fuse_instances(found: Sequence[Instances], iou_threshold: float, limit: int) -> Instances:
    """The objects that views of one image have in common.

    Args:
        found: of each view, on the CPU: `pred_boxes`, `scores`, `pred_classes` and optionally
            `pred_masks`.
        iou_threshold: see `AugmentedModel`.
        limit: likewise.

    Returns:
        The same fields, masks as `MaskCrops`, by falling score.
    """
    pooled = Instances.cat([_comparable(instances) for instances in found])
    views = torch.repeat_interleave(
        torch.arange(len(found)), torch.tensor([len(instances) for instances in found])
    )
    has_masks = all(instances.has("pred_masks") for instances in found)
    masks = [c for i in found for c in MaskCrops.of(i.pred_masks).crops] if has_masks else []
    groups = _groups(pooled, views, iou_threshold)
    scores = torch.tensor([float(pooled.scores[g].sum()) / len(found) for g in groups])
    kept = scores.argsort(descending=True, stable=True)[:limit].tolist()
    groups = [groups[i] for i in kept]
    result = Instances(found[0].image_size)
    boxes = [_mean(pooled.pred_boxes.tensor[g], pooled.scores[g]) for g in groups]
    result.pred_boxes = Boxes(torch.stack(boxes) if boxes else torch.zeros(0, 4))
    result.scores = scores[kept]
    result.pred_classes = torch.tensor([int(pooled.pred_classes[g[0]]) for g in groups]).long()
    if has_masks:
        shapes = [mean_shape([masks[i] for i in g], pooled.scores[g].numpy()) for g in groups]
        result.pred_masks = MaskCrops(shapes, found[0].image_size)
    return result


def mean_shape(masks: Sequence[MaskCrop], weights: np.ndarray) -> MaskCrop:
    """The pixels whose mean signed distance to the outlines of the masks says inside.

    Args:
        masks: at least one.
        weights: of each.
    """
    drawn = [(mask, weight) for mask, weight in zip(masks, weights) if mask.height]
    if len(drawn) < 2:
        return drawn[0][0] if drawn else masks[0]
    # One pixel more on each side, so that every window has an outside.
    top, left = (min(getattr(m, k) for m, _ in drawn) - 1 for k in ("top", "left"))
    bottom = max(m.top + m.height for m, _ in drawn) + 1
    right = max(m.left + m.width for m, _ in drawn) + 1
    total = np.zeros((bottom - top, right - left), dtype=np.float32)
    for mask, weight in drawn:
        inside = np.zeros(total.shape, dtype=np.uint8)
        rows, columns = mask.window
        inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
            mask.pixels
        )
        total += weight * (_distance(inside) - _distance(1 - inside))
    return MaskCrop.of(total > 0, top, left)


def _distance(inside: np.ndarray) -> np.ndarray:
    """Of each pixel of 1 to the nearest of 0."""
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _groups(pooled: Instances, views: Tensor, iou_threshold: float) -> list[list[int]]:
    """Numbers of the instances that are one object, best first; at most one of each view."""
    overlaps = pairwise_iou(pooled.pred_boxes, pooled.pred_boxes)
    overlaps[pooled.pred_classes[:, None] != pooled.pred_classes] = 0
    free = torch.ones(len(pooled), dtype=torch.bool)
    groups = []
    for seed in pooled.scores.argsort(descending=True, stable=True).tolist():
        if not free[seed]:
            continue
        group = [seed]
        for view in set(views.tolist()) - {int(views[seed])}:
            iou = torch.where(free & (views == view), overlaps[seed], 0.0)
            if iou.max() >= iou_threshold:
                group.append(int(iou.argmax()))
        free[group] = False
        groups.append(group)
    return groups


def _comparable(instances: Instances) -> Instances:
    kept = Instances(instances.image_size)
    kept.pred_boxes = instances.pred_boxes
    kept.scores = instances.scores.float()
    kept.pred_classes = instances.pred_classes
    return kept


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    weights = weights.clamp(min=_SMALLEST)
    return (values * (weights / weights.sum())[:, None]).sum(dim=0)


def _unflipped(instances: Instances, view: View) -> Instances:
    """What was found in a flipped image, in the image; masks become crops."""
    height, width = instances.image_size
    result = _comparable(instances)
    x0, y0, x1, y1 = instances.pred_boxes.tensor.unbind(dim=1)
    if view.horizontal:
        x0, x1 = width - x1, width - x0
    if view.vertical:
        y0, y1 = height - y1, height - y0
    result.pred_boxes = Boxes(torch.stack([x0, y0, x1, y1], dim=1))
    if instances.has("pred_masks"):
        dense = instances.pred_masks
        result.pred_masks = MaskCrops.of(dense.flip(view.axes) if view.axes else dense)
    return result
