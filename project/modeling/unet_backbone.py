"""The U-Net encoder as a Detectron2 backbone."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import BLOCKS, ConvBlock, check_choice
from project.layers.mirror import eaten, input_size, mirror

DOWNSAMPLES = ("max_pool", "strided_conv")
PADDINGS = ("same", "valid")


class UNetEncoder(Backbone):
    """Stages of convolutions, each at half the size of the one before.

    After Ronneberger et al. 2015 (arXiv:1505.04597), with padded convolutions and normalisation.
    Yields "stage1", "stage2", ...; sizes are halved rounding up, so odd images need no padding.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        in_channels: int = 3,
        stem_stride: int = 1,
        block: str = "double_conv",
        num_blocks: Sequence[int] = (),
        downsample: str = "max_pool",
        dilations: Sequence[int] = (),
        valid: bool = False,
        norm: str = "BN",
    ):
        """Builds the stages.

        Args:
            widths: channels of stage1, stage2, ...
            in_channels: of the image.
            stem_stride: of stage1, 1 or 2; 2 is always a strided convolution, since pooling
                colours would lose detail that nothing has looked at.
            block: "double_conv", or "residual", where stage1 is one convolution, as ResNet's stem.
            num_blocks: of each stage, at least 1; empty: one each.
            downsample: "max_pool" or "strided_conv".
            dilations: rates of the coarsest stage's blocks, which see further without getting
                coarser (Yu and Koltun 2016, arXiv:1511.07122); without `num_blocks` they say how
                many there are. Empty: 1 each.
            valid: convolutions are not padded; goes with "double_conv" and "max_pool".
            norm: see `project.layers.blocks.build_norm`.

        Raises:
            ConfigError: an unknown name, no stage, or a width, stride or count that cannot be.
        """
        super().__init__()
        check_choice("block", block, BLOCKS)
        check_choice("downsampling", downsample, DOWNSAMPLES)
        if not widths or min(widths) < 1 or stem_stride not in (1, 2):
            raise ConfigError(
                "a U-Net encoder needs at least one width of at least 1, and a stem stride of 1"
                f" or 2; found widths {list(widths)} and stem stride {stem_stride}"
            )
        num_blocks = list(num_blocks) or [*[1] * (len(widths) - 1), len(dilations) or 1]
        if len(num_blocks) != len(widths) or min(num_blocks) < 1:
            raise ConfigError(
                f"a U-Net encoder of {len(widths)} stages needs as many numbers of blocks, each at"
                f" least 1; found {num_blocks}"
            )
        rates = [[1] * count for count in num_blocks]
        if dilations:
            rates[-1] = _check_dilations(dilations, num_blocks[-1], len(widths))
        shared: dict[str, Any] = {"norm": norm, **({"valid": True} if valid else {})}
        stem = ConvBlock if block == "residual" else BLOCKS[block]
        stages: list[nn.Module] = [stem(in_channels, widths[0], stride=stem_stride, **shared)]
        for (fine, coarse), (rate, *_) in zip(pairwise(widths), rates[1:]):
            build = partial(BLOCKS[block], fine, coarse, dilation=rate, **shared)
            if downsample == "strided_conv":
                stages.append(build(stride=2))
            else:
                stages.append(nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), build()))
        for i, (width, (_, *more)) in enumerate(zip(widths, rates)):
            blocks = (BLOCKS[block](width, width, dilation=rate, **shared) for rate in more)
            stages[i] = nn.Sequential(stages[i], *blocks)
        names = [f"stage{i}" for i in range(1, len(widths) + 1)]
        self.stages = nn.ModuleDict(dict(zip(names, stages)))
        self._shapes = {
            name: ShapeSpec(channels=width, stride=stem_stride * 2**i)
            for i, (name, width) in enumerate(zip(names, widths))
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Computes all stages.

        Args:
            x: (N, in_channels, H, W).

        Returns:
            For each stage (N, width, ceil(H / stride), ceil(W / stride)).
        """
        features = {}
        for name, stage in self.stages.items():
            x = features[name] = stage(x)
        return features

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes

    @property
    def size_divisibility(self) -> int:
        """Stride of the last stage: with it every level halves exactly, as an FPN needs."""
        return max(shape.stride for shape in self._shapes.values())


class ValidUNetEncoder(UNetEncoder):
    """The encoder as published: unpadded convolutions, on an image with mirrored surroundings.

    What the convolutions of encoder and decoder eat from the sides is mirrored there before (the
    overlap-tile strategy of Ronneberger et al. 2015), so that the decoder's output covers the
    image, whatever its size, and no pixel of it has seen a padded zero.
    """

    def __init__(
        self, *, widths: Sequence[int], in_channels: int = 3, head_convs: int = 2, norm: str = "BN"
    ):
        """Builds the stages.

        Args:
            widths: channels of stage1, stage2, ...
            in_channels: of the image.
            head_convs: unpadded 3x3 convolutions of each level of the decoder.
            norm: see `project.layers.blocks.build_norm`.
        """
        super().__init__(widths=widths, in_channels=in_channels, valid=True, norm=norm)
        self.eats = {"depth": len(widths), "down": 4, "up": 2 * head_convs}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Computes all stages of the image with its surroundings.

        Args:
            x: (N, in_channels, H, W).

        Returns:
            For each stage what `encode` makes of `surround`.
        """
        return self.encode(self.surround(x))

    def surround(self, x: Tensor) -> Tensor:
        """The image with its mirror at all sides: 388 x 388 becomes 572 x 572 at depth 5.

        On the right and at the bottom there is more where a level would not halve evenly.
        """
        height, width = (input_size(size, **self.eats) for size in x.shape[-2:])
        return mirror(x, eaten(**self.eats) // 2, height, width)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Computes all stages of an image as it is; 572 x 572 gives 568, 280, 136, 64, 28."""
        return super().forward(x)

    @property
    def size_divisibility(self) -> int:
        """0: any size is mirrored to one that halves evenly."""
        return 0


def _check_dilations(dilations: Sequence[int], num_blocks: int, num_stages: int) -> list[int]:
    if len(dilations) != num_blocks or min(dilations) < 1 or num_stages < 2:
        raise ConfigError(
            "MODEL.UNET.BOTTLENECK_DILATIONS holds a rate of at least 1 for each block of the"
            f" coarsest of at least two stages, which has {num_blocks}; found {list(dilations)}"
        )
    return list(dilations)


@BACKBONE_REGISTRY.register()
def build_unet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> UNetEncoder:
    """Builds the encoder that MODEL.UNET describes.

    Raises:
        ConfigError: a choice that cannot be.
    """
    unet = cfg.MODEL.UNET
    check_choice("value of MODEL.UNET.PADDING", unet.PADDING, PADDINGS)
    if unet.PADDING == "valid":
        return _build_valid_encoder(cfg, input_shape)
    return UNetEncoder(
        widths=unet.WIDTHS,
        in_channels=input_shape.channels,
        stem_stride=unet.STEM_STRIDE,
        block=unet.BLOCK,
        num_blocks=unet.NUM_BLOCKS,
        downsample=unet.DOWNSAMPLE,
        dilations=unet.BOTTLENECK_DILATIONS,
        norm=unet.NORM,
    )


def _build_valid_encoder(cfg: CfgNode, input_shape: ShapeSpec) -> ValidUNetEncoder:
    unet, head = cfg.MODEL.UNET, cfg.MODEL.SEM_SEG_HEAD
    stages = [f"stage{i + 1}" for i in range(len(unet.WIDTHS))]
    instances = cfg.MODEL.META_ARCHITECTURE == "MaskUNet" and cfg.MODEL.MASK_UNET.INSTANCES
    wanted: dict[str, Any] = {
        "MODEL.MASK_UNET.INSTANCES": (instances, False),
        "MODEL.BACKBONE.NAME": (cfg.MODEL.BACKBONE.NAME, "build_unet_backbone"),
        "MODEL.UNET.STEM_STRIDE": (unet.STEM_STRIDE, 1),
        "MODEL.UNET.BLOCK": (unet.BLOCK, "double_conv"),
        "MODEL.UNET.NUM_BLOCKS": (list(unet.NUM_BLOCKS), []),
        "MODEL.UNET.DOWNSAMPLE": (unet.DOWNSAMPLE, "max_pool"),
        "MODEL.UNET.BOTTLENECK_DILATIONS": (list(unet.BOTTLENECK_DILATIONS), []),
        "MODEL.SEM_SEG_HEAD.NAME": (head.NAME, "UNetHead"),
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": (sorted(head.IN_FEATURES), sorted(stages)),
        "MODEL.SEM_SEG_HEAD.AUXILIARY_FEATURES": (list(head.AUXILIARY_FEATURES), []),
    }
    for key, (found, needed) in wanted.items():
        if found != needed:
            raise ConfigError(
                f"MODEL.UNET.PADDING valid is the U-Net as published, which has {key} {needed};"
                f" found {found}"
            )
    return ValidUNetEncoder(
        widths=unet.WIDTHS,
        in_channels=input_shape.channels,
        head_convs=head.NUM_CONVS,
        norm=unet.NORM,
    )
