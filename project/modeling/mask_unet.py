"""The joint architecture: instances, semantics and their merge, each part optional."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_proposal_generator,
    build_sem_seg_head,
)
from detectron2.modeling.postprocessing import detector_postprocess, sem_seg_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import check_choice
from project.modeling.features import select_features
from project.modeling.panoptic import merge_panoptic
from project.modeling.roi_heads import build_instance_heads
from project.modeling.pixels import normalize_image

Merge = Callable[[Instances, Tensor], tuple[Tensor, list[dict[str, Any]]]]
Inputs = list[dict[str, Any]]


@META_ARCH_REGISTRY.register()
class MaskUNet(nn.Module):
    """One backbone under Mask R-CNN (He et al. 2017, arXiv:1703.06870) and a semantic head.

    Legend: N images, H x W pixels of the padded batch.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        pixel_mean: list[float],
        pixel_std: list[float],
        normalization: str = "fixed",
        proposal_generator: nn.Module | None = None,
        roi_heads: nn.Module | None = None,
        sem_seg_head: nn.Module | None = None,
        merge: Merge | None = None,
        channels_last: bool = False,
    ):
        """Takes the parts, which are built before.

        Args:
            backbone: image -> features by name.
            pixel_mean: of each image channel, in the order of INPUT.FORMAT.
            pixel_std: of each image channel.
            normalization: "fixed" by the two, or "image" by each image's own mean and deviation.
            proposal_generator: Detectron2's; goes with `roi_heads`.
            roi_heads: Detectron2's; None for a model without instances.
            sem_seg_head: Detectron2's interface; None for a model without semantics.
            merge: (instances, semantic logits) of one image -> panoptic segments; None for none.
            channels_last: keeps images and convolution weights in the memory layout NHWC.

        Raises:
            ConfigError: an unknown normalisation.
        """
        super().__init__()
        check_choice("MODEL.PIXEL_NORMALIZATION", normalization, ("fixed", "image"))
        assert (proposal_generator is None) == (roi_heads is None)
        assert merge is None or (roi_heads is not None and sem_seg_head is not None)
        self.backbone = backbone
        self.own_statistics = normalization == "image"
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.sem_seg_head = sem_seg_head
        self.merge = merge
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        has_instances, has_semantics = _check_parts(cfg)
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        parts: dict[str, Any] = {
            "backbone": backbone,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "normalization": cfg.MODEL.PIXEL_NORMALIZATION,
            "channels_last": cfg.MODEL.CHANNELS_LAST,
        }
        if has_instances:
            select_features(shapes, cfg.MODEL.RPN.IN_FEATURES, "MODEL.RPN.IN_FEATURES")
            parts["proposal_generator"] = build_proposal_generator(cfg, shapes)
            parts["roi_heads"] = build_instance_heads(cfg, shapes)
        if has_semantics:
            parts["sem_seg_head"] = build_sem_seg_head(cfg, shapes)
        if has_instances and has_semantics and cfg.MODEL.MASK_ON:
            rules = cfg.MODEL.PANOPTIC_FPN.COMBINE
            parts["merge"] = partial(
                merge_panoptic,
                num_stuff=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - cfg.MODEL.ROI_HEADS.NUM_CLASSES,
                overlap_threshold=rules.OVERLAP_THRESH,
                stuff_area_limit=rules.STUFF_AREA_LIMIT,
                score_threshold=rules.INSTANCES_CONFIDENCE_THRESH,
            )
        return parts

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: Inputs) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Computes losses in training, results otherwise.

        Args:
            batched_inputs: for each image "image" (C, h, w); in training "instances" and "sem_seg"
                (h, w) for the parts that the model has; otherwise optionally "height" and "width",
                the size at which results are wanted.

        Returns:
            In training the losses by name. Otherwise for each image "instances", "sem_seg"
            (K, height, width) logits and "panoptic_seg" ((height, width) ids, segments), as far as
            the model has the parts.
        """
        images = self._batch(batched_inputs)
        features = self.backbone(images.tensor)
        if self.training:
            return {
                **self._semantic_losses(batched_inputs, features),
                **self._instance_losses(batched_inputs, images, features),
            }
        return self._predict(batched_inputs, images, features)

    def _batch(self, batched_inputs: Inputs) -> ImageList:
        """Normalised images, padded at the bottom and right to one size."""
        images = [x["image"].to(self.device, non_blocking=True) for x in batched_inputs]
        batch = self._pad([self._normalize(image) for image in images], 0.0)
        return ImageList(
            batch.tensor.contiguous(memory_format=self.memory_format), batch.image_sizes
        )

    def _normalize(self, image: Tensor) -> Tensor:
        """(C, h, w) of 0 to 255 -> about mean 0 and deviation 1."""
        return normalize_image(
            image, self.pixel_mean, self.pixel_std, own_statistics=self.own_statistics
        )

    def _pad(self, tensors: list[Tensor], value: float) -> ImageList:
        return ImageList.from_tensors(
            tensors, self.backbone.size_divisibility, value, self.backbone.padding_constraints
        )

    def _semantic_losses(
        self, batched_inputs: Inputs, features: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        if self.sem_seg_head is None:
            return {}
        targets = [x["sem_seg"].to(self.device) for x in batched_inputs]
        ignore_value = cast(int, self.sem_seg_head.ignore_value)
        padded = self._pad(targets, ignore_value).tensor  # (N, H, W)
        return self.sem_seg_head(features, padded)[1]

    def _instance_losses(
        self, batched_inputs: Inputs, images: ImageList, features: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        if self.roi_heads is None or self.proposal_generator is None:
            return {}
        truth = [x["instances"].to(self.device) for x in batched_inputs]
        proposals, rpn_losses = self.proposal_generator(images, features, truth)
        _, roi_losses = self.roi_heads(images, features, proposals, truth)
        return {**rpn_losses, **roi_losses}

    def _predict(
        self, batched_inputs: Inputs, images: ImageList, features: dict[str, Tensor]
    ) -> list[dict[str, Any]]:
        sizes = [
            (x.get("height", h), x.get("width", w))
            for x, (h, w) in zip(batched_inputs, images.image_sizes)
        ]
        outputs: list[dict[str, Any]] = [{} for _ in batched_inputs]
        if self.roi_heads is not None and self.proposal_generator is not None:
            proposals, _ = self.proposal_generator(images, features, None)
            detections, _ = self.roi_heads(images, features, proposals, None)
            for output, found, size in zip(outputs, detections, sizes):
                # Half precision under autocast, which neither NumPy nor sorting by score likes.
                found.scores = found.scores.float()
                output["instances"] = detector_postprocess(found, *size)
        if self.sem_seg_head is not None:
            logits, _ = self.sem_seg_head(features, None)
            for output, own, used, size in zip(outputs, logits, images.image_sizes, sizes):
                output["sem_seg"] = sem_seg_postprocess(own, used, *size)
        if self.merge is not None:
            for output in outputs:
                output["panoptic_seg"] = self.merge(output["instances"], output["sem_seg"])
        return outputs


def _check_parts(cfg: CfgNode) -> tuple[bool, bool]:
    """Whether the config asks for instances and for semantics.

    Raises:
        ConfigError: neither, or class counts that cannot be.
    """
    instances, semantics = cfg.MODEL.MASK_UNET.INSTANCES, cfg.MODEL.MASK_UNET.SEMANTICS
    if not (instances or semantics):
        raise ConfigError(
            "MODEL.MASK_UNET: INSTANCES and SEMANTICS are both off; turn on what the model is for"
        )
    things, classes = (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    for wanted, key, count in (
        (instances, "MODEL.ROI_HEADS.NUM_CLASSES", things),
        (semantics, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", classes),
    ):
        if wanted and count < 1:
            raise ConfigError(
                f"{key} is {count}: it is counted from the data set when one is given, otherwise"
                " it must be written; without such classes turn the part off in MODEL.MASK_UNET"
            )
    if instances and semantics and classes < things:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {classes}, but the {things} things of"
            " MODEL.ROI_HEADS.NUM_CLASSES are semantic classes too, after the stuff"
        )
    if instances and cfg.MODEL.PROPOSAL_GENERATOR.NAME == "PrecomputedProposals":
        raise ConfigError(
            "MODEL.PROPOSAL_GENERATOR.NAME: MaskUNet makes its own proposals, e.g. RPN"
        )
    return instances, semantics
