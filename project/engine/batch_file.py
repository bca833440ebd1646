"""Batches of training images as plain values and tensors, so that files of them can run no code."""

from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

Batch = list[dict[str, Any]]  # of the mapper
_PLAIN = (str, int, float, bool, torch.Tensor)


def to_plain(batch: Batch) -> list[dict[str, Any]]:
    """The images of a batch, with their truth, of tensors, lists and plain values alone."""
    return [
        {
            key: _plain_instances(value) if isinstance(value, Instances) else value
            for key, value in item.items()
            if isinstance(value, (*_PLAIN, Instances))
        }
        for item in batch
    ]


def from_plain(batch: list[dict[str, Any]]) -> Batch:
    """What `to_plain` was given."""
    return [
        {key: _instances(value) if key == "instances" else value for key, value in item.items()}
        for item in batch
    ]


def _plain_instances(instances: Instances) -> dict[str, Any]:
    fields = {name: _plain_field(value) for name, value in instances.get_fields().items()}
    return {"image_size": list(instances.image_size), "fields": fields}


def _plain_field(value: Any) -> Any:
    if isinstance(value, Boxes):
        return {"boxes": value.tensor}
    if isinstance(value, BitMasks):
        return {"bitmasks": value.tensor}
    if isinstance(value, PolygonMasks):
        return {"polygons": [[torch.from_numpy(p) for p in parts] for parts in value.polygons]}
    assert isinstance(value, torch.Tensor), type(value)
    return value


def _instances(plain: dict[str, Any]) -> Instances:
    instances = Instances(tuple(plain["image_size"]))
    for name, value in plain["fields"].items():
        instances.set(name, _field(value))
    return instances


def _field(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value
    if "boxes" in value:
        return Boxes(value["boxes"])
    if "bitmasks" in value:
        return BitMasks(value["bitmasks"])
    return PolygonMasks([[np.asarray(p) for p in parts] for parts in value["polygons"]])
