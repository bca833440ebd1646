"""Every kind of bad data in every format in which it can occur, made where a test wants it."""

from corpus import (
    coco_files,
    coco_objects,
    coco_panoptic,
    images,
    labels,
    mask_folder,
    polygon_files,
    splits,
    voc,
    yolo,
)
from corpus.case import ANY, Case, Place

__all__ = ["ANY", "BAD", "Case", "Place"]

_PARTS = (
    *(coco_objects, coco_files, coco_panoptic, voc, yolo, polygon_files, mask_folder),
    *(labels, images, splits),
)
BAD: list[Case] = [case for part in _PARTS for case in part.cases()]
