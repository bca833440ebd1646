"""The truth about an image's pixels, for training, scoring, pictures and checks alike.

The one door to label maps (`label_maps`) and object masks (`masks`). In stock Detectron2 trainer
and scorer read the same palette PNG differently.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from project.data.categories import IGNORE_LABEL, MAX_SEMANTIC_CLASSES, Categories
from project.data.images import check_size
from project.data.label_maps import LabelEncoding, label_encoding, read_label_map, write_label_map
from project.data.masks import decode_mask, encode_mask
from project.data.records import Annotation, Record
from project.data.segment_maps import Segment, panoptic_segments, semantic_from_segments
from project.errors import DatasetError

if TYPE_CHECKING:
    from project.data.register import DatasetInfo

__all__ = [
    "LabelEncoding",
    "Segment",
    "decode_mask",
    "decode_masks",
    "encode_mask",
    "has_label_map",
    "label_encoding",
    "panoptic_truth",
    "read_label_map",
    "read_semantic",
    "semantic_from_annotations",
    "semantic_from_masks",
    "write_label_map",
]


def has_label_map(record: Record) -> bool:
    """Whether a file has the class of every pixel, so that no object needs to be decoded for it."""
    return "sem_seg_file_name" in record or "pan_seg_file_name" in record


def decode_masks(annotations: Sequence[Annotation], height: int, width: int) -> list[np.ndarray]:
    """(H, W) bool mask of each object; its box, filled, where it has a box only.

    Raises:
        DatasetError: see `decode_mask`.
    """
    return [_mask_or_box(annotation, height, width) for annotation in annotations]


def semantic_from_masks(
    annotations: Sequence[Annotation],
    masks: Sequence[np.ndarray],
    shape: tuple[int, int],
    categories: Categories,
) -> np.ndarray:
    """Paints the semantic truth from object masks.

    Pixels of no object are of the first stuff class. Where objects overlap, the smaller is seen.
    Crowds, and objects whose outline is not known, are ignored where no other object is.

    Args:
        annotations: of one image.
        masks: (H, W) bool each, of the annotations.
        shape: (H, W).
        categories: of the data set.

    Returns:
        (H, W) uint8 semantic ids, `IGNORE_LABEL` where to ignore.

    Raises:
        DatasetError: there are more classes than 8 bits hold.
    """
    if len(categories.semantic) > MAX_SEMANTIC_CLASSES:
        raise DatasetError(
            f"semantic truth is for at most {MAX_SEMANTIC_CLASSES} classes, these are"
            f" {len(categories.semantic)}; choose some with `things:`, or train instances only"
        )
    semantic = np.zeros(shape, dtype=np.uint8)
    for index in _back_to_front(annotations, masks):
        annotation = annotations[index]
        semantic[masks[index]] = (
            IGNORE_LABEL
            if _is_vague(annotation)
            else categories.semantic_of_thing(annotation["category_id"])
        )
    return semantic


def semantic_from_annotations(
    annotations: Sequence[Annotation], height: int, width: int, categories: Categories
) -> np.ndarray:
    """(H, W) uint8 semantic ids of an image's objects; see `semantic_from_masks`."""
    masks = decode_masks(annotations, height, width)
    return semantic_from_masks(annotations, masks, (height, width), categories)


def read_semantic(record: Record, info: "DatasetInfo") -> np.ndarray:
    """The semantic truth of an image: its label map or segments, or else derived from its objects.

    Returns:
        (H, W) uint8 semantic ids, `IGNORE_LABEL` where to ignore.

    Raises:
        DatasetError: see `read_label_map` and `semantic_from_segments`; or the label map has
            another size than the image.
    """
    if "pan_seg_file_name" in record:
        return semantic_from_segments(record)
    height, width = record["height"], record["width"]
    if "sem_seg_file_name" not in record:
        return semantic_from_annotations(
            record.get("annotations", []), height, width, info.categories
        )
    path = record["sem_seg_file_name"]
    assert info.encoding is not None, info.name
    semantic = read_label_map(path, info.encoding)
    check_size(semantic.shape[:2], path, (height, width), record["file_name"])
    return semantic


def panoptic_truth(record: Record, info: "DatasetInfo") -> tuple[np.ndarray, list[Segment]]:
    """The segments of a panoptic file; or things from the objects, all other pixels by stuff class.

    Of objects, the smaller is in front. Pixels of a countable class without an object are void:
    which object they belong to is unknown.

    Returns:
        ids: (H, W) int32 segment ids, 0 for void.
        segments: those with visible pixels.

    Raises:
        DatasetError: see `read_semantic`.
    """
    if "pan_seg_file_name" in record:
        return panoptic_segments(record, info.categories)
    height, width = record["height"], record["width"]
    categories = info.categories
    annotations = record.get("annotations", [])
    masks = decode_masks(annotations, height, width)
    semantic = (
        read_semantic(record, info)
        if "sem_seg_file_name" in record
        else semantic_from_masks(annotations, masks, (height, width), categories)
    )
    ids = np.zeros((height, width), dtype=np.int32)
    candidates: list[Segment] = []
    for semantic_id in range(len(categories.stuff)):
        candidates.append(_segment(len(candidates) + 1, semantic_id, isthing=False))
        ids[semantic == semantic_id] = candidates[-1]["id"]
    for index in _back_to_front(annotations, masks):
        annotation = annotations[index]
        if _is_vague(annotation) and not annotation["iscrowd"]:
            ids[masks[index]] = 0
            continue
        semantic_id = categories.semantic_of_thing(annotation["category_id"])
        candidates.append(_segment(len(candidates) + 1, semantic_id, isthing=True))
        candidates[-1]["iscrowd"] = annotation["iscrowd"]
        ids[masks[index]] = candidates[-1]["id"]
    areas = np.bincount(ids.ravel(), minlength=len(candidates) + 1)
    for segment in candidates:
        segment["area"] = int(areas[segment["id"]])
    return ids, [segment for segment in candidates if segment["area"]]


def _segment(segment_id: int, semantic_id: int, *, isthing: bool) -> Segment:
    return Segment(id=segment_id, semantic_id=semantic_id, isthing=isthing, iscrowd=0, area=0)


def _is_vague(annotation: Annotation) -> bool:
    """Whether the pixels of one object are not known: a crowd, or only a box."""
    return bool(annotation["iscrowd"]) or "segmentation" not in annotation


def _back_to_front(annotations: Sequence[Annotation], masks: Sequence[np.ndarray]) -> list[int]:
    """Indices in painting order: crowds and boxes first, then objects, the largest first."""
    areas = [np.count_nonzero(mask) for mask in masks]
    return sorted(range(len(masks)), key=lambda i: (not _is_vague(annotations[i]), -areas[i], i))


def _mask_or_box(annotation: Annotation, height: int, width: int) -> np.ndarray:
    if "segmentation" in annotation:
        return decode_mask(annotation["segmentation"], height, width)
    x, y, w, h = annotation["bbox"]
    mask = np.zeros((height, width), dtype=bool)
    mask[max(0, int(y)) : int(np.ceil(y + h)), max(0, int(x)) : int(np.ceil(x + w))] = True
    return mask
