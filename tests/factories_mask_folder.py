"""Tiny data sets in the format mask_folder."""

from pathlib import Path

import numpy as np
from PIL import Image

import factories
from hard_scenes import hard_scenes


def make_mask_folder(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    holes: bool = False,
    parts: bool = False,
    cut: bool = False,
    flat: bool = False,
    white: int = 255,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a data set with the splits train and val.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        holes: discs become rings.
        parts: squares become two rectangles.
        cut: the right and lower border cut objects.
        flat: masks lie in no folder of their class; all objects are of the class shape.
        white: value of the pixels of an object.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, num_images, size, holes=holes, parts=parts, cut=cut)
        for index, (image, shapes) in enumerate(scenes):
            folder = root / split / f"sample{index:03}"
            (folder / "images").mkdir(parents=True)
            Image.fromarray(image).save(folder / "images" / f"photo{index}.png")
            for number, shape in enumerate(shapes):
                masks = folder / "masks" / ("" if flat else shape["kind"])
                masks.mkdir(parents=True, exist_ok=True)
                pixels = shape["mask"].astype(np.uint8) * white
                Image.fromarray(pixels).save(masks / f"{number}.png")
    things = ["shape"] if flat else list(factories.DATASET_IDS)
    splits = {split: {"samples": split} for split in factories.SPLITS}
    name = name or f"folders{next(factories._names)}"
    spec = {"name": name, "format": "mask_folder", "things": things, "splits": splits}
    return factories._write_spec(root, spec)
