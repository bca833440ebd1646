"""Batches and images that measurements are made on: rectangles of noise on noise."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Instances

CLASSES = 10


def training_batch(images: int, side: int, objects: int, seed: int = 0) -> list[dict[str, Any]]:
    """What a mapper yields for the training of instances and semantics together.

    Args:
        images: how many.
        side: of the square images, pixels.
        objects: of an image, of an eighth to a half of its side.
        seed: of everything that is random.
    """
    rng = np.random.default_rng(seed)
    return [_training_image(rng, side, objects) for _ in range(images)]


def _training_image(rng: np.random.Generator, side: int, objects: int) -> dict[str, Any]:
    image = torch.from_numpy(rng.integers(0, 256, (3, side, side), dtype=np.uint8))
    masks = torch.zeros(objects, side, side, dtype=torch.bool)
    classes = torch.from_numpy(rng.integers(0, CLASSES, objects))
    labels = torch.zeros(side, side, dtype=torch.long)
    for mask, number, (x, y, width, height) in zip(masks, classes, boxes(rng, side, side, objects)):
        mask[y : y + height, x : x + width] = True
        labels[mask] = 1 + number
    instances = Instances((side, side))
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    instances.gt_classes = classes
    return {
        "image": image,
        "instances": instances,
        "sem_seg": labels,
        "height": side,
        "width": side,
    }


def boxes(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """(count, 4) x, y, width, height within the image, pixels."""
    sizes = (rng.uniform(1 / 8, 1 / 2, (count, 2)) * (width, height)).astype(int)
    corners = (rng.random((count, 2)) * ((width, height) - sizes)).astype(int)
    return np.concatenate([corners, sizes], axis=1)


def write_images(folder: Path, images: int, objects: int, seed: int = 0) -> dict[str, Any]:
    """Writes photograph-like JPEGs of 640 x 480 with outlines of 16 corners, as COCO has them.

    Args:
        folder: exists.
        images: how many.
        objects: of an image.
        seed: of everything that is random.

    Returns:
        The keys of a specification, with the one split train.
    """
    rng = np.random.default_rng(seed)
    height, width = 480, 640
    annotations: list[dict[str, Any]] = []
    for number in range(images):
        coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), pixels)
        for box in boxes(rng, height, width, objects).tolist():
            outline = _outline(*box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "iscrowd": 0,
                    "category_id": int(rng.integers(0, CLASSES)) + 1,
                    "segmentation": [outline.ravel().round(2).tolist()],
                    "bbox": [float(value) for value in box],
                    "area": float(cv2.contourArea(outline.astype(np.float32))),
                }
            )
    content = {
        "images": [
            {"id": n + 1, "file_name": f"{n:05}.jpg", "height": height, "width": width}
            for n in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": n + 1, "name": f"class {n}"} for n in range(CLASSES)],
    }
    path = folder / "train.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    split = {"images": str(folder), "annotations": str(path)}
    return {"name": f"made_{objects}", "format": "coco", "splits": {"train": split}}


def _outline(x: int, y: int, width: int, height: int) -> np.ndarray:
    """(16, 2) corners on the ellipse that a box holds."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ellipse = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (x, y) + (ellipse + 1) / 2 * (width, height)
