"""Batches to a GPU, without waiting for it."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor


def to_device(batch: Sequence[dict[str, Any]], device: torch.device) -> list[dict[str, Any]]:
    """The same batch with its tensors on a GPU; what is not a tensor stays.

    Args:
        batch: images of a loader; those in pinned memory are copied while the host goes on.
        device: a GPU.
    """
    return [{key: _moved(value, device) for key, value in image.items()} for image in batch]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        pinned = value if value.is_cuda or value.is_pinned() else value.pin_memory()
        return pinned.to(device, non_blocking=True)
    if isinstance(value, Boxes):
        return Boxes(_moved(value.tensor, device))
    if isinstance(value, BitMasks):
        return BitMasks(_moved(value.tensor, device))
    if isinstance(value, Instances):
        moved = Instances(value.image_size)
        for name, field in value.get_fields().items():
            moved.set(name, _moved(field, device))
        return moved
    return value
