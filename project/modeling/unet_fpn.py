"""A feature pyramid on an encoder whose own features stay available.

Mask R-CNN reads p-levels of equal width, a U-Net head wants the encoder's fine stages: one
backbone offers both.
"""

import math
from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import Tensor

from project.modeling.features import select_features, sort_pyramid
from project.modeling.unet_backbone import build_unet_backbone


class EncoderFPN(Backbone):
    """An encoder and Detectron2's FPN (Lin et al. 2017, arXiv:1612.03144) on some of its features.

    Yields the encoder's features and p<k> at stride 2**k.
    """

    def __init__(
        self,
        encoder: Backbone,
        *,
        in_features: Sequence[str],
        out_channels: int,
        norm: str = "",
        fuse_type: str = "sum",
        extra_level: bool = False,
        key: str = "MODEL.UNET.FPN_IN_FEATURES",
    ):
        """Puts the pyramid on the encoder.

        Args:
            encoder: yields features by name.
            in_features: those that feed the pyramid, in any order.
            out_channels: of every p-level.
            norm: of the pyramid's convolutions; any name that Detectron2's `get_norm` takes.
            fuse_type: "sum" or "avg".
            extra_level: adds one level, every second cell of the coarsest, for large anchors.
            key: of the config that names `in_features`, for messages.

        Raises:
            ConfigError: a feature that the encoder lacks, or sizes that do not halve.
        """
        super().__init__()
        chosen = select_features(encoder.output_shape(), in_features, key)
        levels = sort_pyramid(chosen)
        top_block = None
        if extra_level:
            top_block = LastLevelMaxPool()
            top_block.in_feature = level_name(levels[-1][1].stride)
        self.encoder = encoder
        self.fpn = FPN(
            _PassThrough(encoder.output_shape()),
            [name for name, _ in levels],
            out_channels,
            norm=norm,
            top_block=top_block,
            fuse_type=fuse_type,
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Computes the encoder's features and the pyramid.

        Args:
            x: (N, C, H, W), with H and W multiples of `size_divisibility`.

        Returns:
            The encoder's features and the p-levels, (N, channels, H / stride, W / stride) each.
        """
        features = self.encoder(x)
        return {**features, **self.fpn(features)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {**self.encoder.output_shape(), **self.fpn.output_shape()}

    @property
    def size_divisibility(self) -> int:
        return self.encoder.size_divisibility


class _PassThrough(Backbone):
    """Stands for a backbone whose features were computed already.

    Detectron2's FPN computes and hides the features that it reads; this hands them in instead.
    """

    def __init__(self, shapes: dict[str, ShapeSpec]):
        super().__init__()
        self._shapes = shapes

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes


def level_name(stride: int) -> str:
    """Name of the p-level at a stride."""
    return f"p{int(math.log2(stride))}"


def needs_extra_level(
    encoder: Backbone, in_features: Sequence[str], key: str, wanted: Sequence[str]
) -> bool:
    """Whether `wanted` names the level above the pyramid that stands on `in_features`."""
    chosen = select_features(encoder.output_shape(), in_features, key)
    return level_name(2 * max(shape.stride for shape in chosen.values())) in wanted


@BACKBONE_REGISTRY.register()
def build_unet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> EncoderFPN:
    """Builds the encoder of MODEL.UNET with the pyramid of MODEL.FPN.

    The level above the pyramid exists if MODEL.RPN.IN_FEATURES names it.
    """
    encoder = build_unet_backbone(cfg, input_shape)
    names, key = cfg.MODEL.UNET.FPN_IN_FEATURES, "MODEL.UNET.FPN_IN_FEATURES"
    return EncoderFPN(
        encoder,
        in_features=names,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
        extra_level=needs_extra_level(encoder, names, key, cfg.MODEL.RPN.IN_FEATURES),
        key=key,
    )
