"""What every architecture does before its parts: images of any size become one normalised batch.

Legend: N images, C channels, H x W pixels of the padded batch, h x w of one image.
"""

from typing import Any, cast

import torch
from detectron2.config import CfgNode
from detectron2.modeling import Backbone
from detectron2.structures import ImageList
from torch import Tensor, nn

from project.layers.blocks import check_choice
from project.modeling.pixels import normalize_image
from project.modeling.precision import arrange, memory_format, takes_channels_last

Inputs = list[dict[str, Any]]


class BatchingModel(nn.Module):
    """A backbone, and how images come to it."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        backbone: Backbone,
        pixel_mean: list[float],
        pixel_std: list[float],
        normalization: str = "fixed",
        layout: torch.memory_format = torch.contiguous_format,
    ):
        """Keeps the backbone; subclasses call `arrange` when they have all their parts.

        Args:
            backbone: image -> features by name.
            pixel_mean: of each image channel, in the order of INPUT.FORMAT.
            pixel_std: of each image channel.
            normalization: "fixed" by the two, or "image" by each image's own mean and deviation.
            layout: memory format of images and convolution weights.

        Raises:
            ConfigError: an unknown normalisation.
        """
        super().__init__()
        check_choice("MODEL.PIXEL_NORMALIZATION", normalization, ("fixed", "image"))
        self.backbone = backbone
        self.own_statistics = normalization == "image"
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.memory_format = layout

    @staticmethod
    def batching_from_config(cfg: CfgNode, backbone: Backbone) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "backbone": backbone,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "normalization": cfg.MODEL.PIXEL_NORMALIZATION,
            "layout": memory_format(cfg),
        }

    def arrange(self) -> None:
        """Brings images and all weights into one memory layout, the usual one if they must."""
        if not takes_channels_last(self):
            self.memory_format = torch.contiguous_format
        arrange(self, self.memory_format)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def batch(self, batched_inputs: Inputs) -> ImageList:
        """Normalised images, padded at the bottom and right to one size."""
        batch = self.pad([self._normalize(x) for x in batched_inputs], 0.0)
        return ImageList(
            batch.tensor.contiguous(memory_format=self.memory_format), batch.image_sizes
        )

    def _normalize(self, x: dict[str, Any]) -> Tensor:
        """(C, h, w) of 0 to 255 -> about mean 0 and deviation 1."""
        return normalize_image(
            x["image"].to(self.device, non_blocking=True),
            self.pixel_mean,
            self.pixel_std,
            own_statistics=self.own_statistics,
            statistics=x.get("pixel_statistics"),
        )

    def pad(self, tensors: list[Tensor], value: float) -> ImageList:
        """(..., h, w) each -> (N, ..., H, W), as the images are padded."""
        return ImageList.from_tensors(
            tensors, self.backbone.size_divisibility, value, self.backbone.padding_constraints
        )

    def semantic_targets(self, batched_inputs: Inputs, head: nn.Module) -> Tensor:
        """(N, H, W) class ids, padded by what the head ignores."""
        targets = [x["sem_seg"].to(self.device) for x in batched_inputs]
        return self.pad(targets, cast(int, head.ignore_value)).tensor


def wanted_sizes(batched_inputs: Inputs, images: ImageList) -> list[tuple[int, int]]:
    """Height and width at which the results of each image are wanted."""
    return [
        (x.get("height", h), x.get("width", w))
        for x, (h, w) in zip(batched_inputs, images.image_sizes)
    ]
