"""Tiny data sets in the format coco_panoptic."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import factories
from hard_scenes import hard_scenes

STUFF_IDS = {"sky": 9, "ground": 5}  # between and beyond those of the things


def make_coco_panoptic(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    holes: bool = False,
    parts: bool = False,
    cut: bool = False,
    crowd: bool = False,
    void: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a data set with the splits train and val.

    Behind the shapes there is sky above and ground below.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        holes: discs become rings.
        parts: squares become two rectangles.
        cut: the right and lower border cut objects.
        crowd: adds a crowd segment of the class square to every image.
        void: the lowest eighth is void where no shape is.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    splits = {}
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, num_images, size, holes=holes, parts=parts, cut=cut, crowd=crowd)
        factories._write_images(root / "images" / split, [image for image, _ in scenes])
        (root / f"panoptic_{split}").mkdir()
        images, annotations = [], []
        for index, (_, shapes) in enumerate(scenes):
            ids, segments = draw_segments(shapes, size, void)
            name_of_png = f"{index:03}.png"
            Image.fromarray(factories._id_to_rgb(ids)).save(
                root / f"panoptic_{split}" / name_of_png
            )
            images.append(
                {"id": 10 + index, "file_name": name_of_png, "height": size[0], "width": size[1]}
            )
            annotations.append(
                {"image_id": 10 + index, "file_name": name_of_png, "segments_info": segments}
            )
        content = {"images": images, "annotations": annotations, "categories": _categories()}
        (root / f"panoptic_{split}.json").write_text(json.dumps(content))
        splits[split] = {
            "images": f"images/{split}",
            "annotations": f"panoptic_{split}.json",
            "panoptic": f"panoptic_{split}",
        }
    name = name or f"panoptic{next(factories._names)}"
    return factories._write_spec(root, {"name": name, "format": "coco_panoptic", "splits": splits})


def draw_segments(
    shapes: list[dict[str, Any]], size: tuple[int, int], void: bool
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """(H, W) int64 segment ids of a scene, and what the json says of each segment."""
    ids, segments = np.zeros(size, np.int64), []
    behind = {"sky": np.zeros(size, bool), "ground": np.zeros(size, bool)}
    behind["sky"][: size[0] // 2] = True
    behind["ground"][size[0] // 2 : size[0] - (size[0] // 8 if void else 0)] = True
    layers = [(STUFF_IDS[kind], mask, 0) for kind, mask in behind.items()]
    layers += [(factories.DATASET_IDS[s["kind"]], s["mask"], s["iscrowd"]) for s in shapes]
    for number, (category, mask, crowd) in enumerate(layers, start=1):
        # All three channels have a part in the id.
        segment = {"id": 65536 * number + 256 * 7 + 11, "category_id": category, "iscrowd": crowd}
        ids[mask] = segment["id"]
        segments.append(segment)
    for segment in segments:
        mask = ids == segment["id"]
        segment |= {"bbox": factories._bbox(mask), "area": int(mask.sum())}
    return ids, [segment for segment in segments if segment["area"]]


def _categories() -> list[dict[str, Any]]:
    things = [{"id": i, "name": n, "isthing": 1} for n, i in factories.DATASET_IDS.items()]
    return things + [{"id": i, "name": n, "isthing": 0} for n, i in STUFF_IDS.items()]
