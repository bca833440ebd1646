"""Tiny data sets in the format labelme."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import factories
from hard_scenes import hard_scenes


def make_labelme(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    holes: bool = False,
    parts: bool = False,
    cut: bool = False,
    crowd: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a data set with the splits train and val, each a folder of images and json files.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        holes: discs become rings, as shapes of the type mask.
        parts: squares become two rectangles of one group.
        cut: the right and lower border cut objects.
        crowd: adds a shape `__ignore__` to every image.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    kinds = {"holes": holes, "parts": parts, "cut": cut, "crowd": crowd}
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, num_images, size, **kinds)
        factories._write_images(root / split, [image for image, _ in scenes])
        for index, (_, shapes) in enumerate(scenes):
            content = {
                "version": "5.5.0",
                "flags": {},
                "shapes": [s for n, shape in enumerate(shapes) for s in _shapes(shape, n)],
                "imagePath": f"{index:03}.png",
                "imageData": None,
                "imageHeight": size[0],
                "imageWidth": size[1],
            }
            (root / split / f"{index:03}.json").write_text(json.dumps(content))
    spec = {"name": name or f"labelme{next(factories._names)}", "format": "labelme"}
    spec["splits"] = {split: {"annotations": split} for split in factories.SPLITS}
    return factories._write_spec(root, spec)


def _shapes(shape: dict[str, Any], number: int) -> list[dict[str, Any]]:
    label = "__ignore__" if shape["iscrowd"] else shape["kind"]
    if shape["holes"] or shape["iscrowd"]:
        return [{**_entry(label, "mask", None), **mask_entry(shape["mask"])}]
    group = number if len(shape["polygons"]) > 1 else None
    return [
        {**_entry(label, "polygon", group), "points": np.array(polygon).reshape(-1, 2).tolist()}
        for polygon in shape["polygons"]
    ]


def _entry(label: str, kind: str, group: int | None) -> dict[str, Any]:
    return {"label": label, "group_id": group, "shape_type": kind, "description": "", "flags": {}}


def mask_entry(mask: np.ndarray) -> dict[str, Any]:
    """The keys of a shape of the type mask that say where it is."""
    x, y, width, height = (int(side) for side in factories._bbox(mask))
    file = io.BytesIO()
    Image.fromarray(mask[y : y + height, x : x + width].astype(np.uint8)).save(file, format="PNG")
    return {
        "points": [[x, y], [x + width - 1, y + height - 1]],
        "mask": base64.b64encode(file.getvalue()).decode("ascii"),
    }
