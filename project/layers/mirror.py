"""Mirrored surroundings for networks of unpadded convolutions, and how much of them is needed.

The overlap-tile strategy of Ronneberger et al. 2015 (arXiv:1505.04597): what a network of `valid`
convolutions eats from the sides is put there before, as the image's mirror.

Legend: D levels, the first at the image's size, each of the others half as large as the one before;
a level's convolutions eat `down` cells of an axis on the way down (both sides together) and `up` on
the way up, at all levels but the coarsest.
"""

import torch
from torch import Tensor


def eaten(depth: int, down: int, up: int) -> int:
    """Pixels of an axis by which the output is smaller than the input.

        down * (1 + 2 + ... + 2^(D-1)) + up * (1 + 2 + ... + 2^(D-2))

    Args:
        depth: D, at least 1.
        down: cells a level, 4 for two 3x3 convolutions.
        up: cells a level.

    Returns:
        184 for the published U-Net: 572 in, 388 out.
    """
    return down * (2**depth - 1) + up * (2 ** (depth - 1) - 1)


def input_size(output: int, depth: int, down: int, up: int) -> int:
    """Smallest input of which every level halves evenly and at least `output` pixels are left.

    Args:
        output: pixels wanted, at least 1.
        depth: D.
        down: see `eaten`.
        up: see `eaten`.
    """
    step = 2 ** (depth - 1)
    coarsest = -(-(output + up * (step - 1)) // step)  # cells left at the coarsest level
    return coarsest * step + down * (2 * step - 1)


def mirror(x: Tensor, before: int, height: int, width: int) -> Tensor:
    """Surrounds a map with its mirror, again and again where the map is smaller than that.

    Args:
        x: (N, C, H, W).
        before: rows above and columns to the left.
        height: of the result, at least before + H.
        width: of the result, at least before + W.

    Returns:
        (N, C, height, width). The outermost row or column is the mirror and is not doubled, as in
        NumPy's and torch's mode "reflect".
    """
    for axis, size in ((2, height), (3, width)):
        x = x.index_select(axis, _mirrored(x.shape[axis], before, size, x.device))
    return x


def _mirrored(size: int, before: int, total: int, device: torch.device) -> Tensor:
    """Which of `size` cells stands at each of `total` places, the first of them at `before`."""
    if size == 1:
        return torch.zeros(total, dtype=torch.long, device=device)
    period = 2 * (size - 1)
    place = torch.arange(-before, total - before, device=device).remainder(period)
    return torch.minimum(place, period - place)
