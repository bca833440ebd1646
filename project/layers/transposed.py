"""Transposed convolution of 2 x 2 with stride 2 as one matrix product, on a CPU.

Its outputs do not overlap: each pixel is multiplied by a matrix, and yields the 4 pixels that take
its place. oneDNN's general operator, forwards and backwards in bfloat16 on one AVX512 core, takes
1.3 to 2.4 times as long (the mask head of the demo 13.6 ms against 5.7, the U-Net's four 129 ms
against 83); in float32 1 to 1.6 times.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Transposed2x2(nn.ConvTranspose2d):
    """The layer that it replaces, with the same weights under the same names."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) -> (N, K, 2H, 2W), in channels_last."""
        if output_size is not None or x.dim() != 4 or x.device.type != "cpu":
            return super().forward(x, output_size)
        n, c, height, width = x.shape
        k = self.out_channels
        weight = self.weight.permute(2, 3, 1, 0).reshape(4 * k, c)
        bias = None if self.bias is None else self.bias.repeat(4)
        y = F.linear(x.permute(0, 2, 3, 1).reshape(-1, c), weight, bias)
        y = y.view(n, height, width, 2, 2, k).transpose(2, 3)
        return y.reshape(n, 2 * height, 2 * width, k).permute(0, 3, 1, 2)


def replace_transposed(module: nn.Module) -> None:
    """Lets torch's layers of that kind below `module` compute so, in place."""
    for child in module.modules():
        if type(child) is nn.ConvTranspose2d and _is_plain(child):
            child.__class__ = Transposed2x2


def _is_plain(layer: nn.ConvTranspose2d) -> bool:
    pairs = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding, layer.dilation)
    return layer.groups == 1 and pairs == ((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))
