"""Boxes of all images of a batch at once, as tensors of one shape, without waiting for the device.

Legend: N images, G boxes of the truth and A others an image, padded to the most; XYXY pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_boxes(boxes: Sequence[Tensor], least: int = 1) -> tuple[Tensor, Tensor]:
    """Stacks boxes of several images.

    Args:
        boxes: (count, 4) of each of N images, on one device.
        least: boxes an image, so that a maximum over them exists.

    Returns:
        boxes: (N, G, 4), padded by zeros.
        valid: (N, G) bool.
    """
    counts = [len(own) for own in boxes]
    most = max([*counts, least])
    padded = boxes[0].new_zeros(len(boxes), most, 4)
    for row, own in zip(padded, boxes):
        row[: len(own)] = own
    return padded, is_within(counts, most, padded.device)


def is_within(counts: Sequence[int], length: int, device: torch.device) -> Tensor:
    """(N, length) bool: whether a place is below its row's count."""
    places = torch.arange(length, device=device)
    return places < upload(counts, torch.int64, device)[:, None]


def upload(numbers: Sequence[object], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of the host as a tensor; the host does not wait until they have arrived."""
    tensor = torch.tensor(numbers, dtype=dtype)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def batched_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each with each; 0 where boxes do not touch.

    Args:
        first: (N, G, 4).
        second: (N, A, 4), or (A, 4) for the same in all images.

    Returns:
        (N, G, A) in [0, 1].
    """
    one, other = first[..., :, None, :], second[..., None, :, :]
    inter = _overlap(one, other, 0)
    inter *= _overlap(one, other, 1)
    union = _areas(first)[..., :, None] + _areas(second)[..., None, :] - inter
    return torch.where(inter > 0, inter / union, 0.0)


def _overlap(one: Tensor, other: Tensor, axis: int) -> Tensor:
    ends = torch.minimum(one[..., axis + 2], other[..., axis + 2])
    ends -= torch.maximum(one[..., axis], other[..., axis])
    return ends.clamp_(min=0)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_deltas(source: Tensor, target: Tensor, weights: Sequence[float]) -> Tensor:
    """How boxes change into others (Girshick et al. 2014, arXiv:1311.2524, appendix C).

    Detectron2's `Box2BoxTransform.get_deltas`, which waits for the device to look at widths.

    Args:
        source: (..., 4), not empty.
        target: (..., 4), not empty.
        weights: of dx, dy, dw, dh.

    Returns:
        (..., 4) of dx, dy, dw, dh.
    """
    size, wanted = source[..., 2:] - source[..., :2], target[..., 2:] - target[..., :2]
    centre, aim = source[..., :2] + 0.5 * size, target[..., :2] + 0.5 * wanted
    shift = (aim - centre) / size
    scale = (wanted / size).log()
    factors = upload(weights, source.dtype, source.device)
    return torch.cat([shift, scale], dim=-1) * factors


def draw(chosen: Tensor, most: int, at_most: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Random places of each row, without repetition, each with the same probability.

    Args:
        chosen: (N, A) bool, the places to draw from.
        most: places to draw, at most.
        at_most: (N,), of each row, at most `most`; None draws `most` where there are as many.

    Returns:
        places: (N, M) with M = min(most, A); what was drawn comes first.
        drawn: (N, M) bool.
    """
    keys = torch.rand(chosen.shape, device=chosen.device).masked_fill_(~chosen, -1.0)
    keys, places = keys.topk(min(most, chosen.shape[1]), dim=1)
    drawn = keys >= 0
    if at_most is not None:
        drawn &= torch.arange(keys.shape[1], device=keys.device) < at_most[:, None]
    return places, drawn
