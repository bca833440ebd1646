"""Enlarging maps by a whole factor, so that cell (0, 0) stays at the top left.

Legend: N images, C channels, h x w cells, factor r.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bilinear(nn.Module):
    """(N, C, h, w) -> (N, C, r h, r w), with the centres of cells in their place."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


def bilinear_transposed(channels: int, factor: int) -> nn.Module:
    """A transposed convolution that starts as bilinear enlargement of each channel, and learns.

    After Long et al. 2015 (arXiv:1411.4038). Beyond the map's border it sees zeros, so the outer
    half cell starts darker than `Bilinear` has it.

    Args:
        channels: of input and output.
        factor: r; 1 gives the identity.
    """
    if factor == 1:
        return nn.Identity()
    size = 2 * factor - factor % 2
    padding = (size - factor) // 2
    up = nn.ConvTranspose2d(channels, channels, size, stride=factor, padding=padding, bias=False)
    place = torch.arange(size) - (size - 1) / 2
    tent = 1 - place.abs() / factor
    with torch.no_grad():
        up.weight.zero_()
        up.weight[range(channels), range(channels)] = tent[:, None] * tent
    return up
