"""The joint architecture: instances, semantics and their merge, each part optional."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    build_backbone,
    build_proposal_generator,
    build_sem_seg_head,
)
from detectron2.modeling.postprocessing import detector_postprocess, sem_seg_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from project.errors import ConfigError
from project.modeling.batching import BatchingModel, Inputs, wanted_sizes
from project.modeling.class_counts import check_class_counts
from project.modeling.features import select_features
from project.modeling.mask_paste import WindowedMasks
from project.modeling.panoptic import Merge, build_merge
from project.modeling.roi_heads import build_instance_heads


@META_ARCH_REGISTRY.register()
class MaskUNet(BatchingModel):
    """One backbone under Mask R-CNN (He et al. 2017, arXiv:1703.06870) and a semantic head.

    Legend: N images, H x W pixels of the padded batch.

    Attributes:
        windowed_masks: whether `pred_masks` are `MaskWindows`, see `project.modeling.mask_paste`,
            for those who take them; otherwise (n, height, width) bool, as Detectron2 has them.
    """

    windowed_masks = False

    @configurable
    def __init__(
        self,
        *,
        proposal_generator: nn.Module | None = None,
        roi_heads: nn.Module | None = None,
        sem_seg_head: nn.Module | None = None,
        merge: Merge | None = None,
        **batching: Any,
    ):
        """Takes the parts, which are built before.

        Args:
            proposal_generator: Detectron2's; goes with `roi_heads`.
            roi_heads: Detectron2's; None for a model without instances.
            sem_seg_head: Detectron2's interface; None for a model without semantics.
            merge: (instances, semantic logits) of one image -> panoptic segments; None for none.
            batching: backbone and normalisation, see `BatchingModel`.

        Raises:
            ConfigError: see there.
        """
        super().__init__(**batching)
        assert (proposal_generator is None) == (roi_heads is None)
        assert merge is None or (roi_heads is not None and sem_seg_head is not None)
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.sem_seg_head = sem_seg_head
        self.merge = merge
        self.arrange()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        has_instances, has_semantics = _check_parts(cfg)
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        parts = cls.batching_from_config(cfg, backbone)
        if has_instances:
            select_features(shapes, cfg.MODEL.RPN.IN_FEATURES, "MODEL.RPN.IN_FEATURES")
            parts["proposal_generator"] = build_proposal_generator(cfg, shapes)
            parts["roi_heads"] = build_instance_heads(cfg, shapes)
        if has_semantics:
            parts["sem_seg_head"] = build_sem_seg_head(cfg, shapes)
        if has_instances and has_semantics and cfg.MODEL.MASK_ON:
            parts["merge"] = build_merge(cfg)
        return parts

    def forward(self, batched_inputs: Inputs) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Computes losses in training, results otherwise.

        Args:
            batched_inputs: for each image "image" (C, h, w); in training "instances" and "sem_seg"
                (h, w) for the parts that the model has; otherwise optionally "height" and "width",
                the size at which results are wanted, and "pixel_statistics", mean and deviation
                (C, 1, 1) of the whole image where this is a tile of it.

        Returns:
            In training the losses by name. Otherwise for each image "instances", "sem_seg"
            (K, height, width) logits and "panoptic_seg" ((height, width) ids, segments), as far as
            the model has the parts.
        """
        images = self.batch(batched_inputs)
        features = self.backbone(images.tensor)
        if self.training:
            return {
                **self._semantic_losses(batched_inputs, features),
                **self._instance_losses(batched_inputs, images, features),
            }
        return self._predict(batched_inputs, images, features)

    def _semantic_losses(
        self, batched_inputs: Inputs, features: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        if self.sem_seg_head is None:
            return {}
        targets = self.semantic_targets(batched_inputs, self.sem_seg_head)
        return self.sem_seg_head(features, targets)[1]

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
        sizes = wanted_sizes(batched_inputs, images)
        outputs: list[dict[str, Any]] = [{} for _ in batched_inputs]
        if self.roi_heads is not None and self.proposal_generator is not None:
            proposals, _ = self.proposal_generator(images, features, None)
            detections, _ = self.roi_heads(images, features, proposals, None)
            for output, found, size in zip(outputs, detections, sizes):
                # Half precision under autocast, which neither NumPy nor sorting by score likes.
                found.scores = found.scores.float()
                output["instances"] = detector_postprocess(self._windowed(found), *size)
        if self.sem_seg_head is not None:
            logits, _ = self.sem_seg_head(features, None)
            for output, own, used, size in zip(outputs, logits, images.image_sizes, sizes):
                output["sem_seg"] = sem_seg_postprocess(own, used, *size)
        if self.merge is not None:
            for output in outputs:
                output["panoptic_seg"] = self.merge(output["instances"], output["sem_seg"])
        return outputs

    def _windowed(self, found: Instances) -> Instances:
        """Detections whose masks, (n, 1, M, M), become windows if that is asked for."""
        if self.windowed_masks and found.has("pred_masks"):
            found.pred_masks = WindowedMasks(found.pred_masks[:, 0])
        return found


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
    turn_off = "turn the part off in MODEL.MASK_UNET"
    check_class_counts(cfg, instances=instances, semantics=semantics, parts=turn_off)
    if instances and cfg.MODEL.PROPOSAL_GENERATOR.NAME == "PrecomputedProposals":
        raise ConfigError(
            "MODEL.PROPOSAL_GENERATOR.NAME: MaskUNet makes its own proposals, e.g. RPN"
        )
    return instances, semantics
