"""Where the tiles of a large image lie, and how much of each pixel's label is theirs."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

# Tiles start at multiples of the stride of usual backbones' coarsest features, so that strided
# convolutions and pooling take the same pixels together as in the whole image.
ALIGNMENT = 32


@dataclass(frozen=True)
class Tile:
    """A part of an image, pixels; `bottom` and `right` are outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


def spans(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Cuts a side of an image into parts that overlap.

    Args:
        length: of the side.
        size: of a part; the last may be a little smaller.
        overlap: of neighbours, at least; up to `size - ALIGNMENT`.

    Returns:
        (first, end) of each part.
    """
    if length <= size:
        return [(0, length)]
    step = (size - overlap) // ALIGNMENT * ALIGNMENT
    # The last part has nearly its full size too, for the sake of what is seen around its pixels.
    last = -(-(length - size) // ALIGNMENT) * ALIGNMENT
    return [(first, min(first + size, length)) for first in (*range(0, last, step), last)]


def tile_rows(height: int, width: int, size: int, overlap: int) -> list[list[Tile]]:
    """The tiles of an image, row by row; see `spans`."""
    across = spans(width, size, overlap)
    return [
        [Tile(top, left, bottom, right) for left, right in across]
        for top, bottom in spans(height, size, overlap)
    ]


def overlapping(tiles: list[Tile]) -> list[tuple[int, int]]:
    """Numbers (i, j), i < j, of tiles that share pixels."""
    edges = torch.tensor([(t.top, t.left, t.bottom, t.right) for t in tiles])
    top, left, bottom, right = (edge[:, None] for edge in edges.unbind(1))
    down = torch.maximum(top, top.T) < torch.minimum(bottom, bottom.T)
    shared = down & (torch.maximum(left, left.T) < torch.minimum(right, right.T))
    return [(i, j) for i, j in shared.triu(1).nonzero().tolist()]


@lru_cache(maxsize=8)
def gaussian_weights(height: int, width: int) -> Tensor:
    """(height, width) weights of a tile's pixels: a Gaussian, deviation an eighth of the side.

    The centre, where most of what surrounds a pixel is seen, counts most (as in nnU-Net, Isensee et
    al. 2021, doi:10.1038/s41592-020-01008-z).
    """
    down, across = (
        torch.exp(-((torch.arange(n) - (n - 1) / 2) ** 2) / (2 * (n / 8) ** 2))
        for n in (height, width)
    )
    return down[:, None] * across


class BlendedLabels:
    """Blends the scores of tiles to label maps, holding scores of one row of tiles only.

    K classes of which the first S are stuff, H x W pixels of the image, h x w of a tile.

    Attributes:
        labels: (H, W) uint8, the likeliest class of every pixel, up to the row of `finish`.
        stuff: (H, W) uint8, the likeliest of the first S classes; None where S is 0.
    """

    def __init__(self, height: int, width: int, num_stuff: int = 0) -> None:
        """Starts with no tile."""
        self.labels = torch.zeros(height, width, dtype=torch.uint8)
        self.stuff = torch.zeros(height, width, dtype=torch.uint8) if num_stuff else None
        self._num_stuff = num_stuff
        self._top = 0  # row of the image where the strip begins
        self._strip = torch.zeros(0)  # (K, rows, W) sums of weighted probabilities

    def add(self, scores: Tensor, tile: Tile) -> None:
        """Adds a tile of the present row of tiles.

        Args:
            scores: (K, h, w) logits, or probabilities as their logarithms.
            tile: where they belong.
        """
        width = self.labels.shape[1]
        missing = tile.bottom - self._top - (self._strip.shape[1] if self._strip.dim() > 1 else 0)
        if missing > 0:
            rows = scores.new_zeros(len(scores), missing, width)
            self._strip = torch.cat([self._strip, rows], 1) if self._strip.dim() > 1 else rows
        # Each pixel's probabilities sum to 1, so no tile speaks louder than its weight.
        share = scores.softmax(dim=0) * gaussian_weights(*tile.size).to(scores)
        self._strip[:, tile.top - self._top : tile.bottom - self._top, tile.left : tile.right] += (
            share
        )

    def finish(self, row: int) -> None:
        """Decides on all rows of the image above `row`, which no further tile reaches."""
        count = row - self._top
        done = self._strip[:, :count]
        # max() finds the same indices as argmax(), on CPUs several times as fast.
        self.labels[self._top : row] = done.max(dim=0).indices.to("cpu", torch.uint8)
        if self.stuff is not None:
            self.stuff[self._top : row] = (
                done[: self._num_stuff].max(dim=0).indices.to("cpu", torch.uint8)
            )
        self._strip = self._strip[:, count:].clone()
        self._top = row
