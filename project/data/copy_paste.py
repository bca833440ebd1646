"""Simple copy-paste: Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3.

Both images are augmented on their own, then objects of the one are pasted onto the other, with
hard edges, which the paper found as good as blended ones. N objects, H x W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from detectron2.structures import BitMasks, Instances

from project.data.categories import Categories
from project.data.dataset import DatasetInfo
from project.data.records import Record
from project.data.transforms import draws
from project.errors import ConfigError

Item = dict[str, Any]
Mapper = Callable[[Record], Item]


class CopyPaste:
    """A mapper of training images that pastes objects of another image onto some."""

    def __init__(
        self,
        mapper: Mapper,
        source_mapper: Mapper,
        records: Any,
        sources: Sequence[int],
        infos: Mapping[str, DatasetInfo],
        *,
        prob: float,
        object_prob: float,
    ) -> None:
        """Keeps what it is given.

        Args:
            mapper: a `SegmentationMapper` whose objects, if it has any, are bitmasks.
            source_mapper: the same augmentations, with objects as bitmasks in any case.
            records: the images, by index.
            sources: indices of those that objects may come from, see `check_sources`.
            infos: of every data set whose records come.
            prob: of an image that anything is pasted onto it.
            object_prob: of an object of the other image that it is pasted.
        """
        self.mapper, self.source_mapper = mapper, source_mapper
        self.records, self.sources, self.infos = records, sources, infos
        self.prob, self.object_prob = prob, object_prob

    def __call__(self, record: Record) -> Item:
        """Maps one record, see `SegmentationMapper`; the keys are those of the record."""
        item = self.mapper(record)
        if not draws.happens(self.prob):
            return item
        index = self.sources[draws.integer(0, len(self.sources) - 1)]
        source = self.source_mapper(self.records[index])
        objects: Instances = source["instances"]
        chosen = torch.tensor(
            [draws.happens(self.object_prob) for _ in range(len(objects))], dtype=torch.bool
        )
        paste(item, source["image"], objects[chosen], self.infos[record["dataset"]].categories)
        return item


def paste(item: Item, image: torch.Tensor, objects: Instances, categories: Categories) -> None:
    """Pastes objects of another image onto an item, in place.

    Objects below lose the pixels that are covered, and those without any left are dropped. An
    image of another size is laid over the item's at a random offset; what is outside is lost.

    Args:
        item: of a `SegmentationMapper`, with "instances", "sem_seg" or both.
        image: (C, H', W'), that the objects are on.
        objects: what to paste.
        categories: of both.
    """
    shape = tuple(item["image"].shape[1:])
    offset = [_draw_offset(*sides) for sides in zip(shape, image.shape[1:])]
    masks = _laid(objects.gt_masks.tensor, shape, offset)  # (N, H, W)
    seen = masks.flatten(1).any(dim=1)
    masks, classes = masks[seen], objects.gt_classes[seen]
    if not len(masks):
        return
    covered = masks.any(dim=0)
    item["image"] = torch.where(covered, _laid(image, shape, offset), item["image"])
    if "sem_seg" in item:
        item["sem_seg"] = _repainted(item["sem_seg"], masks, classes, categories)
    if "instances" in item:
        item["instances"] = _joined(item["instances"], masks, classes, covered)


def check_sources(records: Sequence[Record]) -> list[int]:
    """Indices of the images that have objects to paste.

    Raises:
        ConfigError: there is none, or objects without masks.
    """
    taught = [[a for a in r.get("annotations", ()) if not a["iscrowd"]] for r in records]
    if any("segmentation" not in a for annotations in taught for a in annotations):
        raise ConfigError(
            "INPUT.AUGMENTATIONS: copy_paste needs masks, and some objects of the training data"
            " have boxes only; take copy_paste out"
        )
    found = [index for index, annotations in enumerate(taught) if annotations]
    if not found:
        raise ConfigError(
            "INPUT.AUGMENTATIONS: copy_paste pastes objects, and the training data has none; name"
            " countable classes under `things:` in its specification, or take copy_paste out"
        )
    return found


def _draw_offset(size: int, other: int) -> int:
    """Where the other image starts in this one; before it, below 0, where it is larger."""
    return draws.integer(min(0, size - other), max(0, size - other))


def _laid(pixels: torch.Tensor, shape: Sequence[int], offset: Sequence[int]) -> torch.Tensor:
    """(..., H', W') pixels on (..., H, W) zeros."""
    laid = pixels.new_zeros((*pixels.shape[:-2], *shape))
    to, of = [], []
    for start, size, other in zip(offset, shape, pixels.shape[-2:]):
        to.append(slice(max(0, start), max(0, min(size, start + other))))
        of.append(slice(max(0, -start), max(0, min(other, size - start))))
    laid[..., to[0], to[1]] = pixels[..., of[0], of[1]]
    return laid


def _repainted(
    semantic: torch.Tensor, masks: torch.Tensor, classes: torch.Tensor, categories: Categories
) -> torch.Tensor:
    """(H, W) int64 with the objects painted, the largest first, as all semantic truth is."""
    painted = semantic.clone()
    areas = masks.flatten(1).sum(dim=1)
    for index in torch.argsort(areas, descending=True, stable=True).tolist():
        painted[masks[index]] = categories.semantic_of_thing(int(classes[index]))
    return painted


def _joined(
    below: Instances, masks: torch.Tensor, classes: torch.Tensor, covered: torch.Tensor
) -> Instances:
    """What is left of the objects below, then those that are pasted; boxes about their pixels."""
    left = below.gt_masks.tensor & ~covered
    kept = left.flatten(1).any(dim=1)
    joined = Instances(below.image_size)
    joined.gt_masks = BitMasks(torch.cat([left[kept], masks]))
    joined.gt_boxes = joined.gt_masks.get_bounding_boxes()
    joined.gt_classes = torch.cat([below.gt_classes[kept], classes])
    return joined
