"""The U-Net encoder as a Detectron2 backbone."""

from collections.abc import Sequence
from itertools import pairwise

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import BLOCKS, ConvBlock, check_choice

DOWNSAMPLES = ("max_pool", "strided_conv")


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
        num_blocks = list(num_blocks) or [1] * len(widths)
        if len(num_blocks) != len(widths) or min(num_blocks) < 1:
            raise ConfigError(
                f"a U-Net encoder of {len(widths)} stages needs as many numbers of blocks, each at"
                f" least 1; found {num_blocks}"
            )
        stem = ConvBlock if block == "residual" else BLOCKS[block]
        stages: list[nn.Module] = [stem(in_channels, widths[0], stride=stem_stride, norm=norm)]
        for fine, coarse in pairwise(widths):
            if downsample == "strided_conv":
                stages.append(BLOCKS[block](fine, coarse, stride=2, norm=norm))
            else:
                pool = nn.MaxPool2d(2, ceil_mode=True)
                stages.append(nn.Sequential(pool, BLOCKS[block](fine, coarse, norm=norm)))
        for stage, (width, count) in enumerate(zip(widths, num_blocks)):
            more = (BLOCKS[block](width, width, norm=norm) for _ in range(count - 1))
            stages[stage] = nn.Sequential(stages[stage], *more)
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


@BACKBONE_REGISTRY.register()
def build_unet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> UNetEncoder:
    """Builds the encoder that MODEL.UNET describes."""
    unet = cfg.MODEL.UNET
    return UNetEncoder(
        widths=unet.WIDTHS,
        in_channels=input_shape.channels,
        stem_stride=unet.STEM_STRIDE,
        block=unet.BLOCK,
        num_blocks=unet.NUM_BLOCKS,
        downsample=unet.DOWNSAMPLE,
        norm=unet.NORM,
    )
