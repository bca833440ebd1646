"""Random objects and detections in COCO's form, and boxes by hand, for the tests of scores."""

from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from project.evaluation.detections import ImageDetections

SIDE = 160  # pixels of the images of `random_set`


def random_set(seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ellipses of three classes with crowds; detections that are near, double or wrong."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image_id in range(1, 9):
        for _ in range(rng.integers(0, 30)):
            centre, radii = rng.uniform(30, 130, 2), 2 ** rng.uniform(2, 6.5, 2)
            ellipse = np.concatenate([centre, radii])
            category = int(rng.integers(0, 3))
            truth.append(_entry(image_id, category, ellipse) | {"iscrowd": int(rng.random() < 0.1)})
            for _ in range(rng.integers(0, 4)):
                near = ellipse + rng.normal(0, 0.12, 4) * radii.mean()
                other = int(rng.integers(0, 3)) if rng.random() < 0.2 else category
                # Few different scores, so that many are equal.
                score = round(float(rng.random()), 1)
                found.append(_entry(image_id, other, near) | {"score": score})
        found.append(_entry(image_id, 0, rng.uniform(20, 60, 4)) | {"score": 0.5})
    content = {
        "images": [{"id": i, "height": SIDE, "width": SIDE} for i in range(1, 9)],
        "categories": [{"id": i, "name": name} for i, name in enumerate("abc")],
        "annotations": [{**a, "id": i} for i, a in enumerate(truth, start=1)],
    }
    return content, found


def _entry(image_id: int, category: int, ellipse: np.ndarray) -> dict[str, Any]:
    x, y, width, height = ellipse
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = ((columns - x) / max(width, 2)) ** 2 + ((rows - y) / max(height, 2)) ** 2 <= 1
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "image_id": image_id,
        "category_id": category,
        "bbox": mask_util.toBbox(rle).tolist(),
        "segmentation": rle,
    }


def with_areas(entries: list[dict[str, Any]], iou_type: str) -> list[dict[str, Any]]:
    return [
        {**e, "area": e["bbox"][2] * e["bbox"][3]}
        if iou_type == "bbox"
        else {**e, "area": float(mask_util.area(e["segmentation"]))}
        for e in entries
    ]


def box_detections(*rows: tuple[float, float, int]) -> ImageDetections:
    """Boxes of 10 x 10 pixels from (x, score, class)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    boxes = np.zeros((len(table), 4))
    boxes[:, 0], boxes[:, 2:] = table[:, 0], 10
    return ImageDetections((50, 50), boxes, table[:, 1], table[:, 2].astype(int), None)


def box_truth(*rows: tuple[float, int, int]) -> list[dict]:
    """Boxes of 10 x 10 pixels from (x, class, iscrowd)."""
    return [
        {"bbox": [x, 0.0, 10.0, 10.0], "category_id": c, "iscrowd": crowd} for x, c, crowd in rows
    ]
