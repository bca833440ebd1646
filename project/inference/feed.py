"""What the loader really feeds a model, beside what the data set holds, as pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts

from project.data.categories import Categories
from project.data.depth import picture
from project.data.mapper import SegmentationMapper
from project.engine.loader import training_mapper, training_records
from project.inference.scenes import fed_scene
from project.report.canvas import scale_image, side_by_side, stack
from project.report.captions import heading, legend
from project.report.palette import class_colours
from project.report.panels import draw_scene

_CELL = 480  # pixels of the longer side of a picture
_SHEET_COLUMNS, _SHEET_WIDTH = 2, 900  # images in a row of the contact sheet, pixels of one


@dataclass(frozen=True)
class FedImage:
    """One image with its truth, as items of a `SegmentationMapper`.

    Attributes:
        before: as it lies in the data set.
        after: as the loader feeds it, drawn some times.
    """

    before: dict[str, Any]
    after: list[dict[str, Any]]


def fed_images(cfg: CfgNode, split: str, count: int, draws: int) -> Iterator[FedImage]:
    """Maps a random choice of records as the loader does, and without any change.

    Args:
        cfg: complete, see `project.engine.setup.prepare_config`.
        split: "train": as in training; "val": sized as in testing.
        count: images; fewer where there are fewer records.
        draws: how often each is fed.
    """
    training = split == "train"
    parts = {**SegmentationMapper.from_config(cfg, is_train=training), "is_train": True}
    plain, mapper = (
        SegmentationMapper(**{**parts, "augmentations": []}),
        SegmentationMapper(**parts),
    )
    if training:
        records = training_records(cfg, mapper)
        feed = training_mapper(cfg, mapper, records)
    else:
        records = get_detection_dataset_dicts(cfg.DATASETS.TEST, filter_empty=False)
        feed = mapper
    generator = np.random.default_rng(None if cfg.SEED < 0 else cfg.SEED)
    for index in generator.permutation(len(records))[:count]:
        yield FedImage(plain(records[index]), [feed(records[index]) for _ in range(draws)])


def draw_fed(fed: FedImage, categories: Categories, image_format: str) -> np.ndarray:
    """Before and after side by side: each a column of the image, its objects and its label map.

    Args:
        fed: what to draw.
        categories: of the data set.
        image_format: INPUT.FORMAT, the order of the channels.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    titles = ["as it is", *(f"fed, draw {n}" for n in range(1, len(fed.after) + 1))]
    columns = [
        _column(item, title, categories, image_format)
        for title, item in zip(titles, [fed.before, *fed.after])
    ]
    table = stack([side_by_side(list(row)) for row in zip(*columns)])
    width = table.shape[1]
    entries = list(zip(categories.semantic, class_colours(categories).tolist()))
    title = heading(width, "/".join(Path(fed.before["file_name"]).parts[-2:]))
    return stack([title, table, legend(width, entries)], gap=0)


def contact_sheet(pictures: list[np.ndarray]) -> np.ndarray:
    """All pictures on one (h, w, 3) sheet, two in a row, equally wide."""
    tiles = [scale_image(picture, _SHEET_WIDTH / picture.shape[1]) for picture in pictures]
    rows = [tiles[i : i + _SHEET_COLUMNS] for i in range(0, len(tiles), _SHEET_COLUMNS)]
    return stack([side_by_side(row, gap=24) for row in rows], gap=24)


def _column(
    item: dict[str, Any], title: str, categories: Categories, image_format: str
) -> list[np.ndarray]:
    """A caption and pictures (h, 480, 3), one above the other."""
    image = picture(item["image"].numpy().transpose(1, 2, 0), image_format)
    height, width = image.shape[:2]
    scale = _CELL / max(height, width)
    shown = scale_image(image, scale)
    pictures = draw_scene(shown, fed_scene(item).scaled(scale), categories)
    caption = heading(_CELL, f"{title}: {height} x {width} pixels (height x width)")
    # Columns stand below each other only if all are equally wide.
    ground = np.full((1, _CELL, 3), 255, np.uint8)
    return [caption, *(stack([p, ground], gap=0) for p in (shown, *pictures.values()))]
