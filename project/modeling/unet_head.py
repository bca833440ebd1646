"""The U-Net decoder as a semantic head for any backbone."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import UpBlock, check_choice
from project.modeling.features import select_features, sort_pyramid
from project.modeling.sem_seg_loss import SemSegLoss

FINAL_UPSAMPLES = ("bilinear", "pixel_shuffle")


@SEM_SEG_HEADS_REGISTRY.register()
class UNetHead(nn.Module):
    """Goes from the coarsest feature to the finest, joining each, and then to the image's size.

    After Ronneberger et al. 2015 (arXiv:1505.04597). Works with the U-Net encoder's stages, with
    ResNet's res2 to res5, with FPN levels, and with any mix whose sizes halve.

    Legend: N images, K classes, H x W pixels of the padded image, s stride of the finest feature.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        loss: SemSegLoss,
        widths: Sequence[int] = (),
        skip: str = "concat",
        upsample: str = "transposed",
        final_upsample: str = "bilinear",
        num_convs: int = 2,
        norm: str = "BN",
        loss_weight: float = 1.0,
    ):
        """Plans one level for each feature but the coarsest.

        Args:
            input_shape: the features to decode, in any order.
            num_classes: K.
            loss: (logits, targets) -> dict of losses, with the attribute `ignore_value`.
            widths: channels of each level, finest first; the coarsest feature has none. Empty:
                the channels of the features.
            skip: how a feature joins, see `project.layers.blocks.UpBlock`.
            upsample: from one level to the next, see there.
            final_upsample: "bilinear", or "pixel_shuffle" (Shi et al. 2016, arXiv:1609.05158),
                where the last convolution yields every pixel's logits: sharper at low cost.
            num_convs: convolutions a level.
            norm: of these.
            loss_weight: factor of all losses.

        Raises:
            ConfigError: an unknown name, no class, features that do not halve, or another number
                of widths than of levels.
        """
        super().__init__()
        check_choice("final upsampling", final_upsample, FINAL_UPSAMPLES)
        if num_classes < 1:
            raise ConfigError(f"a semantic head needs at least 1 class, found {num_classes}")
        levels = sort_pyramid(input_shape)
        channels = [shape.channels for _, shape in levels]
        widths = list(widths) or channels[:-1]
        if len(widths) != len(levels) - 1:
            raise ConfigError(
                f"{len(levels)} features ({', '.join(name for name, _ in levels)}) take"
                f" {len(levels) - 1} decoder widths, one for each but the coarsest; found {widths}"
            )
        plan = [*widths, channels[-1]]  # channels of the decoder at each feature, finest first
        self.up_blocks = nn.ModuleList(
            UpBlock(
                coarse, feature, fine, skip=skip, upsample=upsample, num_convs=num_convs, norm=norm
            )
            for coarse, feature, fine in reversed(list(zip(plan[1:], channels, plan)))
        )
        stride = levels[0][1].stride
        shuffle = final_upsample == "pixel_shuffle"
        self.predictor = nn.Conv2d(plan[0], num_classes * (stride**2 if shuffle else 1), 1)
        self.to_pixels = nn.PixelShuffle(stride) if shuffle else _Bilinear(stride)
        self.in_features = [name for name, _ in levels]
        self.loss = loss
        self.loss_weight = loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": select_features(
                input_shape, head.IN_FEATURES, "MODEL.SEM_SEG_HEAD.IN_FEATURES"
            ),
            "num_classes": head.NUM_CLASSES,
            "loss": SemSegLoss(cfg),
            "widths": head.WIDTHS,
            "skip": head.SKIP,
            "upsample": head.UPSAMPLE,
            "final_upsample": head.FINAL_UPSAMPLE,
            "num_convs": head.NUM_CONVS,
            "norm": head.NORM,
            "loss_weight": head.LOSS_WEIGHT,
        }

    @property
    def ignore_value(self) -> int:
        """Fills the padding of targets; Detectron2's architectures read it."""
        return self.loss.ignore_value

    def forward(
        self, features: dict[str, Tensor], targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Decodes, and in training judges.

        Args:
            features: the backbone's, by name.
            targets: (N, H, W) class ids, needed in training.

        Returns:
            In training None and the losses; otherwise the logits of `layers` and no losses.
        """
        logits = self.layers(features)
        if not self.training:
            return logits, {}
        assert targets is not None
        return None, self.losses(logits, targets)

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Decodes the features to the logits of all pixels.

        Args:
            features: (N, channels, h, w) each.

        Returns:
            (N, K, s * h, s * w) logits in float32, where h x w is the finest feature's size: at
            least H x W, with the image at the top left.
        """
        *fine, x = (features[name] for name in self.in_features)
        for up_block, feature in zip(self.up_blocks, reversed(fine)):
            x = up_block(x, feature)
        return self.to_pixels(self.predictor(x).float())

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Judges the part of the logits that the targets cover.

        Args:
            logits: of `layers`.
            targets: (N, H, W) class ids, with `ignore_value` holes.

        Returns:
            Scalars by name.
        """
        height, width = targets.shape[-2:]
        losses = self.loss(logits[..., :height, :width], targets)
        return {name: value * self.loss_weight for name, value in losses.items()}


class _Bilinear(nn.Module):
    """Enlarges (N, K, h, w) by a whole factor."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)
