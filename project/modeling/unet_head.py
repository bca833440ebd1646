"""The U-Net decoder as a semantic head for any backbone."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import UpBlock, check_choice
from project.layers.enlarge import Bilinear
from project.modeling.features import sort_pyramid
from project.modeling.semantic_head import Judged, SemanticHead

FINAL_UPSAMPLES = ("bilinear", "pixel_shuffle")


@SEM_SEG_HEADS_REGISTRY.register()
class UNetHead(SemanticHead):
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
        widths: Sequence[int] = (),
        skip: str = "concat",
        upsample: str = "transposed",
        final_upsample: str = "bilinear",
        num_convs: int = 2,
        padding: str = "same",
        norm: str = "BN",
        deep_supervision: Sequence[float] = (),
        **judges: Any,
    ):
        """Plans one level for each feature but the coarsest.

        Args:
            input_shape: the features to decode, in any order.
            num_classes: K.
            widths: channels of each level, finest first; the coarsest feature has none. Empty:
                the channels of the features.
            skip: how a feature joins, see `project.layers.blocks.UpBlock`.
            upsample: from one level to the next, see there.
            final_upsample: "bilinear", or "pixel_shuffle" (Shi et al. 2016, arXiv:1609.05158),
                where the last convolution yields every pixel's logits: sharper at low cost.
            num_convs: convolutions a level.
            padding: "same", or "valid" for the features of a `ValidUNetEncoder`.
            norm: of the convolutions.
            deep_supervision: factors of the losses of the levels before the finest, finest first;
                fewer than these levels leave out the coarsest.
            judges: loss and auxiliary predictors, see `SemanticHead`.

        Raises:
            ConfigError: an unknown name, no class, features that do not halve, another number of
                widths than of levels, more factors than levels, or what cannot be "valid".
        """
        super().__init__(num_classes=num_classes, **judges)
        check_choice("final upsampling", final_upsample, FINAL_UPSAMPLES)
        levels = sort_pyramid(input_shape)
        valid = padding == "valid"
        if valid:
            _check_valid(levels, upsample)
        plan = _plan(levels, widths)
        channels = [shape.channels for _, shape in levels]
        shared: dict[str, Any] = {"skip": skip, "upsample": upsample, "num_convs": num_convs}
        self.up_blocks = nn.ModuleList(
            UpBlock(coarse, feature, fine, valid=valid, norm=norm, **shared)
            for coarse, feature, fine in reversed(list(zip(plan[1:], channels, plan)))
        )
        stride = levels[0][1].stride
        shuffle = final_upsample == "pixel_shuffle"
        self.predictor = nn.Conv2d(plan[0], num_classes * (stride**2 if shuffle else 1), 1)
        self.to_pixels = nn.PixelShuffle(stride) if shuffle else Bilinear(stride)
        self.in_features = [name for name, _ in levels]
        self.teachers = _build_teachers(levels, plan, deep_supervision, num_classes)
        self.deep_supervision = list(deep_supervision)
        # Pixels that finer levels of `valid` convolutions still take from every side.
        self.margins = [num_convs * (s.stride - stride) if valid else 0 for _, s in levels[1:]]

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            **super().from_config(cfg, input_shape),
            "widths": head.WIDTHS,
            "skip": head.SKIP,
            "upsample": head.UPSAMPLE,
            "final_upsample": head.FINAL_UPSAMPLE,
            "num_convs": head.NUM_CONVS,
            "padding": cfg.MODEL.UNET.PADDING,
            "norm": head.NORM,
            "deep_supervision": head.DEEP_SUPERVISION,
        }

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Decodes the features to the logits of all pixels.

        Args:
            features: (N, channels, h, w) each.

        Returns:
            (N, K, s * h, s * w) logits in float32, where h x w is the finest feature's size: at
            least H x W, with the image at the top left. With `valid` convolutions h x w is what
            they leave of it.
        """
        return self._predict(self._decode(features)[0])

    def judged(self, features: dict[str, Tensor]) -> Judged:
        maps = self._decode(features)
        judged: Judged = {"": (self._predict(maps[0]), 1.0)}
        for i, (teacher, factor) in enumerate(zip(self.teachers, self.deep_supervision)):
            cut = self.margins[i]
            judged[f"_level{i + 2}"] = (teacher(maps[i + 1])[..., cut:, cut:].float(), factor)
        return {**judged, **self.judged_aside(features)}

    def _decode(self, features: dict[str, Tensor]) -> list[Tensor]:
        """The decoder's map at each feature, finest first."""
        *fine, x = (features[name] for name in self.in_features)
        maps = [x]
        for up_block, feature in zip(self.up_blocks, reversed(fine)):
            x = up_block(x, feature)
            maps.append(x)
        return maps[::-1]

    def _predict(self, x: Tensor) -> Tensor:
        return self.to_pixels(self.predictor(x).float())


def _check_valid(levels: list[tuple[str, ShapeSpec]], upsample: str) -> None:
    if levels[0][1].stride != 1 or upsample != "transposed":
        raise ConfigError(
            "MODEL.UNET.PADDING valid is the U-Net as published, whose upsampling looks beyond no"
            " border: it takes MODEL.SEM_SEG_HEAD.UPSAMPLE transposed and IN_FEATURES from stage1"
            f" on; found {upsample} and {', '.join(name for name, _ in levels)}"
        )


def _plan(levels: list[tuple[str, ShapeSpec]], widths: Sequence[int]) -> list[int]:
    """Channels of the decoder at each feature, finest first."""
    channels = [int(shape.channels or 0) for _, shape in levels]
    widths = list(widths) or channels[:-1]
    if len(widths) != len(levels) - 1:
        raise ConfigError(
            f"{len(levels)} features ({', '.join(name for name, _ in levels)}) take"
            f" {len(levels) - 1} decoder widths, one for each but the coarsest; found {widths}"
        )
    return [*widths, channels[-1]]


def _build_teachers(
    levels: list[tuple[str, ShapeSpec]],
    plan: Sequence[int],
    factors: Sequence[float],
    num_classes: int,
) -> nn.ModuleList:
    """Predictors of the levels before the finest, after Lee et al. 2015 (arXiv:1409.5185)."""
    most = len(levels) - 1
    if len(factors) > most or (factors and min(factors) < 0):
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.DEEP_SUPERVISION holds at most {most} factors of at least 0, one"
            f" for each of {', '.join(name for name, _ in levels[1:])}; found {list(factors)}"
        )
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(width, num_classes, 1), Bilinear(int(shape.stride or 1)))
        for width, (_, shape), _ in zip(plan[1:], levels[1:], factors)
    )
