"""Masks of boxes brought to the size of the image, in windows about the boxes.

Detectron2's `paste_masks_in_image` samples the mask at every pixel of a box by four neighbours and
writes it into a map of the image's size. On a grid of rows and columns that is two matrix products,
rows times mask times columns (the idea of `project.layers.separable`), and nobody needs the map:
75 masks in an image of 480 x 640 take 18 ms there and 3 ms here (`tools/benchmark.py rle`).

The masks are Detectron2's to the last bit. The products differ from its sampler by less than
`_DOUBT` a cell of the mask; pixels that come so near to the threshold are asked of the sampler.

N masks of M x M cells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.layers import paste_masks_in_image
from detectron2.structures import Boxes, ROIMasks
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from project.data.mask_windows import MaskWindows
from project.data.rle_encoding import line_starts

_THRESHOLD = 0.5
# Of values from 0 to 1, a cell of M. A coordinate, up to M, carries up to 4 roundings of 2**-24 of
# it on either side, in both directions: 2**-20 in all. The rest is for good measure.
_DOUBT = 2.0**-18
_CELLS = 2**22  # pixels of windows at a time, a bound of memory
_PRODUCTS = 2**18  # of numbers, where OpenBLAS begins to use several threads
_FEW = 32  # doubtful pixels of a mask


class WindowedMasks(ROIMasks):
    """Masks of boxes that `detector_postprocess` makes into `MaskWindows`, not into maps."""

    def __getitem__(self, item: Any) -> "WindowedMasks":
        return WindowedMasks(super().__getitem__(item).tensor)

    def to(self, device: Any) -> "WindowedMasks":
        """As of the base class."""
        return WindowedMasks(self.tensor.to(device))

    def to_bitmasks(
        self, boxes: Tensor | Boxes, height: int, width: int, threshold: float = _THRESHOLD
    ) -> "_Pasted":
        """See `paste_masks`."""
        assert threshold == _THRESHOLD, threshold
        corners = boxes.tensor if isinstance(boxes, Boxes) else boxes
        return _Pasted(paste_masks(self.tensor, corners, (height, width)))


@dataclass(frozen=True)
class _Pasted:
    """In place of `BitMasks`, of which only the `tensor` is wanted."""

    tensor: Tensor | MaskWindows


@contextmanager
def windowed_masks(model: nn.Module) -> Iterator[None]:
    """Within, models that can yield `pred_masks` as `MaskWindows` do so.

    Args:
        model: has the attribute `windowed_masks`, or not; may be wrapped for several ranks.
    """
    model = getattr(model, "module", model)
    able = hasattr(model, "windowed_masks")
    if able:
        model.windowed_masks = True
    try:
        yield
    finally:
        if able:
            model.windowed_masks = False


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor | MaskWindows:
    """Brings masks to the size of the image.

    Args:
        masks: (N, M, M) float, the likelihood of each cell of the box.
        boxes: (N, 4) XYXY, pixels.
        size: (height, width) of the image.

    Returns:
        What Detectron2 would yield, as windows; its own (N, height, width) bool where it computes
        on another device, in another precision, or with numbers that are not finite.
    """
    if not _is_plain(masks) or not _is_plain(boxes):
        return paste_masks_in_image(masks, boxes, size, threshold=_THRESHOLD)
    cells, sides = masks.detach().numpy(), boxes.detach().numpy()
    windows: list[np.ndarray] = []
    lines: list[np.ndarray] = []
    axes = [_Axis.of(sides[:, [1, 3]], size[0]), _Axis.of(sides[:, [0, 2]], size[1])]
    areas = np.cumsum(axes[0].lengths * axes[1].lengths)
    groups = np.flatnonzero(np.diff(areas // _CELLS)) + 1
    for part in np.split(np.arange(len(sides)), groups):
        if len(part):
            found, line = _paste(cells[part], *(axis.part(part) for axis in axes))
            windows += found
            lines.append(line)
    corners = list(zip(axes[0].firsts.tolist(), axes[1].firsts.tolist()))
    return MaskWindows(windows, corners, size, lines[0] if len(lines) == 1 else None)


def _is_plain(values: Tensor) -> bool:
    # NumPy does it on one thread: of so little, several lose more in waiting for each other.
    plain = values.device.type == "cpu" and values.dtype == torch.float32
    return plain and bool(np.isfinite(values.detach().numpy()).all())


@dataclass(frozen=True)
class _Axis:
    """The rows (or the columns) of all windows.

    Attributes:
        firsts: (N,) the first row of each.
        lengths: (N,) how many.
        sides: (N, 2) float32 where the boxes begin and end.
    """

    firsts: np.ndarray
    lengths: np.ndarray
    sides: np.ndarray

    @classmethod
    def of(cls, sides: np.ndarray, limit: int) -> "_Axis":
        """Those that Detectron2 looks at: a pixel more than the box, within the image."""
        firsts = np.clip(np.floor(sides[:, 0]) - 1, 0, limit).astype(np.int64)
        ends = np.clip(np.ceil(sides[:, 1]) + 1, 0, limit).astype(np.int64)
        return cls(firsts, np.maximum(ends - firsts, 0), sides)

    def part(self, chosen: np.ndarray) -> "_Axis":
        """Those of some masks."""
        return _Axis(self.firsts[chosen], self.lengths[chosen], self.sides[chosen])

    def coordinates(self, more: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows lie within their boxes, -1 to 1, as Detectron2 computes it.

        Args:
            more: rows after those of each mask, which lie nowhere.

        Returns:
            (L,) float32 of all masks, one after the other, and (N + 1,) where each one begins.
        """
        lengths = self.lengths + more
        starts = np.concatenate([[0], np.cumsum(lengths)])
        owners = np.repeat(np.arange(len(lengths)), lengths)
        within = np.arange(starts[-1]) - starts[owners]
        begin, end = self.sides[owners].T
        pixels = (self.firsts[owners] + within).astype(np.float32) + np.float32(0.5)
        places = (pixels - begin) / (end - begin) * np.float32(2) - np.float32(1)
        places[within >= self.lengths[owners]] = -9
        return places, starts


def _paste(masks: np.ndarray, rows: _Axis, columns: _Axis) -> tuple[list[np.ndarray], np.ndarray]:
    """(w, h) bool windows, and the line that they are parts of."""
    cells = masks.shape[-1]
    # A row of zeros after those of each mask, for `encode_line`.
    (ys, y_starts), (xs, x_starts) = rows.coordinates(1), columns.coordinates(0)
    across, down = _weights(xs, cells), _weights(ys, cells)
    starts = line_starts(np.stack([columns.lengths, rows.lengths], axis=1))
    line, doubted = (np.zeros(int(starts[-1]), dtype=bool) for _ in range(2))
    doubt = np.float32(_DOUBT * cells * max(1.0, float(np.abs(masks).max())))
    sure, likely = _THRESHOLD + doubt, _THRESHOLD - doubt
    values = np.empty(int(np.diff(starts).max()), dtype=np.float32)  # of one mask, kept in cache
    places = zip(*(edges.tolist() for edges in (starts, y_starts, x_starts)))
    begin, y0, x0 = next(places)
    windows = []
    for mask, (end, y1, x1) in zip(masks, places):
        shape = x1 - x0, y1 - y0
        out = values[: end - begin]
        _multiply(_multiply(across[x0:x1], mask.T), down[y0:y1].T, out.reshape(shape))
        np.greater_equal(out, sure, out=line[begin:end])
        np.greater_equal(out, likely, out=doubted[begin:end])
        windows.append(line[begin:end].reshape(shape)[:, :-1])
        begin, y0, x0 = end, y1, x1
    np.not_equal(line, doubted, out=doubted)
    unsure = np.flatnonzero(doubted)
    if len(unsure):
        owners = np.searchsorted(starts, unsure, side="right") - 1
        column, row = np.divmod(unsure - starts[owners], rows.lengths[owners] + 1)
        grid = np.stack([xs[x_starts[owners] + column], ys[y_starts[owners] + row]], axis=1)
        line[unsure] = _sample(masks, owners, torch.from_numpy(grid)).numpy() >= _THRESHOLD
    return windows, line


def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Matrix product in pieces so small that OpenBLAS uses one thread, as `_is_plain` says."""
    if out is None:
        out = np.empty((len(a), b.shape[1]), dtype=np.float32)
    if len(a) * b.size <= _PRODUCTS:
        return np.matmul(a, b, out=out)
    step = max(1, _PRODUCTS // b.size)
    for row in range(0, len(a), step):
        np.matmul(a[row : row + step], b, out=out[row : row + step])
    return out


def _weights(places: np.ndarray, cells: int) -> np.ndarray:
    """(L,) places from -1 to 1 -> (L, M) float32 weights of the cells; they are tents."""
    at = (places + np.float32(1)) * np.float32(cells / 2) - np.float32(0.5)
    weights = at[:, None] - np.arange(cells, dtype=np.float32)
    np.abs(weights, out=weights)
    np.subtract(np.float32(1), weights, out=weights)
    return np.maximum(weights, 0, out=weights)


def _sample(masks: np.ndarray, owners: np.ndarray, grid: Tensor) -> Tensor:
    """(P,) the values of Detectron2's own sampler at P places.

    Args:
        masks: (N, M, M).
        owners: (P,) whose place it is, rising.
        grid: (P, 2) float32 x and y, -1 to 1.
    """
    chosen, firsts, numbers = np.unique(owners, return_index=True, return_counts=True)
    values = torch.empty(len(owners))
    few = numbers <= _FEW
    if few.any():
        # One call for all of them, with places that nobody asks for.
        position = np.arange(len(owners)) - np.repeat(firsts, numbers)
        asked = np.repeat(few, numbers)
        table = np.repeat(np.cumsum(few) - 1, numbers)[asked], position[asked]
        places = torch.zeros(int(few.sum()), 1, _FEW, 2)
        places[:, 0][table] = grid[asked]
        theirs = torch.from_numpy(masks[chosen[few], None])
        sampled = grid_sample(theirs, places, align_corners=False)
        values[asked] = sampled[:, 0, 0][table]
    for owner, first, number in zip(chosen[~few], firsts[~few], numbers[~few]):
        places = grid[first : first + number].view(1, 1, -1, 2)
        own = torch.from_numpy(masks[owner, None, None])
        sampled = grid_sample(own, places, align_corners=False)
        values[first : first + number] = sampled[0, 0, 0]
    return values
