"""Tiny data sets in the format cityscapes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import factories
from hard_scenes import hard_scenes

LABELS = {"square": "car", "disc": "person"}
IDS = {"car": 26, "person": 24, "road": 7, "sky": 23, "out of roi": 3, "cargroup": 26}


def make_cityscapes(
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
    """Writes a data set with the splits train and val, each of two cities.

    Squares are cars, discs persons; they stand on the road, below a strip of sky.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        holes: what is within the rings of discs is painted over with road.
        parts: what is between the two parts of squares is painted over with road.
        cut: the right and lower border cut objects.
        crowd: adds a `cargroup` to every image.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    kinds = {"holes": holes, "parts": parts, "cut": cut, "crowd": crowd}
    for split in factories.SPLITS:
        for index, (image, shapes) in enumerate(hard_scenes(rng, num_images, size, **kinds)):
            city = ("aachen", "bochum")[index % 2]
            stem = f"{split}/{city}/{city}_{index:06}_000019"
            objects = [o for shape in shapes for o in _objects(shape)]
            _write(root, stem, image, [*_scenery(size), *objects], size)
    splits = {split: {"annotations": f"gtFine/{split}"} for split in factories.SPLITS}
    name = name or f"cityscapes{next(factories._names)}"
    return factories._write_spec(root, {"name": name, "format": "cityscapes", "splits": splits})


def paint(objects: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 label ids, painted as the scripts of Cityscapes do."""
    canvas = Image.new("L", size[::-1], 0)
    for entry in objects:
        points = [tuple(point) for point in entry["polygon"]]
        ImageDraw.Draw(canvas).polygon(points, fill=IDS[entry["label"]])
    return np.asarray(canvas)


def _write(
    root: Path,
    stem: str,
    image: np.ndarray,
    objects: list[dict[str, Any]],
    size: tuple[int, int],
) -> None:
    truth, picture = root / "gtFine" / stem, root / "leftImg8bit" / f"{stem}_leftImg8bit.png"
    for path in (truth, picture):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(picture)
    content = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
    Path(f"{truth}_gtFine_polygons.json").write_text(json.dumps(content))
    Image.fromarray(paint(objects, size)).save(f"{truth}_gtFine_labelIds.png")


def _scenery(size: tuple[int, int]) -> list[dict[str, Any]]:
    height, width = size
    return [
        _rectangle("road", 0, 0, width - 1, height - 1),
        _rectangle("sky", 0, 0, width - 1, 2),
        _rectangle("out of roi", 0, 0, 1, height - 1),
    ]


def _objects(shape: dict[str, Any]) -> list[dict[str, Any]]:
    """The polygon of a shape, and road over what is not of it."""
    if shape["iscrowd"]:
        x, y, width, height = (int(side) for side in factories._bbox(shape["mask"]))
        return [_rectangle("cargroup", x, y, x + width - 1, y + height - 1)]
    polygons = [np.array(p).reshape(-1, 2).round().astype(int) for p in shape["polygons"]]
    found = [{"label": LABELS[shape["kind"]], "polygon": polygons[0].tolist()}]
    if len(polygons) > 1:
        (left, top), (right, bottom) = np.min(polygons, axis=(0, 1)), np.max(polygons, axis=(0, 1))
        gap = polygons[0][:, 0].max() + 1, polygons[1][:, 0].min() - 1
        found = [
            _rectangle(LABELS[shape["kind"]], left, top, right, bottom),
            _rectangle("road", gap[0], top, gap[1], bottom),
        ]
    holes = [np.array(p).reshape(-1, 2).round().astype(int).tolist() for p in shape["holes"]]
    return found + [{"label": "road", "polygon": hole} for hole in holes]


def _rectangle(label: str, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "polygon": [[int(x), int(y)] for x, y in corners]}
