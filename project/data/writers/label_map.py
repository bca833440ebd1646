"""Writes label maps: one class for each pixel."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from project.data.categories import IGNORE_LABEL
from project.data.dataset import DatasetInfo
from project.data.labels import decode_mask, read_semantic, write_label_map
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.data.writers.target import (
    Dataset,
    ImageMode,
    Loss,
    count,
    place,
    prepare,
    say_losses,
    write_images,
    write_spec,
)


def write(dataset: Dataset, out: Path, name: str, images: ImageMode, problems: Problems) -> Path:
    """Writes images, label maps and a specification; see `project.data.writers.Writer`.

    The values are the semantic ids, 255 for pixels to ignore. The countable classes come back as
    connected regions. What that changes is said for each image.
    """
    prepare(dataset, out)
    for split, (info, records) in dataset.items():
        folder = out / "labels" / split
        with problems.in_split(split):
            names = place(info, records, problems)
            for record, path in write_images(records, names, out / "images" / split, images, split):
                target = folder / path.with_suffix(".png")
                target.parent.mkdir(parents=True, exist_ok=True)
                semantic = read_semantic(record, info)
                write_label_map(target, semantic)
                _say_losses(record, semantic, info, problems)
    categories = next(iter(dataset.values()))[0].categories
    fields: dict[str, Any] = {
        "classes": {n: i for i, n in enumerate(categories.semantic)},
        "ignore": [IGNORE_LABEL],
    }
    if categories.things:
        fields |= {"things": list(categories.things), "instances": "connected_components"}
    splits = {
        split: {"images": f"images/{split}", "labels": f"labels/{split}"} for split in dataset
    }
    return write_spec(out, name, "label_map", dataset, splits, images, **fields)


def _say_losses(
    record: Record, semantic: np.ndarray, info: DatasetInfo, problems: Problems
) -> None:
    annotations = record.get("annotations", [])
    crowds = sum(a["iscrowd"] for a in annotations)
    boxes = sum(not a["iscrowd"] and "segmentation" not in a for a in annotations)
    losses = [
        Loss(crowds, f"{count(crowds, 'crowd region')} written as pixels to ignore", "no crowds"),
        Loss(
            boxes,
            f"{count(boxes, 'object')} of which only boxes are known written as pixels to ignore",
            "masks, no boxes",
        ),
    ]
    for what, number in _faults(record, annotations, semantic, info).items():
        found = f"{count(number, 'object')} {what}"
        losses.append(Loss(number, found, "each object one region, apart from its class's others"))
    say_losses(problems, record, losses)


def _faults(
    record: Record, annotations: list[Annotation], semantic: np.ndarray, info: DatasetInfo
) -> dict[str, int]:
    """What happens to objects -> how many: those that do not come back as they were."""
    regions: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    faults: dict[str, int] = {}
    for annotation in annotations:
        if annotation["iscrowd"] or "segmentation" not in annotation:
            continue
        semantic_id = info.categories.semantic_of_thing(annotation["category_id"])
        if semantic_id not in regions:
            regions[semantic_id] = _regions(semantic == semantic_id)
        mask = decode_mask(annotation["segmentation"], record["height"], record["width"])
        if what := _fault(mask, *regions[semantic_id]):
            faults[what] = faults.get(what, 0) + 1
    return faults


def _regions(of_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) number of each pixel's connected region, 0 for other classes; (R,) their pixels."""
    _, numbers, statistics, _ = cv2.connectedComponentsWithStats(
        of_class.view(np.uint8), connectivity=8
    )
    return numbers, statistics[:, cv2.CC_STAT_AREA]


def _fault(mask: np.ndarray, numbers: np.ndarray, areas: np.ndarray) -> str | None:
    found, pixels = np.unique(numbers[mask], return_counts=True)
    own = found > 0
    if not own.any():
        return "hidden by others"
    if (areas[found[own]] > pixels[own]).any():
        return "joined with others of the class that touch"
    if not own.all():
        return "partly hidden by others"
    return "in several parts, which become objects" if own.sum() > 1 else None
