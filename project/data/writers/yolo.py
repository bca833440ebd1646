"""Writes Ultralytics' YOLO segmentation: a text file an image, a line an object, and data.yaml.

https://docs.ultralytics.com/datasets/segment/ documents the format.
"""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from project.data.images import image_size, orientation, resolve_exif
from project.data.labels import has_label_map
from project.data.orientation import UPRIGHT
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.data.writers.objects import objects_with_masks
from project.data.writers.outlines import trace
from project.data.writers.target import (
    Dataset,
    ImageMode,
    Loss,
    categories_of,
    count,
    place,
    prepare,
    say_losses,
    write_images,
    write_spec,
)
from project.errors import DatasetError

# Ultralytics finds the text file of an image by the last of these in its path.
_FOLDERS = ("images", "labels")
_NEEDED = ("train", "val")  # Ultralytics takes no data.yaml without them


def write(dataset: Dataset, out: Path, name: str, images: ImageMode, problems: Problems) -> Path:
    """Writes images, text files, data.yaml and a specification; see `project.data.writers.Writer`.

    An object that is one polygon inside of its image stays this polygon. Every other is traced
    along the edges of its pixels, with its holes and parts joined by seams of no width. Either way
    its pixels come back as they were.
    """
    categories = categories_of(dataset, "yolo")
    prepare(dataset, out, unreadable_names=("classes",))  # classes.txt lists names elsewhere
    exif = _exif(dataset)
    for split, (info, records) in dataset.items():
        with problems.in_split(split):
            names = place(info, records, problems, without=_FOLDERS)
            for record, path in write_images(records, names, out / "images" / split, images, split):
                target = out / "labels" / split / path.with_suffix(".txt")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("".join(_lines(record, problems)), encoding="ascii")
    index: dict[str, Any] = {split: f"images/{split}" for split in dataset}
    index["names"] = dict(enumerate(categories.things))
    text = yaml.safe_dump(index, sort_keys=False, allow_unicode=True)
    (out / "data.yaml").write_text(text, encoding="utf-8")
    _say_needed(dataset, out / "data.yaml", problems)
    splits = {
        split: {"images": f"images/{split}", "labels": f"labels/{split}"} for split in dataset
    }
    stuff = {"stuff": list(categories.stuff)} if categories.stuff else {}
    return write_spec(out, name, "yolo", dataset, splits, images, exif=exif, **stuff)


def _say_needed(dataset: Dataset, path: Path, problems: Problems) -> None:
    """Reports splits without which Ultralytics trains nothing."""
    lacking = [split for split in _NEEDED if split not in dataset]
    if lacking:
        problems.add(
            "split_needed",
            path,
            f"it names the splits {', '.join(dataset)}, not {' and '.join(lacking)}",
            "train and val, which Ultralytics asks for",
            "divide the images: tools/convert_dataset.py --to yolo --split 0.8/0.2",
        )


def _exif(dataset: Dataset) -> str:
    """How images are to be turned, where no size that is stated can tell.

    Raises:
        DatasetError: some are taken as their EXIF orientation says and some as they are stored.
    """
    spec = next(iter(dataset.values()))[0].spec
    if spec.exif != "auto":
        return spec.exif
    found: dict[bool, str] = {}
    for record in (record for _, records in dataset.values() for record in records):
        path, size = record["file_name"], (record["height"], record["width"])
        if (turned := orientation(path, spec.max_pixels)) != UPRIGHT:
            stored = image_size(path, exif="ignore", max_pixels=spec.max_pixels)
            found.setdefault(resolve_exif("auto", turned, stored, size), path)
    if len(found) == 2:
        raise DatasetError(
            f"{found[False]}: its annotations go by the picture as it is stored, those of"
            f" {found[True]} by the picture as EXIF turns it; yolo states no sizes that could tell"
            " which is which: write --to coco, which does"
        )
    return "ignore" if False in found else "apply"


def _lines(record: Record, problems: Problems) -> list[str]:
    """The lines of an image's text file."""
    lines = []
    seamed = crowds = 0
    for annotation, mask in objects_with_masks(record, problems):
        if annotation["iscrowd"]:
            crowds += 1
            continue
        points, seams = _points(annotation, mask, record)
        seamed += seams > 0
        numbers = map(repr, _shares(points, record).ravel().tolist())
        lines.append(" ".join([str(annotation["category_id"]), *numbers]) + "\n")
    with_map = has_label_map(record)
    losses = [
        Loss(crowds, f"{count(crowds, 'crowd region')} left out", "no crowds"),
        Loss(
            seamed,
            f"{count(seamed, 'object')} with holes or several parts written as one outline each, by"
            " seams of no width, which tools that draw outlines make a pixel wide",
            "one outline for each object",
        ),
        Loss(with_map, "its label map left out", "no label maps"),
    ]
    say_losses(problems, record, losses)
    return lines


def _points(
    annotation: Annotation, mask: np.ndarray | None, record: Record
) -> tuple[np.ndarray, int]:
    """(P, 2) float points of an object, and how many seams join its parts and holes."""
    if mask is None:
        return _centre_and_size(annotation, record), 0
    polygons = annotation["segmentation"]
    if isinstance(polygons, list) and len(polygons) == 1:
        points = np.array(polygons[0], dtype=np.float64).reshape(-1, 2)
        if (points >= 0).all() and (points <= (record["width"], record["height"])).all():
            return points, 0
    return trace(mask)


def _shares(points: np.ndarray, record: Record) -> np.ndarray:
    """(P, 2) points as fractions of the image, which multiplied again are not below the points.

    pycocotools rounds halves up, and tenths of a pixel, common in files, lie on such halves.
    """
    size = np.array([record["width"], record["height"]], dtype=np.float64)
    shares = points / size
    return np.where(shares * size < points, np.nextafter(shares, 2), shares)


def _centre_and_size(annotation: Annotation, record: Record) -> np.ndarray:
    """(2, 2) centre x, y and width, height of the part of a box that is in its image."""
    x, y, width, height = annotation["bbox"]
    left, right = np.clip([x, x + width], 0, record["width"])
    top, bottom = np.clip([y, y + height], 0, record["height"])
    return np.array([[(left + right) / 2, (top + bottom) / 2], [right - left, bottom - top]])
