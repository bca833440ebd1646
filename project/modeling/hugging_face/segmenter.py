"""The meta architecture around the library's models: Detectron2's batches in, its outputs out.

N images, K classes, H x W pixels of the padded batch, h x w of one image.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import ImageList
from torch import Tensor, nn

from project.data.categories import IGNORE_LABEL
from project.modeling.batching import Inputs, wanted_sizes
from project.modeling.class_counts import check_class_counts
from project.modeling.hugging_face import library
from project.modeling.hugging_face.networks import (
    MaskFormerNetwork,
    OneFormerNetwork,
    PixelNetwork,
    QueryNetwork,
)
from project.modeling.hugging_face.queries import (
    Geometry,
    find_instances,
    find_segments,
    semantic_scores,
)
from project.modeling.hugging_face.targets import build_target
from project.modeling.hugging_face.texts import build_tokenizer
from project.modeling.pixels import normalize_image
from project.modeling.sem_seg_loss import SemSegLoss

_STRIDE = 32  # of the coarsest features of all models with a pyramid


@dataclass(frozen=True)
class Rules:
    """How results are read from queries; see MODEL.HUGGING_FACE in project/config.py."""

    limit: int = 100
    score_threshold: float = 0.05
    object_threshold: float = 0.8
    overlap_threshold: float = 0.8


@META_ARCH_REGISTRY.register()
class HuggingFaceSegmenter(nn.Module):
    """A segmentation model of the library transformers, for one task."""

    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        network: QueryNetwork | PixelNetwork,
        task: str,
        num_stuff: int,
        pixel_mean: list[float],
        pixel_std: list[float],
        normalization: str = "fixed",
        reverse_channels: bool = False,
        image_size: int | None = None,
        loss: nn.Module | None = None,
        rules: Rules = Rules(),
    ):
        """Takes the parts, which are built before.

        Args:
            network: the library's model.
            task: "semantic", "instance" or "panoptic".
            num_stuff: how many of the model's classes, the first ones, are stuff.
            pixel_mean: of each image channel, in the order of INPUT.FORMAT.
            pixel_std: of each image channel.
            normalization: "fixed" by the two, or "image" by each image's own mean and deviation.
            reverse_channels: images come as BGR, and the library's models see RGB.
            image_size: side of the squares that images are resized to in the model; None: images
                keep their size.
            loss: of semantic logits; needed for a `PixelNetwork` that is trained.
            rules: for the results.
        """
        super().__init__()
        self.network = network
        self.task = task
        self.num_stuff = num_stuff
        self.own_statistics = normalization == "image"
        self.reverse_channels = reverse_channels
        self.image_size = image_size
        self.loss = loss
        self.rules = rules
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        keys = cfg.MODEL.HUGGING_FACE
        check_class_counts(
            cfg,
            instances=keys.TASK != "semantic",
            semantics=keys.TASK != "instance",
            parts="choose another MODEL.HUGGING_FACE.TASK",
        )
        labels = library.class_labels(cfg)
        config = library.build_config(keys.NAME, keys.CONFIG)
        things = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        is_query = keys.NAME in library.QUERY_MODELS
        channels = len(cfg.MODEL.PIXEL_MEAN)
        return {
            "network": _build_network(config, keys.WEIGHTS, keys.TASK, labels, channels),
            "task": keys.TASK,
            "num_stuff": len(labels) - things if keys.TASK == "panoptic" else 0,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "normalization": cfg.MODEL.PIXEL_NORMALIZATION,
            "reverse_channels": cfg.INPUT.FORMAT == "BGR" and channels == 3,
            "image_size": library.fixed_size(config),
            "loss": None if is_query else SemSegLoss(cfg),
            "rules": Rules(
                limit=cfg.TEST.DETECTIONS_PER_IMAGE,
                score_threshold=cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
                object_threshold=keys.OBJECT_THRESHOLD,
                overlap_threshold=keys.OVERLAP_THRESHOLD,
            ),
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: Inputs) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Computes losses in training, results otherwise.

        Args:
            batched_inputs: for each image "image" (C, h, w); in training "instances" and "sem_seg"
                (h, w) as far as the task needs them; otherwise optionally "height" and "width", the
                size at which results are wanted.

        Returns:
            In training the losses by name. Otherwise for each image, as far as the task has them,
            "sem_seg" (K, height, width) scores, "instances" and "panoptic_seg" ((height, width)
            ids, segments).
        """
        images = self._batch(batched_inputs)
        pixels = self._fit(images.tensor)
        frame = (images.tensor.shape[-2], images.tensor.shape[-1])
        if self.training:
            return self._losses(batched_inputs, pixels, frame)
        geometries = [
            Geometry(frame, used, wanted)
            for used, wanted in zip(images.image_sizes, wanted_sizes(batched_inputs, images))
        ]
        if isinstance(self.network, PixelNetwork):
            logits = self._enlarge(self.network(pixels), frame)
            return [
                {"sem_seg": sem_seg_postprocess(own, g.used, *g.wanted)}
                for own, g in zip(logits, geometries)
            ]
        return [self._read(*found) for found in zip(*self.network(pixels), geometries)]

    def _batch(self, batched_inputs: Inputs) -> ImageList:
        """Normalised images, padded at the bottom and right to one size."""
        images = [self._normalize(x) for x in batched_inputs]
        if self.image_size is None:
            return ImageList.from_tensors(images, _STRIDE)
        side = max(max(image.shape[-2:]) for image in images)
        return ImageList.from_tensors(images, 0, padding_constraints={"square_size": side})

    def _normalize(self, x: dict[str, Any]) -> Tensor:
        image = normalize_image(
            x["image"].to(self.device),
            self.pixel_mean,
            self.pixel_std,
            own_statistics=self.own_statistics,
            statistics=x.get("pixel_statistics"),
        )
        return image.flip(0) if self.reverse_channels else image

    def _fit(self, images: Tensor) -> Tensor:
        """The batch at the size that the model is made for, if it is made for one."""
        side = self.image_size
        if side is None or images.shape[-1] == side:
            return images
        return F.interpolate(images, (side, side), mode="bilinear", antialias=True)

    def _losses(
        self, batched_inputs: Inputs, pixels: Tensor, frame: tuple[int, int]
    ) -> dict[str, Tensor]:
        if isinstance(self.network, QueryNetwork):
            targets = [
                build_target(x, self.task, self.num_stuff, frame, self.device)
                for x in batched_inputs
            ]
            return self.network.losses(pixels, targets)
        assert self.loss is not None
        labels = torch.full(
            (len(pixels), *frame), IGNORE_LABEL, dtype=torch.long, device=self.device
        )
        for own, x in zip(labels, batched_inputs):
            height, width = x["sem_seg"].shape
            own[:height, :width] = x["sem_seg"]
        return self.loss(self._enlarge(self.network(pixels), frame), labels)

    def _enlarge(self, logits: Tensor, frame: tuple[int, int]) -> Tensor:
        """(N, K, h, w) -> (N, K, H, W)."""
        return F.interpolate(logits, frame, mode="bilinear", align_corners=False)

    def _read(self, classes: Tensor, masks: Tensor, geometry: Geometry) -> dict[str, Any]:
        """The results of one image, see `project.modeling.hugging_face.queries`."""
        output: dict[str, Any] = {}
        rules = self.rules
        if self.task != "instance":
            output["sem_seg"] = semantic_scores(classes, masks, geometry)
        if self.task != "semantic":
            output["instances"] = find_instances(
                classes,
                masks,
                geometry,
                num_stuff=self.num_stuff,
                limit=rules.limit,
                score_threshold=rules.score_threshold,
            )
        if self.task == "panoptic":
            output["panoptic_seg"] = find_segments(
                classes,
                masks,
                geometry,
                num_stuff=self.num_stuff,
                score_threshold=rules.object_threshold,
                overlap_threshold=rules.overlap_threshold,
            )
        return output


def _build_network(
    config: Any, weights: str, task: str, labels: list[str], channels: int
) -> QueryNetwork | PixelNetwork:
    name = config.model_type
    if name == "oneformer":
        config.is_training = config.contrastive_weight > 0
    model = library.build_network(config, weights, labels, channels=channels)
    if name == "oneformer":
        tokenize = build_tokenizer(weights, labels)
        return OneFormerNetwork(model, task=task, labels=labels, tokenize=tokenize)
    if name == "maskformer":
        return MaskFormerNetwork(model)
    return QueryNetwork(model) if name in library.QUERY_MODELS else PixelNetwork(model)
