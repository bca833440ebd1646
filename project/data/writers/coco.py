"""Writes COCO json files; with label maps beside them where the source has such."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from project.data.categories import IGNORE_LABEL, Categories
from project.data.dataset import DatasetInfo
from project.data.labels import encode_mask, has_label_map, read_semantic, write_label_map
from project.data.masks import measure_mask
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.data.writers.objects import objects_with_masks
from project.data.writers.target import (
    Dataset,
    ImageMode,
    categories_of,
    place,
    prepare,
    write_images,
    write_spec,
)

_KEPT = ("keypoints", "score", "mask_score")  # of an annotation, as they are


def write(dataset: Dataset, out: Path, name: str, images: ImageMode, problems: Problems) -> Path:
    """Writes images, `<split>.json` and a specification; see `project.data.writers.Writer`.

    Polygons stay polygons, every other mask becomes a compressed RLE. Box and area are those of
    the mask's pixels. Ids are kept where they are whole numbers and no two are the same.
    """
    categories = categories_of(dataset, "coco")
    prepare(dataset, out)
    splits: dict[str, dict[str, str]] = {}
    for split, (info, records) in dataset.items():
        # All splits get the numbers of the first, whatever their own files called the classes.
        info = replace(info, categories=categories)
        with problems.in_split(split):
            content = _write_split(info, records, out, split, images, problems)
        (out / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
        splits[split] = {"images": f"images/{split}", "annotations": f"{split}.json"}
        if any(map(has_label_map, records)):
            splits[split]["labels"] = f"labels/{split}"
    with_labels = any("labels" in paths for paths in splits.values())
    return write_spec(
        out, name, "coco", dataset, splits, images, **_fields(categories, with_labels)
    )


def _fields(categories: Categories, with_labels: bool) -> dict[str, Any]:
    """The keys of the specification that name classes."""
    # The pixels of no object have a class in this format, be there such pixels or not.
    stuff = (
        categories.stuff or [n for n in ("background", "rest") if n not in categories.things][:1]
    )
    fields: dict[str, Any] = {"things": list(categories.things), "stuff": list(stuff)}
    if with_labels:
        names = dict.fromkeys((*categories.semantic, *stuff))
        fields |= {"classes": {n: i for i, n in enumerate(names)}, "ignore": [IGNORE_LABEL]}
    return fields


def _write_split(
    info: DatasetInfo,
    records: list[Record],
    out: Path,
    split: str,
    images: ImageMode,
    problems: Problems,
) -> dict[str, Any]:
    """Writes the images and label maps of a split; returns the content of its json file."""
    names = place(info, records, problems)
    with_labels = any(map(has_label_map, records))
    image_ids = iter(_unique_ids([record["image_id"] for record in records]))
    image_entries: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for record, name in write_images(records, names, out / "images" / split, images, split):
        image_id = next(image_ids)
        size = {"height": record["height"], "width": record["width"]}
        image_entries.append({"id": image_id, "file_name": str(name), **size})
        for annotation, mask in objects_with_masks(record, problems):
            entries.append(_entry(annotation, mask, image_id, info.categories))
        if with_labels:
            path = out / "labels" / split / name.with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_map(path, read_semantic(record, info))
    for entry, number in zip(entries, _unique_ids([entry["id"] for entry in entries])):
        entry["id"] = number
    categories = zip(info.categories.things, info.categories.thing_dataset_ids)
    return {
        "images": image_entries,
        "annotations": entries,
        "categories": [{"id": number, "name": thing} for thing, number in categories],
    }


def _unique_ids(ids: list[Any]) -> list[int]:
    """The ids themselves if they are different whole numbers, else 1, 2, ..."""
    if all(type(i) is int for i in ids) and len(set(ids)) == len(ids):
        return ids
    return list(range(1, len(ids) + 1))


def _entry(
    annotation: Annotation, mask: np.ndarray | None, image_id: int, categories: Categories
) -> dict[str, Any]:
    """One of `annotations`."""
    entry: dict[str, Any] = {
        "id": annotation.get("id"),
        "image_id": image_id,
        "category_id": categories.thing_dataset_ids[annotation["category_id"]],
        "iscrowd": annotation["iscrowd"],
    }
    kept: dict[str, Any] = {key: annotation.get(key) for key in _KEPT if key in annotation}
    entry |= kept
    if mask is None:
        box = annotation["bbox"]
        return {**entry, "bbox": box, "area": annotation.get("area", box[2] * box[3])}
    segmentation = annotation["segmentation"]
    box, area = measure_mask(mask)
    return {
        **entry,
        "bbox": box,
        "area": area,
        "segmentation": segmentation if isinstance(segmentation, list) else encode_mask(mask),
    }
