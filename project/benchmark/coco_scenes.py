"""A made data set of instances and what a model finds in it, for stock's evaluator and for ours.

Sizes follow COCO's val2017: 80 classes, about 7 objects an image, sides from 16 to 256 pixels. The
images share a few scenes, since the masks of all would not fit into memory; classes and scores of
what is found are those of each image.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances
from torch import Tensor

from project.benchmark.quiet import quietly
from project.data.register import register_dataset

SIZE = (480, 640)
CLASSES = 80
_SCENES = 12
_OBJECTS = 7

Item = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """What several images show, and what is found there.

    Attributes:
        objects: annotations without ids.
        boxes: (N, 4) of what is found.
        masks: (N, H, W) bool.
        classes: (N,) thing ids.
        near: (N,) bool: made from an object, and thus likely.
    """

    objects: list[Item]
    boxes: Tensor
    masks: Tensor
    classes: np.ndarray
    near: np.ndarray


class CocoScenes:
    """A data set that is registered for both sides, in a folder that goes with it.

    Attributes:
        ours: its name for our evaluators.
        stock: its name for Detectron2's.
        images: how many.
        folder: for what an evaluator writes.
    """

    def __init__(self, images: int, detections: int, seed: int = 0) -> None:
        """Makes and registers it.

        Args:
            images: how many.
            detections: of an image.
            seed: of everything that is random.
        """
        self.images = images
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._scenes = [_scene(rng, detections) for _ in range(min(_SCENES, images))]
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        path = self.folder / "val.json"
        path.write_text(json.dumps(self._content()))
        name = self.folder.name.replace("-", "_")
        splits = {"val": {"annotations": str(path)}}
        (self.ours,) = register_dataset(name=name, format="coco", splits=splits)
        self.stock = f"{name}_stock"
        register_coco_instances(self.stock, {}, str(path), str(self.folder))
        with quietly():
            DatasetCatalog.get(self.stock)  # its evaluator needs what only reading finds

    def outputs(self, copies: bool = False) -> Iterator[tuple[list[Item], list[Item]]]:
        """What goes into `process`, image by image.

        Args:
            copies: each image has tensors of its own, as it has from a model.
        """
        rng = np.random.default_rng(self._seed + 1)
        for number in range(self.images):
            scene = self._scenes[number % len(self._scenes)]
            found = Instances(SIZE)
            found.pred_boxes = Boxes(scene.boxes)
            confidence = rng.random(len(scene.boxes)) ** np.where(scene.near, 0.5, 4)
            found.scores = torch.from_numpy(confidence.astype(np.float32))
            others = rng.integers(0, CLASSES, len(scene.classes))
            wrong = rng.random(len(others)) < 0.2
            found.pred_classes = torch.from_numpy(np.where(wrong, others, scene.classes))
            found.pred_masks = scene.masks.clone() if copies else scene.masks
            inputs = {"image_id": number + 1, "file_name": f"{number}.jpg"}
            yield [{**inputs, "height": SIZE[0], "width": SIZE[1]}], [{"instances": found}]

    def _content(self) -> Item:
        annotations = [
            {**found, "image_id": number + 1}
            for number in range(self.images)
            for found in self._scenes[number % len(self._scenes)].objects
        ]
        size = {"height": SIZE[0], "width": SIZE[1]}
        return {
            "info": {},
            "images": [{"id": n + 1, "file_name": f"{n}.jpg", **size} for n in range(self.images)],
            "annotations": [{**found, "id": n} for n, found in enumerate(annotations, start=1)],
            "categories": [{"id": n + 1, "name": f"class {n}"} for n in range(CLASSES)],
        }


def _scene(rng: np.random.Generator, detections: int) -> Scene:
    true = _ellipses(rng, _OBJECTS)
    classes = rng.integers(0, CLASSES, _OBJECTS)
    # Three near each object, as many as there is room for; the rest anywhere.
    near = np.tile(np.arange(_OBJECTS), 3)[:detections]
    moved = np.maximum(true[near] + rng.normal(0, 3, (len(near), 4)), 4)
    shapes = np.concatenate([moved, _ellipses(rng, detections - len(near))])
    masks = torch.from_numpy(np.array([_painted(shape) for shape in shapes], dtype=bool))
    others = rng.integers(0, CLASSES, detections - len(near))
    return Scene(
        objects=[_annotation(*pair) for pair in zip(true, classes.tolist())],
        boxes=_boxes(shapes),
        masks=masks,
        classes=np.concatenate([classes[near], others]),
        near=np.arange(detections) < len(near),
    )


def _ellipses(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4) centre and radii, pixels."""
    centres = rng.uniform(0.05, 0.95, (count, 2)) * SIZE[::-1]
    return np.concatenate([centres, 2 ** rng.uniform(3, 7, (count, 2))], axis=1)


def _painted(shape: np.ndarray) -> np.ndarray:
    """(H, W) uint8."""
    x, y, width, height = shape.round().astype(int).tolist()
    pixels = np.zeros(SIZE, dtype=np.uint8)
    return cv2.ellipse(pixels, (x, y), (width, height), 0, 0, 360, 1, -1)


def _boxes(shapes: np.ndarray) -> Tensor:
    """(N, 4) x0, y0, x1, y1 within the image."""
    centres, radii = shapes[:, :2], shapes[:, 2:]
    corners = np.concatenate([centres - radii, centres + radii], axis=1)
    limits = np.tile(SIZE[::-1], 2)
    return torch.from_numpy(np.clip(corners, 0, limits).astype(np.float32))


def _annotation(shape: np.ndarray, thing: int) -> Item:
    pixels = _painted(shape)
    (outline,), _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    polygon = outline.reshape(-1).astype(float).tolist()
    rle = mask_util.merge(mask_util.frPyObjects([polygon], *SIZE))
    return {
        "bbox": mask_util.toBbox(rle).tolist(),
        "area": float(mask_util.area(rle)),
        "category_id": thing + 1,
        "segmentation": [polygon],
        "iscrowd": 0,
    }
