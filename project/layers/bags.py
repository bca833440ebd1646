"""RoIAlign as sums over bags of cells, for maps that are too large for dense products.

A bin of a RoI is a weighted sum of the cells that its bilinear samples touch. Samples that share
cells are merged first, 9 or so cells a bin instead of 16, and the sums are torch's `embedding_bag`
over the map as a table of N * H * W rows of C numbers: the C numbers of a cell lie side by side and
are added by vector instructions on all threads. The gradient is the same with bins and cells
exchanged: a bag for each cell holds the bins that it adds to: no two threads write one cell.
`embedding_bag`'s own gradient orders the same pairs more slowly, and sparse products took twice as
long as bags.

For 1,000 RoIs of 7x7 bins on 120x160 cells of 256 channels torchvision's operator, whose backward
pass runs in one thread, takes 7.2 times as long forwards and 21.5 times forwards and backwards on
two AVX512 cores (`tools/benchmark.py roi-align --goals`).

Legend: N images, C channels, H x W cells of the feature map, R RoIs, P x Q output bins,
S samples a bin and axis, K pairs of a bin and a cell.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from project.layers import separable
from project.layers.separable import Grid, bin_weights

INDEX = np.int32  # counts cells, bins and pairs
# Pairs that are held at once, at some 40 bytes each; RoIs that make more are summed in parts.
MOST_PAIRS = 2**22


def bag_roi_align(features: Tensor, rois: Tensor, grid: Grid) -> Tensor:
    """`torchvision.ops.roi_align(..., aligned=True)` as sums over bags of cells.

    Equal to torchvision's up to the rounding of sums. For bfloat16 features weights are computed in
    float32 and rounded once, and sums are kept in float32.

    Args:
        features: (N, C, H, W); differentiated, once.
        rois: (R, 5): image in [0, N), x1, y1, x2, y2 in pixels; not differentiated.
        grid: bins and samples.

    Returns:
        (R, C, P, Q) in the features' dtype and in the channels_last format.

    Raises:
        IndexError: a RoI's image is not in [0, N).
    """
    images = rois[:, 0]
    if len(rois) and not 0 <= float(images.min()) <= float(images.max()) < len(features):
        raise IndexError(f"RoIs of images {images.unique().tolist()} in a batch of {len(features)}")
    dtype = features.dtype if features.dtype in separable.PRODUCT_DTYPES else torch.float32
    table = features.to(dtype).permute(0, 2, 3, 1)  # (N, H, W, C)
    with torch.no_grad():
        boxes = grid.cells(rois, features.dtype)
        parts = _divide(boxes, grid)
        pairs = [_pair(images[part], boxes[part], grid, table) for part in parts]
    pooled = [_BagSum.apply(table, matrix) for matrix in pairs]  # (R * P * Q, C)
    whole = pooled[0] if len(pooled) == 1 else torch.cat(pooled)
    whole = whole.view(len(rois), *grid.bins, features.shape[1])
    return whole.permute(0, 3, 1, 2).to(features.dtype)


def _divide(boxes: Tensor, grid: Grid) -> list[slice]:
    """Parts of RoIs that make about MOST_PAIRS at most, by cells that their bins may touch."""
    sides = boxes[:, 2:] - boxes[:, :2]
    bins = torch.tensor(grid.bins[::-1])
    most = torch.full_like(sides, 2 * grid.samples) if grid.samples else sides / bins + 2
    pairs = (torch.minimum(most.clamp(min=1), sides / bins + 2).clamp(min=1) * bins).prod(dim=1)
    part = (pairs.cumsum(0) / MOST_PAIRS).long()
    counts = part.unique_consecutive(return_counts=True)[1].tolist() or [0]
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts)]


class _Pairs(NamedTuple):
    """The sparse matrix (R * P * Q, N * H * W), row by row.

    Attributes:
        cells: (K,) column of each pair.
        weights: (K,).
        starts: (R * P * Q + 1,) first pair of each row.
    """

    cells: Tensor
    weights: Tensor
    starts: Tensor


def _pair(images: Tensor, boxes: Tensor, grid: Grid, table: Tensor) -> _Pairs:
    """By NumPy: torch would wake its threads for each of many short steps, and wait for them."""
    height, width = table.shape[1:3]
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    bins_y, bins_x = grid.bins
    rows = _Line(bin_weights(y1, y2, bins_y, grid.samples, height))
    columns = _Line(bin_weights(x1, x2, bins_x, grid.samples, width))
    image = images.detach().float().numpy().astype(INDEX)
    # A run is what one row of cells gives to one bin; the runs of a bin lie one after another.
    shape = (len(boxes), bins_y, bins_x)
    runs_of_bin = np.broadcast_to(rows.counts[:, :, None], shape).ravel()  # (R * P * Q)
    row = _ranges(np.broadcast_to(rows.starts[:, :, None], shape).ravel(), runs_of_bin)
    length = np.broadcast_to(columns.counts[:, None, :], shape).ravel()
    ends_of_bin = np.cumsum(runs_of_bin * length, dtype=INDEX)
    length = np.repeat(length, runs_of_bin)
    first = np.broadcast_to(columns.starts[:, None, :], shape).ravel()
    column = _ranges(np.repeat(first, runs_of_bin), length)  # (K,)
    base = np.repeat(image, rows.counts.sum(axis=1)) * height + rows.cells
    cells = np.repeat(base[row] * width, length) + columns.cells[column]
    weights = np.repeat(rows.weights[row], length) * columns.weights[column]
    return _Pairs(
        torch.from_numpy(cells),
        torch.from_numpy(weights).to(table.dtype),
        torch.from_numpy(np.concatenate([np.zeros(1, INDEX), ends_of_bin])),
    )


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ... (lengths[0] numbers), starts[1], ..."""
    ends = np.cumsum(lengths, dtype=INDEX)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total, dtype=INDEX)


class _Line:
    """Weights (R, bins, size) of one axis, without zeros.

    Attributes:
        counts: (R, bins) cells of each bin.
        starts: (R, bins) where its cells start.
        cells: of all bins.
        weights: of these.
    """

    def __init__(self, dense: Tensor) -> None:
        values = dense.numpy()
        size = values.shape[2]
        used = np.flatnonzero(values)
        self.weights = values.ravel()[used]
        bins, cells = np.divmod(used.astype(INDEX), INDEX(size))
        self.cells = cells
        counts = np.bincount(bins, minlength=values.shape[0] * values.shape[1]).astype(INDEX)
        self.counts = counts.reshape(values.shape[:2])
        self.starts = (np.cumsum(counts, dtype=INDEX) - counts).reshape(values.shape[:2])


class _BagSum(torch.autograd.Function):
    """Table (N, H, W, C) and pairs -> (R * P * Q, C)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, pairs: _Pairs) -> Tensor:
        ctx.save_for_backward(*pairs)
        ctx.shape = table.shape
        return _bag_sum(table.reshape(-1, table.shape[-1]), *pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cells, weights, starts = ctx.saved_tensors
        num_cells = ctx.shape[:3].numel()
        # By cell instead of by bin; a stable order makes the sums the same every time.
        _, order = cells.sort(stable=True)
        bins = np.repeat(np.arange(len(starts) - 1, dtype=INDEX), np.diff(starts.numpy()))
        ends = np.cumsum(np.bincount(cells.numpy(), minlength=num_cells), dtype=INDEX)
        by_cell = torch.from_numpy(np.concatenate([np.zeros(1, INDEX), ends]))
        rows = torch.from_numpy(bins)[order]
        summed = _bag_sum(grad.contiguous(), rows, weights[order], by_cell)
        return summed.view(ctx.shape), None


def _bag_sum(table: Tensor, rows: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
    if not len(rows):  # which `embedding_bag` takes for a mistake where the table is empty too
        return table.new_zeros(len(starts) - 1, table.shape[1])
    with torch.autocast("cpu", enabled=False):
        return F.embedding_bag(
            rows, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
