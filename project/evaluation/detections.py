"""The detections of one image, held compactly, and the forms that they come in and go out.

N detections. Boxes are (x, y, width, height), pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from detectron2.structures import BoxMode, Instances

from project.data.categories import Categories
from project.data.mask_crops import MaskCrops
from project.data.masks import Rle
from project.data.rle_encoding import encode_masks


@dataclass(frozen=True)
class ImageDetections:
    """The detections of one image.

    Attributes:
        size: (height, width) of the image.
        boxes: (N, 4) float64.
        scores: (N,) float64.
        classes: (N,) thing ids.
        masks: N run-length codes (the `counts` of a compressed RLE), or None where only boxes are.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: list[bytes] | None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def rles(self) -> list[Rle]:
        """The masks as compressed RLEs; masks must be there."""
        assert self.masks is not None
        return [{"size": list(self.size), "counts": counts} for counts in self.masks]

    def coco(self, iou_type: str) -> list[dict[str, Any]]:
        """The detections as `evaluate_coco` takes them, but without image ids."""
        if iou_type == "segm":
            # The area decides who is small, medium or large: a mask's pixels, not its box.
            shapes = [
                {"segmentation": rle, "area": float(mask_util.area(rle))} for rle in self.rles
            ]
        else:
            shapes = [{"bbox": box, "area": box[2] * box[3]} for box in self.boxes.tolist()]
        named = zip(self.classes.tolist(), self.scores.tolist(), shapes)
        return [{"category_id": thing, "score": score, **shape} for thing, score, shape in named]


def no_detections(size: tuple[int, int]) -> ImageDetections:
    """An image of (height, width) in which nothing was found."""
    nothing = np.zeros(0)
    return ImageDetections(size, np.zeros((0, 4)), nothing, nothing.astype(np.int64), [])


def from_instances(instances: Instances) -> ImageDetections:
    """Detectron2's predictions of one image; all masks are encoded in one call."""
    fields = instances.to("cpu")
    boxes = fields.pred_boxes.tensor.double().numpy()
    masks = None
    if fields.has("pred_masks") and isinstance(fields.pred_masks, MaskCrops):
        masks = fields.pred_masks.counts()
    elif fields.has("pred_masks"):
        masks = encode_masks(_binary(fields.pred_masks.numpy()))
    return ImageDetections(
        size=instances.image_size,
        boxes=BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS),
        scores=fields.scores.double().numpy(),
        classes=fields.pred_classes.numpy(),
        masks=masks,
    )


def _binary(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool; of numbers, those are foreground that are not 0 as bytes."""
    return masks if masks.dtype == bool else masks.astype(np.uint8).astype(bool)


def coco_results(
    image_id: int | str, detections: ImageDetections, categories: Categories
) -> list[dict[str, Any]]:
    """The detections of an image as entries of a COCO results file.

    Returns:
        Dicts with image_id, category_id (the data set's own), bbox, score and, where there are
        masks, segmentation (a compressed RLE whose counts are text).
    """
    results = [
        {
            "image_id": image_id,
            "category_id": categories.thing_dataset_ids[thing],
            "bbox": box,
            "score": score,
        }
        for thing, box, score in zip(
            detections.classes.tolist(), detections.boxes.tolist(), detections.scores.tolist()
        )
    ]
    if detections.masks is not None:
        for result, rle in zip(results, detections.rles):
            result["segmentation"] = {**rle, "counts": rle["counts"].decode("ascii")}
    return results
