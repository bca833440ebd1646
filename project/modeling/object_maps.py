"""Objects as maps of numbers: one map holds all objects of an image, each by its number.

Legend: M objects, numbered 1 to M; 0 is no object. H x W pixels, K semantic classes of which the
first S are stuff.
"""

import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from torch import Tensor

from project.errors import DatasetError


def number_objects(truth: Instances) -> Tensor:
    """The objects of an image's truth as one map.

    Where objects overlap, the smaller is seen, as in the semantic truth.

    Args:
        truth: with `gt_masks`, unless it has no objects.

    Returns:
        (H, W) int64 numbers on the device of the truth.

    Raises:
        DatasetError: the objects have no masks.
    """
    if not len(truth):
        return torch.zeros(truth.image_size, dtype=torch.int64, device=truth.gt_classes.device)
    if not truth.has("gt_masks"):
        raise DatasetError(
            "an image's objects have boxes only, and this architecture learns from their masks;"
            " give every object a segmentation, or train boxes with MaskUNet and MASK_ON False"
        )
    masks = _pixels(truth)  # (M, H, W) uint8
    smallest_first = masks.flatten(1).sum(dim=1).argsort()
    # The first maximum is the smallest object that holds the pixel.
    held, place = masks[smallest_first].max(dim=0)
    return (smallest_first[place] + 1) * held


def _pixels(truth: Instances) -> Tensor:
    masks = truth.gt_masks
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, *truth.image_size)
    return masks.tensor.to(truth.gt_classes.device, torch.uint8)


def judge_objects(numbers: Tensor, count: int, probs: Tensor, num_stuff: int) -> tuple:
    """The class of each object and how sure the pixels are of it.

    Args:
        numbers: (H, W) int64, 0 to M.
        count: M.
        probs: (K, H, W) probabilities of the semantic classes.
        num_stuff: S.

    Returns:
        classes: (M,) int64 thing ids, of the largest mean probability over the object's pixels.
        scores: (M,) that mean; 0 for an object without pixels.
    """
    flat, things = numbers.flatten(), probs[num_stuff:].flatten(1)  # (H*W,), (K-S, H*W)
    own = flat.nonzero()[:, 0]
    sums = things.new_zeros(count + 1, len(things)).index_add(0, flat[own], things[:, own].T)
    areas = flat.bincount(minlength=count + 1)
    means = sums[1:] / areas[1:, None].clamp(min=1)
    best = means.max(dim=1)
    return best.indices, best.values


def to_instances(
    numbers: Tensor, classes: Tensor, scores: Tensor, size: tuple[int, int], most: int
) -> Instances:
    """The best objects of an image, at the size that is wanted.

    Args:
        numbers: (H, W) int64, 0 to M.
        classes: (M,) thing ids.
        scores: (M,).
        size: (height, width) of the result.
        most: objects to keep.

    Returns:
        By falling score `scores`, `pred_classes`, `pred_masks` (n, height, width) bool and
        `pred_boxes`; without objects that have no pixel.
    """
    if numbers.shape != size:
        # Nearest keeps objects disjoint. float32 holds whole numbers up to 2**24.
        resized = F.interpolate(numbers[None, None].float(), size=size, mode="nearest-exact")
        numbers = resized[0, 0].long()
    areas = numbers.flatten().bincount(minlength=len(scores) + 1)[1:]
    order = scores.argsort(descending=True, stable=True)
    order = order[areas[order] > 0][:most]
    masks = numbers == (order + 1)[:, None, None]  # (n, height, width)
    found = Instances(size)
    found.scores = scores[order]
    found.pred_classes = classes[order]
    found.pred_masks = masks
    found.pred_boxes = BitMasks(masks).get_bounding_boxes() if len(order) else Boxes([])
    found.pred_boxes = found.pred_boxes.to(numbers.device)
    return found
