"""Masks of polygons within boxes, on any device and without waiting for it.

Detectron2's `structures/masks.py: rasterize_polygons_within_box` makes the targets of a mask head
one by one on the CPU, by pycocotools. The same masks, bit for bit, are made here for all boxes at
once.

How pycocotools draws (`common/maskApi.c: rleFrPoly`): corners are put on a grid of a fifth of a
pixel; each edge is walked there in unit steps along its longer axis, its other coordinate being
rounded. Where the walk passes the middle of a column of pixels, the column changes between out and
in, from the next row on. Two things make a formula of it:

- Only steps between u = 5 X + 2 and 5 X + 3 count, X being a column. A flat edge takes one of these
  at a known place; that of a steep one is found by division, and then by the walk's own rounding.
- A closed walk passes each middle an even number of times, so columns do not depend on each other.
  (Rounding is towards 0, so the walk jumps between edges, but at u <= 0 only, left of all middles.)

R boxes, E edges of an object at most, K polygons of an object at most, masks of S x S pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

_GRID = 5  # steps of a pixel: pycocotools' `scale`
_SHORTEST = 0.1  # pixels; Detectron2 takes no side of a box for shorter
# Largest R * E * S at a time. About ten such tensors of 8 bytes are alive: 64 MiB each on a GPU,
# while a CPU is fastest where they stay in its cache.
_ELEMENTS = 2**23
_ELEMENTS_OF_CPU = 2**17


class Polygons:
    """The outlines of the objects of a batch, as tensors on a device."""

    def __init__(self, edges: Tensor, spans: Tensor, most_edges: int, most_parts: int) -> None:
        """`of` makes one.

        Args:
            edges: (edges + 1, 5) float64: x, y of both ends in pixels, and which polygon of its
                object it is of. The last has no length and stands for what an object lacks.
            spans: (objects, 2) int64, the first edge of each object and how many it has.
            most_edges: E.
            most_parts: K.
        """
        self.edges = edges
        self.spans = spans
        self.most_edges = most_edges
        self.most_parts = most_parts

    @classmethod
    def of(cls, objects: Sequence[Sequence[np.ndarray]], device: torch.device | str) -> Polygons:
        """Everything goes to the device in one copy, for which nothing waits.

        Args:
            objects: the polygons of each object, which may have none; each is x0, y0, x1, y1, ...
                in pixels, float64, of at least 3 points; the last is joined to the first.
            device: where masks will be made.
        """
        edges, spans, most_parts = _edges_and_spans(objects)
        buffer = torch.empty(
            edges.size + spans.size,
            dtype=torch.float64,
            pin_memory=torch.device(device).type == "cuda",
        )
        # The bits of the integers travel as those of float64, to need no copy of their own.
        np.concatenate([edges.ravel(), spans.ravel().view(np.float64)], out=buffer.numpy())
        moved = buffer.to(device, non_blocking=True)
        return cls(
            moved[: edges.size].view(edges.shape),
            moved[edges.size :].view(torch.int64).view(spans.shape),
            int(spans[:, 1].max(initial=0)),
            most_parts,
        )

    def __len__(self) -> int:
        return len(self.spans)

    def crop_and_resize(self, index: Tensor, boxes: Tensor, side: int) -> Tensor:
        """What Detectron2's `PolygonMasks.crop_and_resize` makes of the same boxes.

        The work grows with R E S, E being that of the object with most edges, also where no box
        is of that object.

        Args:
            index: (R,) int64, the object of each box, on the device of the outlines.
            boxes: (R, 4) float32, x0, y0, x1, y1 in pixels. They may have no area; where one is
                no number the mask is empty.
            side: S, pixels.

        Returns:
            (R, S, S) bool, rows first.
        """
        if self.most_edges == 0:
            return torch.zeros(len(boxes), side, side, dtype=torch.bool, device=boxes.device)
        most = _ELEMENTS if boxes.is_cuda else _ELEMENTS_OF_CPU
        of_box = side * max(self.most_edges, self.most_parts * (side + 1))
        count = max(1, most // of_box)
        masks = [
            self._draw(some, within, side)
            for some, within in zip(index.split(count), boxes.split(count), strict=True)
        ]
        return masks[0] if len(masks) == 1 else torch.cat(masks)

    def _draw(self, index: Tensor, boxes: Tensor, side: int) -> Tensor:
        """`crop_and_resize` of as many boxes as memory allows."""
        edges = self._edges_of(index)  # (R, E, 5)
        corners = _on_grid(edges[..., :4].unflatten(-1, (2, 2)), boxes, side)
        passes, rows = _passes(corners, side)  # (R, E, S)
        columns = torch.arange(side, device=boxes.device)
        first = edges[..., 4:].long() * (side * (side + 1))
        at = rows.mul_(side).add_(columns).add_(first)
        changes = torch.zeros(
            len(boxes), self.most_parts * (side + 1) * side, dtype=torch.int32, device=boxes.device
        )
        changes.scatter_add_(1, at.flatten(1), passes.flatten(1).int())
        changes = changes.view(len(boxes), self.most_parts, side + 1, side)
        inside = changes.cumsum(dim=2, dtype=torch.int32)[:, :, :side] & 1
        return inside.any(dim=1)

    def _edges_of(self, index: Tensor) -> Tensor:
        """(R, E, 5), filled up with the edge of no length."""
        first, count = self.spans[index].unsqueeze(-1).unbind(dim=1)  # (R, 1) each
        places = torch.arange(self.most_edges, device=index.device)
        return self.edges[(first + places).masked_fill_(places >= count, len(self.edges) - 1)]


def _edges_and_spans(objects: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray, int]:
    """The edges and spans that a `Polygons` holds, and the most polygons of an object."""
    polygons = list(chain.from_iterable(objects))
    assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons)
    corners = np.array([len(polygon) // 2 for polygon in polygons], dtype=np.int64)
    stops = corners.cumsum()
    edges = np.zeros((int(corners.sum()) + 1, 5))
    if polygons:
        edges[:-1, :2] = np.concatenate(polygons).reshape(-1, 2)
        edges[:-2, 2:4] = edges[1:-1, :2]
        edges[stops - 1, 2:4] = edges[stops - corners, :2]
        numbers = np.concatenate([np.arange(len(parts)) for parts in objects])
        edges[:-1, 4] = np.repeat(numbers, corners)
    parts = np.array([len(parts) for parts in objects], dtype=np.int64)
    before = np.concatenate([[0], stops])[np.concatenate([[0], parts.cumsum()])]
    spans = np.stack([before[:-1], np.diff(before)], axis=1)
    return edges, spans, int(parts.max(initial=0))


def _on_grid(ends: Tensor, boxes: Tensor, side: int) -> Tensor:
    """(R, E, 2, 2) x, y of both ends in steps of the grid: whole numbers, as float64.

    Each operation and its type are NumPy's and C's there: sides and their ratios are of the boxes'
    type, but of float64 where a box is too short, and all else is float64.
    """
    low, high = boxes.split(2, dim=1)
    sides = high - low
    # A number by a tensor, or a tensor by a number, would be a product with a rounded reciprocal.
    ratios = (torch.full_like(sides, side) / sides).double()
    ratios = ratios.masked_fill_(sides < _SHORTEST, side / _SHORTEST)
    placed = (ends - low[:, None, None]) * ratios[:, None, None]
    # What is no number is taken for 0, as any other one would do: then no edge passes a column.
    return (placed * _GRID + 0.5).trunc_().nan_to_num_(0, 0, 0)


def _passes(ends: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Which columns' middles each edge passes, and the first row below.

    Args:
        ends: (R, E, 2, 2) as `_on_grid` returns them.
        side: S.

    Returns:
        (R, E, S) bool; and int64 from 0 to S, of no meaning where the former is False.
    """
    start, end = ends.unbind(dim=2)
    dx, dy = (end - start).split(1, dim=-1)  # (R, E, 1), as all that has no columns
    steep = dx.abs() < dy.abs()
    along, across = torch.where(steep, dy, dx), torch.where(steep, dx, dy)
    x, y = torch.where(along < 0, end, start).split(1, dim=-1)  # walks go right or down
    slope = across / along.masked_fill(along == 0, 1)
    falls = slope < 0
    middles = torch.arange(_GRID / 2, _GRID * side, _GRID, dtype=torch.float64, device=ends.device)

    # How far along the walk. Both points of a flat edge beside the middle are half a step from it,
    # and the upper one is asked for. A steep edge meets the middle between two steps: the nearest.
    pace = (along / across.masked_fill(across == 0, 1)).masked_fill_(~steep, 1)
    upper = (falls.double() - 0.5).masked_fill_(steep, 0)
    steps = torch.addcmul(upper - pace * x, pace, middles).round_()  # (R, E, S) from here on
    other = (slope * steps).add_(torch.where(steep, x, y)).add_(0.5).floor_()
    # Of a steep edge the last step before the middle: the nearest, or else the one before it.
    before = (other > middles) == falls
    upper_end = torch.where(steep, steps.add_(y - 1).add_(before), other)
    # ceil((v + 0.5) / 5 - 0.5) of a whole v, by a product that is never near a whole number.
    rows = upper_end.add_(_GRID / 2).mul_(1 / _GRID).clamp_(0, side).long()
    return (start[..., :1] < middles) != (end[..., :1] < middles), rows
