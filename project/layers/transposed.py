"""Transposed convolution of 2 x 2 with stride 2 as one matrix product, in bfloat16 on a CPU.

Its outputs do not overlap: each pixel is multiplied by a matrix, and yields the 4 pixels that take
its place. Forwards and backwards oneDNN's general operator takes 1.3 to 2.4 times as long on one
machine with AVX512 (the mask head of the demo 13.6 ms against 5.7), and up to 1.4 times on another,
which multiplies quicker. It is better in float32 there (48 ms against 62, of 100 masks of 256
channels), and everywhere for a small map of many channels, where the weights cost more than the
pixels. As a convolution of 1 x 1 the product takes oneDNN two thirds of the time that BLAS takes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Weights a pixel, above which the general operator is better: of 1,024 x 512 channels at 16 x 16
# pixels it takes 8.5 ms and the product 13, of 512 x 256 at 32 x 32 both take 6.
_MOST_WEIGHTS = 512


class Transposed2x2(nn.ConvTranspose2d):
    """The layer that it replaces, with the same weights under the same names."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) -> (N, K, 2H, 2W), in channels_last."""
        if output_size is not None or not self._gains(x):
            return super().forward(x, output_size)
        n, c, height, width = x.shape
        k = self.out_channels
        weight = self.weight.permute(2, 3, 1, 0).reshape(4 * k, c, 1, 1)
        bias = None if self.bias is None else self.bias.repeat(4)
        y = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, bias)
        y = y.permute(0, 2, 3, 1).reshape(n, height, width, 2, 2, k).transpose(2, 3)
        return y.reshape(n, 2 * height, 2 * width, k).permute(0, 3, 1, 2)

    def _gains(self, x: Tensor) -> bool:
        if x.dim() != 4 or x.device.type != "cpu":
            return False
        lowered = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if lowered else x.dtype
        weights = self.in_channels * self.out_channels
        return dtype == torch.bfloat16 and weights <= _MOST_WEIGHTS * x[:, 0].numel()


def replace_transposed(module: nn.Module) -> None:
    """Lets torch's layers of that kind below `module` compute so, in place."""
    for child in module.modules():
        if type(child) is nn.ConvTranspose2d and _is_plain(child):
            child.__class__ = Transposed2x2


def _is_plain(layer: nn.ConvTranspose2d) -> bool:
    pairs = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding, layer.dilation)
    return layer.groups == 1 and pairs == ((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))
