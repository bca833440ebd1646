"""The truth about instances as the COCO libraries want it, built in memory from the records."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from detectron2.structures import BoxMode

from project.data.categories import Categories
from project.data.masks import encode_mask, to_rle
from project.data.records import Annotation, Record
from project.evaluation.base import image_order
from project.evaluation.matches import outside

_COLUMNS = [("class", "i4"), ("image", "i4"), ("area", "f8"), ("crowd", "?"), ("has_mask", "?")]


class InstanceTruth:
    """All objects of a data set, with their masks as compressed RLE.

    Attributes:
        image_numbers: image id -> 1, 2, ..., since the libraries take whole numbers only. They
            follow the order of the ids, so that equal scores rank as in the data set's own numbers.
        classes: names by thing id.
        num_objects: objects that count, without crowds.
        num_masks: those of them that have a mask.
    """

    def __init__(self, records: Iterable[Record], categories: Categories) -> None:
        """Reads every annotation; `area` is the annotation's own where it has one.

        Args:
            records: of the data set.
            categories: of the data set; objects keep their thing ids.

        Raises:
            DatasetError: a mask that is damaged or of another size than its image.
        """
        by_id = {r["image_id"]: r for r in records}
        ordered = [by_id[image_id] for image_id in image_order(by_id)]
        self.image_numbers = {r["image_id"]: i for i, r in enumerate(ordered, start=1)}
        self._images = [
            {"id": number, "height": record["height"], "width": record["width"]}
            for number, record in enumerate(ordered, start=1)
        ]
        self.classes = tuple(categories.things)
        self._categories = [{"id": i, "name": name} for i, name in enumerate(categories.things)]
        self._objects = {
            number: [_object(a, record) for a in record.get("annotations", [])]
            for number, record in enumerate(ordered, start=1)
        }
        rows = [
            (o["category_id"], number - 1, o["area"], bool(o["iscrowd"]), o["has_mask"])
            for number, objects in self._objects.items()
            for o in objects
        ]
        self._columns = np.array(rows, dtype=_COLUMNS)
        countable = [o for objects in self._objects.values() for o in objects if not o["iscrowd"]]
        self.num_objects = len(countable)
        self.num_masks = sum(o["has_mask"] for o in countable)

    def of_image(self, number: int, iou_type: str) -> list[dict[str, Any]]:
        """The objects of one image in COCO's keys, without ids.

        In "segm", an object without a mask is a crowd in its box: it asks for no detection and
        forgives those that lie there.
        """
        if iou_type == "bbox":
            return self._objects[number]
        return [
            {**o, "iscrowd": int(o["iscrowd"] or not o["has_mask"])} for o in self._objects[number]
        ]

    def coco_of_image(self, number: int, iou_type: str) -> dict[str, Any]:
        """The COCO dict of one image, as `match_table` takes it."""
        objects = [{**o, "image_id": number} for o in self.of_image(number, iou_type)]
        image = self._images[number - 1]
        return {"images": [image], "annotations": objects, "categories": self._categories}

    def object_columns(self, iou_type: str) -> dict[str, np.ndarray]:
        """What a `MatchTable` says of the objects of the data set."""
        columns = self._columns
        crowd = columns["crowd"] | (iou_type != "bbox") & ~columns["has_mask"]
        return {
            "object_class": columns["class"].copy(),
            "object_image": columns["image"].copy(),
            "object_ignored": crowd[:, None] | outside(columns["area"]),
        }

    def coco(self, iou_type: str) -> dict[str, Any]:
        """The COCO dict of the data set for "bbox" or "segm", as `evaluate_coco` takes it."""
        annotations = [
            {**found, "image_id": number}
            for number in self._objects
            for found in self.of_image(number, iou_type)
        ]
        return {
            "images": self._images,
            "annotations": [{**a, "id": i} for i, a in enumerate(annotations, start=1)],
            "categories": self._categories,
        }


def _object(annotation: Annotation, record: Record) -> dict[str, Any]:
    height, width = record["height"], record["width"]
    box = BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYWH_ABS)
    segmentation = annotation.get("segmentation")
    rle = to_rle(segmentation, height, width) if segmentation else _filled(box, height, width)
    area = annotation.get("area")
    if area is None:
        area = float(mask_util.area(rle)) if segmentation else box[2] * box[3]
    return {
        "category_id": annotation["category_id"],
        "bbox": box,
        "area": area,
        "iscrowd": annotation.get("iscrowd", 0),
        "segmentation": rle,
        "has_mask": bool(segmentation),
    }


def _filled(box: list[float], height: int, width: int) -> dict[str, Any]:
    """RLE of all pixels of a box (x, y, width, height)."""
    x0, y0, x1, y1 = np.round([box[0], box[1], box[0] + box[2], box[1] + box[3]]).astype(int)
    mask = np.zeros((height, width), dtype=bool)
    mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return encode_mask(mask)
