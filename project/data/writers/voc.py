"""Writes PASCAL VOC: palette PNG files of classes and of objects, and lists of names."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from project.data.categories import IGNORE_LABEL
from project.data.dataset import DatasetInfo
from project.data.labels import decode_masks, panoptic_truth, read_semantic, write_label_map
from project.data.problems import Problems
from project.data.records import Record
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

VOID = 255
MAX_OBJECTS = VOID - 1  # of an image: 0 is no object


def write(dataset: Dataset, out: Path, name: str, images: ImageMode, problems: Problems) -> Path:
    """Writes VOC's folders and a specification; see `project.data.writers.Writer`.

    Names stand in all folders as they were; where two splits share one, each split has a folder of
    its own in each of them. The values of class maps are the semantic ids.
    """
    prepare(dataset, out)
    lists = out / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = _names(dataset, problems)
    with_objects = bool(next(iter(dataset.values()))[0].categories.things)
    for split, (info, records) in dataset.items():
        stems = [str(path.with_suffix("")) for path in names[split]]
        (lists / f"{split}.txt").write_text("".join(f"{s}\n" for s in stems), encoding="utf-8")
        with problems.in_split(split):
            written = write_images(records, names[split], out / "JPEGImages", images, split)
            for record, path in written:
                semantic = read_semantic(record, info)
                if with_objects:
                    objects = _object_map(record, info, semantic, problems)
                    _write(out / "SegmentationObject", path, objects)
                _write(out / "SegmentationClass", path, semantic)
    splits = {split: _paths(split, with_objects) for split in dataset}
    return write_spec(out, name, "voc", dataset, splits, images, **_fields(dataset))


def _names(dataset: Dataset, problems: Problems) -> dict[str, list[PurePosixPath]]:
    """Split -> the path of each image in JPEGImages."""
    names = {}
    for split, (info, records) in dataset.items():
        with problems.in_split(split):
            names[split] = place(info, records, problems)
    stems = [str(n.with_suffix("")).casefold() for of_split in names.values() for n in of_split]
    if len(set(stems)) < len(stems):
        return {split: [split / path for path in of_split] for split, of_split in names.items()}
    return names


def _paths(split: str, with_objects: bool) -> dict[str, str]:
    paths = {"images": "JPEGImages", "labels": "SegmentationClass"}
    if with_objects:
        paths["objects"] = "SegmentationObject"
    return {**paths, "list": f"ImageSets/Segmentation/{split}.txt"}


def _fields(dataset: Dataset) -> dict[str, Any]:
    categories = next(iter(dataset.values()))[0].categories
    fields: dict[str, Any] = {
        "classes": {name: value for value, name in enumerate(categories.semantic)},
        "ignore": [VOID],
    }
    if categories.things:
        fields["things"] = list(categories.things)
    return fields


def _write(folder: Path, path: PurePosixPath, values: np.ndarray) -> None:
    target = folder / path.with_suffix(".png")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(target, values)


def _object_map(
    record: Record, info: DatasetInfo, semantic: np.ndarray, problems: Problems
) -> np.ndarray:
    """(H, W) uint8 numbers of the objects; changes `semantic` to hold what VOC can say of them.

    An object's pixels get its class; crowds, and objects beyond the number that 8 bits hold, the
    smallest first, become void in both maps.
    """
    ids, segments = panoptic_truth(record, info)
    things = [s for s in segments if s["isthing"] and not s["iscrowd"]]
    kept = {s["id"] for s in sorted(things, key=lambda s: -s["area"])[:MAX_OBJECTS]}
    objects = np.zeros(ids.shape, dtype=np.uint8)
    relabelled = 0
    number = 0
    for segment in segments:
        if not segment["isthing"]:
            continue
        pixels = ids == segment["id"]
        if segment["id"] not in kept:
            semantic[pixels] = IGNORE_LABEL
            continue
        number += 1
        objects[pixels] = number
        relabelled += np.count_nonzero(semantic[pixels] != segment["semantic_id"])
        semantic[pixels] = segment["semantic_id"]
    objects[semantic == IGNORE_LABEL] = VOID
    _say_losses(record, sum(s["area"] for s in things), len(things), relabelled, problems)
    return objects


def _say_losses(
    record: Record, seen_pixels: int, seen: int, relabelled: int, problems: Problems
) -> None:
    """Reports what an image's maps do not hold.

    Args:
        record: of the image.
        seen_pixels: of all objects together, where they are not hidden by others.
        seen: objects of which a pixel is seen.
        relabelled: pixels to which the source's label map gives another class than its object's.
        problems: takes the findings.
    """
    annotations = record.get("annotations", [])
    solid = [a for a in annotations if "segmentation" in a and not a["iscrowd"]]
    masks = decode_masks(solid, record["height"], record["width"])
    pixels = sum(int(np.count_nonzero(mask)) for mask in masks)
    crowds = sum(a["iscrowd"] for a in annotations)
    boxes = sum("segmentation" not in a and not a["iscrowd"] for a in annotations)
    hidden, beyond = pixels - seen_pixels, max(0, seen - MAX_OBJECTS)
    losses = [
        Loss(crowds, f"{count(crowds, 'crowd region')} written as void", "no crowds"),
        Loss(
            boxes,
            f"{count(boxes, 'object')} of which only boxes are known written as void",
            "masks, no boxes",
        ),
        Loss(
            hidden,
            f"{hidden} of {pixels} object pixels ({hidden / max(1, pixels):.1%}) hidden by other"
            f" objects, {count(len(solid) - seen, 'object')} entirely",
            "one object a pixel",
        ),
        Loss(
            beyond,
            f"{seen} objects, of which the {beyond} smallest are written as void",
            f"at most {MAX_OBJECTS} objects an image",
        ),
        Loss(
            relabelled,
            f"{relabelled} pixels of objects, to which its label map gives another class, written"
            " with their object's",
            "one class a pixel",
        ),
    ]
    say_losses(problems, record, losses)
