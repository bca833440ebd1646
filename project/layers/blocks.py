"""Convolution blocks of encoders and decoders.

Legend: N images, C channels, H x W cells. A padded block keeps H and W; with stride 2 it halves
them, rounding up, so that a feature map always covers the whole image. With `valid` convolutions
nothing is padded and each 3x3 convolution takes one row or column from every side.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.layers import get_norm
from torch import Tensor, nn

from project.errors import ConfigError, nearest

NORMS = ("", "BN", "SyncBN", "FrozenBN", "GN", "LN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")
SKIPS = ("concat", "add", "none")
UPSAMPLES = ("transposed", "bilinear", "bilinear_conv", "pixel_shuffle")


def check_choice(what: str, name: str, known: Iterable[str]) -> None:
    """Raises a ConfigError that lists the nearest names if `name` is not one of `known`."""
    known = list(known)
    if name not in known:
        raise ConfigError(f"{name!r} is no {what}.{nearest(name, [k for k in known if k])}")


def build_norm(norm: str, channels: int) -> nn.Module:
    """Detectron2's normalisation layer of that name; the identity for "".

    Raises:
        ConfigError: an unknown name, or channels that group normalisation cannot divide.
    """
    check_choice("normalisation", norm, NORMS)
    if norm == "GN" and channels % 32:
        raise ConfigError(
            f"normalisation GN makes 32 groups, which {channels} channels cannot be divided into;"
            " choose widths that are multiples of 32, or another normalisation, e.g. BN"
        )
    return get_norm(norm, channels) or nn.Identity()


class ConvBlock(nn.Sequential):
    """Convolution, normalisation, ReLU; weights start as in He et al. 2015 (arXiv:1502.01852)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        valid: bool = False,
        norm: str = "BN",
        relu: bool = True,
    ):
        conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=0 if valid else kernel_size // 2 * dilation,
            dilation=dilation,
            bias=not norm,
        )
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu" if relu else "linear")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        layers = [conv, build_norm(norm, out_channels)]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, as in U-Net (Ronneberger et al. 2015, arXiv:1505.04597)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        valid: bool = False,
        norm: str = "BN",
    ):
        rest: dict[str, Any] = {"dilation": dilation, "valid": valid, "norm": norm}
        super().__init__(
            ConvBlock(in_channels, out_channels, stride=stride, **rest),
            ConvBlock(out_channels, out_channels, **rest),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut: the basic block of He et al. 2016 (1512.03385)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: str = "BN",
    ):
        super().__init__()
        self.convs = nn.Sequential(
            ConvBlock(in_channels, out_channels, stride=stride, dilation=dilation, norm=norm),
            ConvBlock(out_channels, out_channels, dilation=dilation, norm=norm, relu=False),
        )
        self.stride = stride
        same = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity()
            if same
            else ConvBlock(in_channels, out_channels, kernel_size=1, norm=norm, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        # Equal to a 1x1 convolution of this stride. That one, in channels_last with fewer than 16
        # channels, writes past its memory in the backward pass of torch 2.14 on AVX512 CPUs.
        shortcut = self.shortcut(x[..., :: self.stride, :: self.stride])
        return F.relu(self.convs(x) + shortcut, inplace=True)


BLOCKS: dict[str, type[DoubleConv] | type[ResidualBlock]] = {
    "double_conv": DoubleConv,
    "residual": ResidualBlock,
}


class UpBlock(nn.Module):
    """One decoder level: doubles the coarser map, joins the encoder's feature, convolves."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        skip: str = "concat",
        upsample: str = "transposed",
        num_convs: int = 2,
        valid: bool = False,
        norm: str = "BN",
    ):
        """Builds the layers of one level.

        Args:
            in_channels: of the coarser map.
            skip_channels: of the encoder's feature at this level.
            out_channels: of the result.
            skip: "concat"; "add", through 1x1 convolutions where channels differ; or "none".
            upsample: "transposed" (2x2 transposed convolution); "bilinear"; "bilinear_conv"
                (bilinear, then a 3x3 convolution; Odena et al. 2016, against checkerboards); or
                "pixel_shuffle" (a 3x3 convolution yields the four cells of each; Shi et al. 2016,
                arXiv:1609.05158).
            num_convs: 3x3 convolutions after the join, at least 1.
            valid: these are not padded, and the join is cut out of the middle of the feature.
            norm: see `build_norm`.

        Raises:
            ConfigError: an unknown name, or no convolution.
        """
        super().__init__()
        check_choice("skip connection", skip, SKIPS)
        if num_convs < 1:
            raise ConfigError(f"a decoder level needs at least 1 convolution, found {num_convs}")
        self.skip = skip
        self.up, width = _build_upsample(upsample, in_channels, out_channels, keep=skip != "add")
        self.lateral = _conv1x1(skip_channels, width) if skip == "add" else nn.Identity()
        joined = width + skip_channels if skip == "concat" else width
        inputs = [joined, *[out_channels] * (num_convs - 1)]
        self.valid = valid
        self.convs = nn.Sequential(
            *(ConvBlock(i, out_channels, valid=valid, norm=norm) for i in inputs)
        )

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """Goes one level up.

        Args:
            x: (N, in_channels, H', W'), the coarser map, where H' is about H / 2.
            feature: (N, skip_channels, H, W); gives the size even where it is not joined. If the
                level is `valid`, H is at least 2 H' and only the middle is joined.

        Returns:
            (N, out_channels, H, W); if `valid`, what the convolutions leave of 2 H' x 2 W'.
        """
        x = self.up(x)
        if self.valid:
            feature = cut_middle(feature, x.shape[-2], x.shape[-1])
        else:
            x = fit_size(x, feature.shape[-2], feature.shape[-1])
        if self.skip == "concat":
            x = torch.cat([x, feature], dim=1)
        elif self.skip == "add":
            x = x + self.lateral(feature)
        return self.convs(x)


def fit_size(x: Tensor, height: int, width: int) -> Tensor:
    """Crops (N, C, H, W) at the bottom and right, or repeats the last row and column.

    The top left corner stays in place: rescaling would shift the map against the image.
    """
    x = x[..., :height, :width]
    missing = (width - x.shape[-1], height - x.shape[-2])
    if missing == (0, 0):
        return x
    return F.pad(x, (0, missing[0], 0, missing[1]), mode="replicate")


def cut_middle(x: Tensor, height: int, width: int) -> Tensor:
    """The middle of (N, C, H, W), as U-Net crops its skips; H - height and W - width are even."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


def _build_upsample(
    name: str, in_channels: int, out_channels: int, *, keep: bool
) -> tuple[nn.Module, int]:
    """The layer that doubles a map, and the channels that it yields.

    "bilinear" keeps the input's channels, unless `keep` is off because a sum needs others.
    """
    check_choice("upsampling", name, UPSAMPLES)
    if name == "transposed":
        up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        # Windows do not overlap: each output cell is a sum over `in_channels` values.
        nn.init.normal_(up.weight, std=in_channels**-0.5)
        assert up.bias is not None
        nn.init.zeros_(up.bias)
        return up, out_channels
    if name == "pixel_shuffle":
        return _build_pixel_shuffle(in_channels, out_channels), out_channels
    double = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    if name == "bilinear_conv":
        conv = ConvBlock(in_channels, out_channels, norm="", relu=False)
        return nn.Sequential(double, conv), out_channels
    if keep:
        return double, in_channels
    # A 1x1 convolution and interpolation commute; before it costs a quarter.
    return nn.Sequential(_conv1x1(in_channels, out_channels), double), out_channels


def _build_pixel_shuffle(in_channels: int, out_channels: int) -> nn.Module:
    """A convolution to the four cells of each, which at the start are equal.

    So that no checkerboard is there to be unlearnt (Aitken et al. 2017, arXiv:1707.02937).
    """
    conv = ConvBlock(in_channels, 4 * out_channels, norm="", relu=False)
    weight = conv[0].weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():  # output channel 4 c + i is cell i of channel c
        weight.copy_(weight[::4].repeat_interleave(4, dim=0))
    return nn.Sequential(conv, nn.PixelShuffle(2))


def _conv1x1(in_channels: int, out_channels: int) -> nn.Module:
    if in_channels == out_channels:
        return nn.Identity()
    return ConvBlock(in_channels, out_channels, kernel_size=1, norm="", relu=False)
