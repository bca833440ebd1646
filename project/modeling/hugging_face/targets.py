"""From Detectron2's truth to the masks with classes that the library's models learn from.

M masks, H x W pixels of the padded batch, h x w of the image. Semantic classes are [*stuff,
*things] with S stuff classes; models of instances alone know the things only, from 0.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Instances, PolygonMasks
from torch import Tensor

from project.data.categories import IGNORE_LABEL


@dataclass(frozen=True)
class Target:
    """What is to be found in one image.

    Attributes:
        masks: (M, H, W) float of 0 and 1; M may be 0.
        classes: (M,) long.
        ignored: (H, W) bool: the padding, and pixels whose class or object nobody knows.
    """

    masks: Tensor
    classes: Tensor
    ignored: Tensor


def build_target(
    item: dict[str, Any], task: str, num_stuff: int, frame: tuple[int, int], device: torch.device
) -> Target:
    """The target of one training item.

    Args:
        item: with "sem_seg" (h, w) unless the task is "instance", and "instances" unless it is
            "semantic".
        task: "semantic", "instance" or "panoptic".
        num_stuff: S.
        frame: H and W; the image stands at the top left.
        device: for the results.
    """
    if task == "semantic":
        semantic = item["sem_seg"].to(device)
        masks, classes = _regions(semantic, IGNORE_LABEL)
        ignored = semantic == IGNORE_LABEL
    else:
        instances = item["instances"]
        masks, classes = _objects(instances, device)
        ignored = torch.zeros(instances.image_size, dtype=torch.bool, device=device)
    if task == "panoptic":
        semantic = item["sem_seg"].to(device)
        # Pixels of a thing without an object are those of crowds: whose they are is unknown.
        ignored = (semantic >= num_stuff) & ~masks.any(dim=0)
        stuff, stuff_classes = _regions(semantic, num_stuff)
        masks = torch.cat([stuff, masks])
        classes = torch.cat([stuff_classes, classes + num_stuff])
    return Target(_pad(masks, frame, 0).float(), classes, _pad(ignored, frame, 1))


def _regions(semantic: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """(M, h, w) bool masks of the classes below `end` that are there, and (M,) classes."""
    present = semantic.unique()
    present = present[present < end]
    return semantic[None] == present[:, None, None], present


def _objects(instances: Instances, device: torch.device) -> tuple[Tensor, Tensor]:
    """(M, h, w) bool masks of objects, and (M,) thing ids; those that have left the image aside."""
    masks = instances.gt_masks
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks.polygons, *instances.image_size)
    pixels = masks.tensor.to(device).view(-1, *instances.image_size)
    seen = pixels.flatten(1).any(dim=1)
    return pixels[seen], instances.gt_classes.to(device)[seen]


def _pad(values: Tensor, frame: tuple[int, int], value: int) -> Tensor:
    height, width = values.shape[-2:]
    return F.pad(values, (0, frame[1] - width, 0, frame[0] - height), value=value)
