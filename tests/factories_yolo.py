"""Tiny data sets in the format yolo."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

import factories
from hard_scenes import hard_scenes

NAMES = ["square", "disc"]


def make_yolo(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    holes: bool = False,
    parts: bool = False,
    cut: bool = False,
    boxes: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a data set with the splits train and val.

    A line is one polygon: holes and parts are joined to it by bridges of no width.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        holes: discs become rings.
        parts: squares become two rectangles.
        cut: the right and lower border cut objects.
        boxes: lines are boxes instead of polygons.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, num_images, size, holes=holes, parts=parts, cut=cut)
        factories._write_images(root / "images" / split, [image for image, _ in scenes])
        folder = root / "labels" / split
        folder.mkdir(parents=True)
        for index, (_, shapes) in enumerate(scenes):
            lines = [_box(s, size) if boxes else _polygon(s, size) for s in shapes]
            (folder / f"{index:03}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text(yaml.safe_dump({"nc": len(NAMES), "names": NAMES}))
    splits = {s: {"images": f"images/{s}", "labels": f"labels/{s}"} for s in factories.SPLITS}
    name = name or f"yolo{next(factories._names)}"
    return factories._write_spec(root, {"name": name, "format": "yolo", "splits": splits})


def _polygon(shape: dict[str, Any], size: tuple[int, int]) -> str:
    outline: list[np.ndarray] = []
    for ring in shape["polygons"] + shape["holes"]:
        points = np.array(ring).reshape(-1, 2)
        # There and back along the same line, and around the ring in between.
        outline += [*points, points[0], outline[0]] if outline else [*points, points[0]]
    return _line(shape, np.array(outline) / (size[1], size[0]))


def _box(shape: dict[str, Any], size: tuple[int, int]) -> str:
    x, y, width, height = factories._bbox(shape["mask"])
    box = np.array([x + width / 2, y + height / 2, width, height])
    return _line(shape, box / (size[1], size[0], size[1], size[0]))


def _line(shape: dict[str, Any], numbers: np.ndarray) -> str:
    return (
        " ".join([str(NAMES.index(shape["kind"])), *(f"{v:.9g}" for v in numbers.ravel())]) + "\n"
    )
