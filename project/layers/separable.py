"""RoIAlign as two matrix products.

With a fixed sampling ratio, RoIAlign (He et al., "Mask R-CNN", 2017, https://arxiv.org/abs/1703.06870)
averages bilinear samples on a regular grid, so rows and columns separate:

    out[r, p, q, c] = sum_x columns[r, q, x] * sum_y rows[r, p, y] * features[image(r), y, x, c]

Legend: N images, C channels, H x W cells of the feature map, R RoIs, P x Q output bins,
S samples a bin and axis.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from project.layers.cpu import has_fast_bfloat16

# Elements of the middle product that are held at once. More mean fewer calls, each of which may
# wait for a thread on a busy machine, but more padding and misses of the cache: of 2**19 to 2**22,
# from 4x4 to 64x64 cells, this was within a quarter of the quickest, on small maps within a tenth.
BLOCK_ELEMENTS = 2**21

# Other types are multiplied in float32.
PRODUCT_DTYPES = {torch.float32, torch.float64}
if has_fast_bfloat16():
    PRODUCT_DTYPES.add(torch.bfloat16)


class Grid(NamedTuple):
    """Bins and samples of RoIs.

    Attributes:
        bins: P and Q.
        scale: cells a pixel.
        samples: S; 0 takes as many as a bin has cells, of each RoI and axis, rounded up.
    """

    bins: tuple[int, int]
    scale: float
    samples: int

    def cells(self, rois: Tensor, dtype: torch.dtype) -> Tensor:
        """(R, 5) in pixels -> (R, 4) x1, y1, x2, y2 in cells, where 0 is the first cell's centre.

        They are in float32 or better, whatever the features' dtype.
        """
        return rois[:, 1:].to(torch.promote_types(dtype, torch.float32)) * self.scale - 0.5


def separable_roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """`torchvision.ops.roi_align(..., aligned=True)` as two matrix products.

    Equal to torchvision's up to the rounding of sums in float32 and float64. For bfloat16 features
    the weights are computed in float32 and, where the CPU multiplies bfloat16 quickly, rounded
    together with what lies between the products: relative to the largest feature the result is
    then off by up to about 2**-7, where torchvision's, rounded once, is off by up to 2**-9.

    Args:
        features: (N, C, H, W); differentiated, once.
        rois: (R, 5): image in [0, N), x1, y1, x2, y2 in pixels; not differentiated.
        output_size: P and Q.
        spatial_scale: cells a pixel.
        sampling_ratio: S; 0 takes torchvision's adaptive number.

    Returns:
        (R, C, P, Q) in the features' dtype and in the channels_last format, in which both products
        keep C innermost.

    Raises:
        IndexError: a RoI's image is not in [0, N).
    """
    images = rois[:, 0].long()
    if len(rois) and not 0 <= int(images.min()) <= int(images.max()) < len(features):
        raise IndexError(f"RoIs of images {images.unique().tolist()} in a batch of {len(features)}")
    (bins_y, bins_x), (channels, height, width) = output_size, features.shape[1:]
    most = max(1, BLOCK_ELEMENTS // (bins_y * width * channels))
    slots, blocks = _pack(images, len(features), most)
    with torch.no_grad():
        cells = Grid(output_size, spatial_scale, sampling_ratio).cells(rois, features.dtype)
        boxes = cells.new_zeros(blocks[-1].slots.stop if blocks else 0, 4)
        boxes[slots] = cells
        x1, y1, x2, y2 = boxes.unbind(dim=1)
        rows = bin_weights(y1, y2, bins_y, sampling_ratio, height)
        columns = bin_weights(x1, x2, bins_x, sampling_ratio, width)
    dtype = features.dtype if features.dtype in PRODUCT_DTYPES else torch.float32
    maps = features.to(dtype).permute(0, 2, 3, 1)
    pooled = _TwoProducts.apply(maps, rows.to(dtype), columns.to(dtype), slots, blocks)
    return pooled.permute(0, 3, 1, 2).to(features.dtype)  # (R, C, P, Q)


def bin_weights(start: Tensor, end: Tensor, bins: int, samples: int, size: int) -> Tensor:
    """What each cell of one axis adds to each bin of each RoI.

    By torchvision's rules a sample outside [-1, size] counts as zero, and one beyond the centre of
    a border cell takes that cell's value.

    Args:
        start: (R,) first edge in cells, where 0 is the centre of the first cell.
        end: (R,) second edge.
        bins: P or Q.
        samples: S; 0 takes as many as a bin has cells, rounded up.
        size: H or W.

    Returns:
        (R, bins, size) weights in `start`'s dtype; those of a bin inside the map sum to 1.
    """
    kind: dict[str, Any] = {"dtype": start.dtype, "device": start.device}
    bin_size = ((end - start) / bins)[:, None, None]
    # Torchvision's order of operations: a sample at exactly -1 or `size` must round as it does
    # there, since beyond these its value jumps to zero.
    at = start[:, None, None] + torch.arange(bins, **kind)[:, None] * bin_size
    if samples:
        number, own = torch.arange(samples, **kind), torch.tensor(samples, **kind)
    else:
        own = bin_size.ceil().clamp(min=1)  # a bin below 0 has none
        number = torch.arange(int(own.max()) if len(own) else 0, **kind)
    at = at + (number + 0.5) * bin_size / own  # (R, bins, S)
    counts = (at >= -1) & (at <= size)
    if not samples:
        counts &= (number < own) & (bin_size > 0)
    share = counts / own
    at = at.clamp(0, size - 1)
    low = at.floor()
    weight_high = (at - low) * share
    low = low.long()
    weights = torch.zeros(len(start), bins, size, **kind)
    weights.scatter_add_(2, low, share - weight_high)
    return weights.scatter_add_(2, (low + 1).clamp(max=size - 1), weight_high)


@dataclass(frozen=True)
class _Block:
    """Neighbouring images, and the slots of their RoIs: equally many for each image, in order."""

    images: slice
    slots: slice


def _pack(images: Tensor, num_images: int, most: int) -> tuple[Tensor, list[_Block]]:
    """Gives each RoI a slot, so that one batched product serves a block of images.

    Images of one block are padded to as many slots as the fullest has. A block has at most `most`
    slots; an image with more RoIs gets several blocks of its own.

    Args:
        images: (R,) each RoI's image, in any order.
        num_images: N.
        most: at least 1.

    Returns:
        (R,) each RoI's slot, and the blocks in the order of their slots.
    """
    counts = images.bincount(minlength=num_images).tolist()
    blocks: list[_Block] = []
    shifts: list[int] = []  # of each image: its first slot less the RoIs of the images before it
    first, slot, passed = 0, 0, 0
    while first < num_images:
        last, each = first + 1, counts[first]
        while last < num_images and (last + 1 - first) * max(each, counts[last]) <= most:
            each = max(each, counts[last])
            last += 1
        end = slot + (last - first) * each
        blocks += [
            _Block(slice(first, last), slice(begin, min(begin + most, end)))
            for begin in range(slot, end, most)
        ]
        for image in range(first, last):
            shifts.append(slot + (image - first) * each - passed)
            passed += counts[image]
        first, slot = last, end
    rank = images.argsort(stable=True).argsort()
    return images.new_tensor(shifts)[images] + rank, blocks


class _TwoProducts(torch.autograd.Function):
    """maps (N, H, W, C), rows (slots, P, H), columns (slots, Q, W), slots (R,) -> (R, P, Q, C).

    RoIs of an image share its map as the first product's right-hand side; plain autograd would
    copy the map for every RoI. The middle product, W / Q times as large as the result, is made
    block by block to stay in the cache, yet in few calls: on a busy machine each call into a
    threaded library may wait for a thread.
    Autocast is off inside: the caller's dtypes decide what is rounded, not the region in which
    forward or backward happens to run.
    """

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, rows: Tensor, columns: Tensor, slots: Tensor, blocks: list[_Block]
    ) -> Tensor:
        height, width, channels = maps.shape[1:]
        bins_y, bins_x = rows.shape[1], columns.shape[1]
        columns = columns[:, None].expand(-1, bins_y, -1, -1).contiguous()  # (slots, P, Q, W)
        # Equally full images fill all slots in order: then nothing needs to move.
        packed = torch.equal(slots, torch.arange(len(rows)))
        ctx.save_for_backward(rows, columns, slots)
        ctx.shape, ctx.blocks, ctx.packed = maps.shape, blocks, packed

        flat = maps.reshape(len(maps), height, width * channels)
        pooled = flat.new_empty(len(rows), bins_y, bins_x, channels)
        with torch.autocast("cpu", enabled=False):
            for block in blocks:
                left = flat[block.images]
                middle = torch.bmm(rows[block.slots].view(len(left), -1, height), left)
                torch.bmm(
                    columns[block.slots].flatten(0, 1),
                    middle.view(-1, width, channels),
                    out=pooled[block.slots].flatten(0, 1),
                )
        return pooled if packed else pooled.index_select(0, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, slots = ctx.saved_tensors
        images, height, width, channels = ctx.shape
        if ctx.packed:
            grad = grad.contiguous()
        else:
            grad = grad.new_zeros(*columns.shape[:3], channels).index_copy_(0, slots, grad)
        grad_maps = grad.new_zeros(images, height, width * channels)
        with torch.autocast("cpu", enabled=False):
            for block in ctx.blocks:
                middle = torch.bmm(
                    columns[block.slots].flatten(0, 1).transpose(1, 2),
                    grad[block.slots].flatten(0, 1),
                )
                target = grad_maps[block.images]
                left = rows[block.slots].view(len(target), -1, height)
                target.baddbmm_(
                    left.transpose(1, 2), middle.view(len(target), -1, width * channels)
                )
        return grad_maps.view(ctx.shape), None, None, None, None
