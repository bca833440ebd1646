"""Masks of a batch whose outlines are on the device, for GPUs.

Detectron2's `PolygonMasks` stay on the host: boxes are copied there, and each region's target is
filled by itself. Of 16 images that is 80 ms of a training step.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from detectron2.structures import Instances, PolygonMasks
from torch import Tensor

from project.layers.boxes import upload
from project.layers.polygons import Polygons


class SharedPolygons:
    """All objects of a batch."""

    def __init__(self, masks: Sequence[PolygonMasks], device: torch.device) -> None:
        self.device = device
        self.objects = [parts for own in masks for parts in own.polygons]
        self.polygons = Polygons.of(self.objects, device)

    @cached_property
    def areas(self) -> Tensor:
        """Of each object, pixels; see `PolygonMasks.area`."""
        return upload(PolygonMasks(self.objects).area().tolist(), torch.float32, self.device)


class PolygonView:
    """Some of them, in any order and often; has what mask heads ask of `PolygonMasks`."""

    def __init__(self, shared: SharedPolygons, index: Tensor) -> None:
        """Keeps what it is given.

        Args:
            shared: all objects.
            index: (R,) int64, on their device.
        """
        self.shared = shared
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: Tensor | slice) -> "PolygonView":
        return PolygonView(self.shared, self.index[item])

    def crop_and_resize(self, boxes: Tensor, side: int) -> Tensor:
        """The part of each in a box, as (R, side, side) bool.

        Args:
            boxes: (R, 4) XYXY pixels.
            side: in cells.
        """
        return self.shared.polygons.crop_and_resize(self.index, boxes, side)

    def area(self) -> Tensor:
        """(R,) pixels."""
        return self.shared.areas[self.index]


def share_polygons(targets: Sequence[Instances], device: torch.device) -> list[Instances]:
    """Truth whose outlines are views of one batch; other masks stay.

    Args:
        targets: of each image.
        device: where the outlines go.
    """
    masks = [x.gt_masks for x in targets if x.has("gt_masks")]
    if len(masks) < len(targets) or not all(type(own) is PolygonMasks for own in masks):
        return list(targets)
    shared = SharedPolygons(masks, device)
    places = torch.arange(len(shared.objects), device=device).split([len(own) for own in masks])
    results = []
    for target, index in zip(targets, places):
        fields = {**target.get_fields(), "gt_masks": PolygonView(shared, index)}
        result = Instances(target.image_size)
        for name, value in fields.items():
            result.set(name, value)
        results.append(result)
    return results


def joint_crops(instances: Sequence[Instances], side: int) -> Tensor | None:
    """(R, side, side) of all images at once, if their masks are views of one batch.

    Args:
        instances: of each image, with `gt_masks` and `proposal_boxes`.
        side: in cells.
    """
    views = [x.gt_masks for x in instances if x.has("gt_masks")]
    if not views or not all(isinstance(view, PolygonView) for view in views):
        return None
    boxes = [x.proposal_boxes.tensor for x in instances if x.has("gt_masks")]
    index = torch.cat([view.index for view in views])
    return views[0].shared.polygons.crop_and_resize(index, torch.cat(boxes), side)
