"""What the loader really feeds a model, as pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts

from project.data.categories import Categories
from project.data.mapper import SegmentationMapper
from project.engine.trainer import training_records
from project.inference.scenes import fed_scene
from project.report.canvas import display_scale, scale_image, side_by_side, stack
from project.report.captions import heading, legend
from project.report.palette import class_colours
from project.report.panels import draw_scene

_SHEET_COLUMNS, _SHEET_WIDTH = 2, 900  # strips in a row of the contact sheet, pixels of a strip


def fed_items(
    cfg: CfgNode, split: str, count: int, *, raw: bool = False
) -> Iterator[dict[str, Any]]:
    """Maps a random choice of records as the loader does, with their truth.

    Args:
        cfg: complete, see `project.engine.setup.prepare_config`.
        split: "train": as in training; "val": sized as in testing.
        count: items; fewer where there are fewer records.
        raw: without any change of the images.
    """
    training = split == "train"
    parts = SegmentationMapper.from_config(cfg, is_train=training)
    mapper = SegmentationMapper(
        **{**parts, "is_train": True, "augmentations": [] if raw else parts["augmentations"]}
    )
    if training:
        records = training_records(cfg, mapper)
    else:
        records = get_detection_dataset_dicts(cfg.DATASETS.TEST, filter_empty=False)
    generator = np.random.default_rng(None if cfg.SEED < 0 else cfg.SEED)
    for index in generator.permutation(len(records))[:count]:
        yield mapper(records[index])


def draw_item(item: dict[str, Any], categories: Categories, image_format: str) -> np.ndarray:
    """The image, its objects with boxes and its label map side by side, (h, w, 3) uint8 RGB.

    Args:
        item: of a `SegmentationMapper`.
        categories: of the data set.
        image_format: INPUT.FORMAT, the order of the channels.
    """
    pixels = item["image"].numpy().transpose(1, 2, 0)
    image = np.ascontiguousarray(pixels[:, :, ::-1] if image_format == "BGR" else pixels)
    scale = display_scale(image.shape[:2])
    shown = scale_image(image, scale)
    pictures = draw_scene(shown, fed_scene(item).scaled(scale), categories)
    strip = side_by_side([shown, *pictures.values()])
    width = strip.shape[1]
    entries = list(zip(categories.semantic, class_colours(categories).tolist()))
    size = f"{image.shape[0]} x {image.shape[1]} pixels (height x width)"
    name = "/".join(Path(item["file_name"]).parts[-2:])
    title = heading(width, f"{name}, fed as {size}")
    return stack([title, strip, legend(width, entries)], gap=0)


def contact_sheet(pictures: list[np.ndarray]) -> np.ndarray:
    """All pictures on one (h, w, 3) sheet, two in a row, equally wide."""
    tiles = [scale_image(picture, _SHEET_WIDTH / picture.shape[1]) for picture in pictures]
    rows = [tiles[i : i + _SHEET_COLUMNS] for i in range(0, len(tiles), _SHEET_COLUMNS)]
    return stack([side_by_side(row, gap=24) for row in rows], gap=24)
