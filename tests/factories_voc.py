"""Tiny data sets in the format voc."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

import factories
from hard_scenes import hard_scenes

CLASSES = ["background", "square", "disc"]
VOID = 255


def make_voc(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    holes: bool = False,
    parts: bool = False,
    cut: bool = False,
    void: bool = False,
    objects: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a data set with the splits train and val, whose files lie in the same folders.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        holes: discs become rings.
        parts: squares become two rectangles.
        cut: the right and lower border cut objects.
        void: the outlines of objects are void, one pixel wide, in both maps.
        objects: writes object maps beside the class maps.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    paths = {"images": "JPEGImages", "labels": "SegmentationClass"}
    if objects:
        paths["objects"] = "SegmentationObject"
    lists = root / "ImageSets" / "Segmentation"
    for folder in (*(root / path for path in paths.values()), lists):
        folder.mkdir(parents=True)
    splits = {}
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, num_images, size, holes=holes, parts=parts, cut=cut)
        stems = [f"{split}_{index:06}" for index in range(num_images)]
        for stem, (image, shapes) in zip(stems, scenes):
            Image.fromarray(image).save(root / paths["images"] / f"{stem}.jpg", quality=95)
            classes, numbers = draw_maps(shapes, size, void)
            _save(root / paths["labels"] / f"{stem}.png", classes)
            if objects:
                _save(root / paths["objects"] / f"{stem}.png", numbers)
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        splits[split] = {**paths, "list": f"ImageSets/Segmentation/{split}.txt"}
    name = name or f"voc{next(factories._names)}"
    spec = {"name": name, "format": "voc", "classes": CLASSES, "splits": splits}
    return factories._write_spec(root, spec)


def draw_maps(
    shapes: list[dict[str, Any]], size: tuple[int, int], void: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 classes and object numbers 1, 2, ... of a scene."""
    classes, numbers = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for number, shape in enumerate(shapes, start=1):
        classes[shape["mask"]] = CLASSES.index(shape["kind"])
        numbers[shape["mask"]] = number
        if void:
            mask = shape["mask"].astype(np.uint8)
            outline = (mask > 0) & (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 0)
            classes[outline] = numbers[outline] = VOID
    return classes, numbers


def _save(path: Path, values: np.ndarray) -> None:
    factories._palette_image(values).save(path)
