"""Architectures that label every pixel and then gather pixels to objects.

Legend: N images, H x W pixels of the padded batch, K semantic classes [*stuff, *things] of which
the first S are stuff, E maps that say which pixels belong together.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, build_sem_seg_head
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor, nn

from project.errors import ConfigError
from project.modeling.batching import BatchingModel, Inputs, wanted_sizes
from project.modeling.class_counts import check_class_counts
from project.modeling.features import select_features
from project.modeling.object_maps import judge_objects, number_objects, to_instances
from project.modeling.panoptic import Merge, build_merge
from project.modeling.unet_head import UNetHead


class Grouping(Protocol):
    """How maps teach and tell which pixels belong together."""

    num_maps: int  # E

    def losses(self, maps: Tensor, numbers: Tensor, taught: Tensor) -> dict[str, Tensor]:
        """Judges (N, E, H, W) maps by the objects' numbers (N, H, W) where `taught` (N, H, W)."""
        ...

    def group(self, probs: Tensor, maps: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Gathers the pixels of one image.

        Args:
            probs: (K, H, W) probabilities of the semantic classes.
            maps: (E, H, W), enlarged with `probs`.
            scale: how many pixels here are one pixel of what the network was fed.

        Returns:
            numbers: (H, W) int64, 0 for no object, 1 to M.
            factors: (M,) of the objects' scores.
        """
        ...


class DenseInstances(BatchingModel):
    """One backbone, a semantic head, and a U-Net decoder for maps that hold objects apart."""

    map_head: UNetHead

    def __init__(
        self,
        *,
        sem_seg_head: nn.Module,
        map_head: UNetHead,
        grouping: Grouping,
        num_stuff: int,
        merge: Merge,
        max_objects: int,
        **batching: Any,
    ):
        """Takes the parts, which are built before.

        Args:
            sem_seg_head: Detectron2's interface; K classes.
            map_head: of E maps.
            grouping: of `map_head`'s maps.
            num_stuff: S.
            merge: (instances, semantic logits) of one image -> panoptic segments.
            max_objects: of an image, the best.
            batching: backbone and normalisation, see `BatchingModel`.
        """
        super().__init__(**batching)
        self.sem_seg_head = sem_seg_head
        self.map_head = map_head
        self.grouping = grouping
        self.num_stuff = num_stuff
        self.merge = merge
        self.max_objects = max_objects
        self.arrange()

    @classmethod
    def parts_from_config(cls, cfg: CfgNode, grouping: Grouping) -> dict[str, Any]:
        """All arguments of the constructor for a way of grouping."""
        name = cfg.MODEL.META_ARCHITECTURE
        check_class_counts(
            cfg, instances=True, semantics=True, parts=f"{name} has nothing to learn"
        )
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        return {
            **cls.batching_from_config(cfg, backbone),
            "sem_seg_head": build_sem_seg_head(cfg, shapes),
            "map_head": build_map_head(cfg, shapes, grouping.num_maps),
            "grouping": grouping,
            "num_stuff": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "merge": build_merge(cfg),
            "max_objects": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    def forward(self, batched_inputs: Inputs) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Computes losses in training, results otherwise.

        Args:
            batched_inputs: for each image "image" (C, h, w); in training "instances" with gt_masks
                and "sem_seg" (h, w); otherwise optionally "height" and "width", the size at which
                results are wanted.

        Returns:
            In training the losses by name. Otherwise for each image "instances", "sem_seg"
            (K, height, width) logits and "panoptic_seg" ((height, width) ids, segments).
        """
        images = self.batch(batched_inputs)
        features = self.backbone(images.tensor)
        if self.training:
            return self._losses(batched_inputs, features)
        logits, _ = self.sem_seg_head(features, None)
        maps = self.map_head.layers(features)
        sizes = wanted_sizes(batched_inputs, images)
        return [
            self._predict(own_logits, own_maps, used, size)
            for own_logits, own_maps, used, size in zip(logits, maps, images.image_sizes, sizes)
        ]

    def _losses(self, batched_inputs: Inputs, features: dict[str, Tensor]) -> dict[str, Tensor]:
        labels = self.semantic_targets(batched_inputs, self.sem_seg_head)
        numbers = [number_objects(x["instances"].to(self.device)) for x in batched_inputs]
        padded = self.pad(numbers, 0).tensor
        # A crowd is ignored in the labels; so is padding.
        taught = (labels != self.sem_seg_head.ignore_value) | (padded > 0)
        height, width = labels.shape[-2:]
        maps = self.map_head.layers(features)[..., :height, :width]
        with torch.autocast(self.device.type, enabled=False):
            losses = self.grouping.losses(maps.float(), padded, taught)
        return {**self.sem_seg_head(features, labels)[1], **losses}

    def _predict(
        self, logits: Tensor, maps: Tensor, used: tuple[int, int], size: tuple[int, int]
    ) -> dict[str, Any]:
        """Results of one image.

        Args:
            logits: (K, H, W).
            maps: (E, H, W).
            used: (h, w) of what the network was fed, at the top left of H x W.
            size: (height, width) that are wanted.
        """
        sem_seg = sem_seg_postprocess(logits, used, *size)
        own_logits, own_maps = (x[:, : used[0], : used[1]] for x in (logits, maps))
        scale = max(size[0] / used[0], size[1] / used[1])
        if scale > 1:  # objects have smooth outlines at the finer of the two sizes
            own_logits, own_maps = sem_seg, _resize(own_maps, size)
        else:
            scale = 1.0
        probs = own_logits.softmax(dim=0)
        numbers, factors = self.grouping.group(probs, own_maps.float(), scale)
        classes, scores = judge_objects(numbers, len(factors), probs, self.num_stuff)
        found = to_instances(numbers, classes, scores * factors, size, self.max_objects)
        return {
            "sem_seg": sem_seg,
            "instances": found,
            "panoptic_seg": self.merge(found, sem_seg),
        }


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def build_map_head(cfg: CfgNode, shapes: dict[str, ShapeSpec], num_maps: int) -> UNetHead:
    """A U-Net decoder of its own, planned as MODEL.SEM_SEG_HEAD plans the semantic one."""
    head = cfg.MODEL.SEM_SEG_HEAD
    return UNetHead(
        select_features(shapes, head.IN_FEATURES, "MODEL.SEM_SEG_HEAD.IN_FEATURES"),
        num_classes=num_maps,
        loss=_NoLoss(),
        widths=head.WIDTHS,
        skip=head.SKIP,
        upsample=head.UPSAMPLE,
        final_upsample=head.FINAL_UPSAMPLE,
        num_convs=head.NUM_CONVS,
        padding=cfg.MODEL.UNET.PADDING,
        norm=head.NORM,
    )


class _NoLoss(nn.Module):
    """In place of a semantic loss: maps are judged by their grouping."""

    ignore_value = 255


def check_positive(group: str, values: dict[str, float]) -> None:
    """Raises a ConfigError for the first of a group's keys that is not above 0."""
    for key, value in values.items():
        if value <= 0:
            raise ConfigError(f"{group}.{key} must be above 0, found {value}")
