"""3x3 convolutions in float32 with a quarter of the multiplications, for prediction on a CPU.

F(4x4, 3x3) of Lavin and Gray 2016 (arXiv:1509.09308): tiles of 4 x 4 outputs are the transform of
36 products, where a convolution has 144. oneDNN has the algorithm for ARM alone, and torch asks it
for the direct one everywhere (uxlfoundation/oneDNN pull request 3139).

Here the transforms of a tile's two axes are one product with a 36 x 36 matrix, and what is between
them is a batch of 36 products, so all of it is BLAS. Tiles are worked on by the few hundred, which
the last cache holds. Whether it is quicker depends on the processor: with 256 channels the direct
convolution takes 1.4 to 1.9 times as long on two cores of one AVX512 machine, and the same time on
two of another, where it reaches 240 of 1e9 operations a second and core. So a trial of a tenth of a
second decides (`tools/benchmark.py infer` has a whole model beside stock). Errors are 3e-5 where
values are about 1, the direct one's 6e-6; they follow the largest input of a tile, so one of 1e5
spoils its neighbours' results by 3e-3.

Legend: N images, C inputs, K outputs, H x W pixels, A x B tiles of an image, T tiles at once.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from statistics import median

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from torch import Tensor, nn

_CHUNK = 256  # tiles at once
_MEASURED = ("AVX2", "AVX512")
_LEAST_CHANNELS = 128  # from here on it can be quicker ...
_LEAST_TILES = 4  # ... for so many tiles
# The trial: a map of a photograph's fourth stage; far enough from 1 for the same answer every time.
_TRIAL = (1, 256, 32, 40)
_LEAST_RATIO = 1.2
# Section 4.3 of the paper: what takes inputs, weights and products to where they are wanted.
_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_WEIGHT = torch.tensor(
    [
        [6, 0, 0],
        [-4, -4, -4],
        [-4, 4, -4],
        [1, 2, 4],
        [1, -2, 4],
        [0, 0, 24],
    ],
    dtype=torch.float64,
)
_WEIGHT /= 24
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)
_INPUTS = torch.kron(_INPUT, _INPUT).float()  # (36, 36), both axes at once
_OUTPUTS = torch.kron(_OUTPUT, _OUTPUT).float()  # (16, 36)


def use_winograd(module: nn.Module) -> None:
    """Lets the convolutions below `module` that gain by it compute so, in place.

    Weights keep their names and values; a transformed copy, four times their size, is kept beside.

    Args:
        module: float32, on an x86 CPU; on others, which nobody has measured, and where a trial says
            that nothing is gained, all stays. No other weights must come into it afterwards.
    """
    if torch.backends.cpu.get_cpu_capability() not in _MEASURED:
        return
    convs: list[nn.Conv2d] = [
        child
        for child in module.modules()
        if isinstance(child, nn.Conv2d) and type(child) in (nn.Conv2d, Conv2d) and _gains(child)
    ]
    if not convs or not is_quicker(torch.get_num_threads()):
        return
    for conv in convs:
        weight = transform_weight(conv.weight)
        conv.forward = partial(  # type: ignore[method-assign]
            _forward, conv, weight
        )


@cache
@torch.no_grad()
def is_quicker(threads: int) -> bool:
    """Whether this processor gains by it, by the median of five turns.

    Args:
        threads: that torch has, which it keeps.
    """
    channels = _TRIAL[1]
    x = torch.rand(_TRIAL).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    ways = (
        partial(F.conv2d, x, weight, padding=1),
        partial(convolve, x, transform_weight(weight), None),
    )
    ratios = []
    for _ in range(6):  # the first is no turn: memory and kernels are made in it
        direct, ours = (_seconds(way) for way in ways)
        ratios.append(direct / ours)
    return median(ratios[1:]) >= _LEAST_RATIO


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def transform_weight(weight: Tensor) -> Tensor:
    """The weight (K, C, 3, 3) as (36, C, K), for `convolve`."""
    both = torch.einsum("ia,kcab,jb->ijck", _WEIGHT, weight.detach().double(), _WEIGHT)
    return both.reshape(36, *both.shape[2:]).to(weight.dtype).contiguous()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """A convolution of 3 x 3 with stride 1 and one pixel of zeros around.

    Args:
        x: (N, C, H, W) float32, at its best in channels_last.
        weight: (36, C, K) of `transform_weight`.
        bias: (K,).
        relu: whether negative results become 0.

    Returns:
        (N, K, H, W) in channels_last.
    """
    n, c, height, width = x.shape
    a, b, k = -(-height // 4), -(-width // 4), weight.shape[2]
    padded = x.new_empty(n, 4 * a + 2, 4 * b + 2, c)
    inner = padded[:, 1 : height + 1]
    inner[:, :, 1 : width + 1] = x.permute(0, 2, 3, 1)
    for border in (padded[:, 0], padded[:, height + 1 :], inner[:, :, 0], inner[:, :, width + 1 :]):
        border.zero_()
    image, row, pixel, _ = padded.stride()
    # Overlapping tiles of 6 x 6 without a copy; reshape makes that of a part.
    tiles = padded.as_strided((n, a, b, 6, 6, c), (image, 4 * row, 4 * pixel, row, pixel, 1))
    out = x.new_empty(n, height, width, k)
    by_tiles = out.view(n, a, 4, b, 4, k) if out.shape[1:3] == (4 * a, 4 * b) else None
    images = max(1, _CHUNK // max(1, a * b))
    rows = a if images > 1 else max(1, _CHUNK // b)
    for i in range(0, n, images):
        for r in range(0, a, rows):
            part = tiles[i : i + images, r : r + rows]
            inputs = _times(_INPUTS, part.reshape(-1, 36, c))  # (T, 36, C)
            products = torch.bmm(inputs.transpose(0, 1), weight)  # (36, T, K)
            outputs = _times(_OUTPUTS, products.transpose(0, 1))  # (T, 16, K)
            if bias is not None:
                outputs += bias
            if relu:
                outputs.relu_()
            outputs = outputs.view(*part.shape[:3], 4, 4, k).transpose(2, 3)
            if by_tiles is not None:
                by_tiles[i : i + images, r : r + rows] = outputs
            else:
                whole = outputs.reshape(len(part), -1, 4 * b, k)[:, : height - 4 * r, :width]
                out[i : i + images, 4 * r : 4 * (r + rows)] = whole
    return out.permute(0, 3, 1, 2)


def _times(matrix: Tensor, batch: Tensor) -> Tensor:
    """As a batch, for BLAS computes one such product, flat and wide, on one thread."""
    return torch.bmm(matrix.expand(len(batch), *matrix.shape), batch)


def _gains(conv: nn.Conv2d) -> bool:
    shape = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    plain = shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and conv.padding_mode == "zeros"
    return plain and min(conv.in_channels, conv.out_channels) >= _LEAST_CHANNELS


def _forward(conv: nn.Conv2d, weight: Tensor, x: Tensor) -> Tensor:
    if not _is_fit(x, weight) or torch.is_autocast_enabled("cpu"):
        return type(conv).forward(conv, x)
    if not isinstance(conv, Conv2d):
        return convolve(x, weight, conv.bias)
    if conv.norm is None and (conv.activation is F.relu or type(conv.activation) is nn.ReLU):
        return convolve(x, weight, conv.bias, relu=True)
    x = convolve(x, weight, conv.bias)
    if conv.norm is not None:
        x = conv.norm(x)
    return x if conv.activation is None else conv.activation(x)


def _is_fit(x: Tensor, weight: Tensor) -> bool:
    same = x.dim() == 4 and x.dtype == weight.dtype and x.device == weight.device
    return same and x.shape[0] * -(-x.shape[2] // 4) * -(-x.shape[3] // 4) >= _LEAST_TILES
