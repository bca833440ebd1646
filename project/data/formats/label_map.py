"""Folders of images and label maps, paired by their names without the suffix."""

import logging
from pathlib import Path

import cv2
import numpy as np
from detectron2.structures import BoxMode
from tqdm import tqdm

from project.data.categories import Categories
from project.data.files import files_by_stem, require_path, some_of
from project.data.images import image_size
from project.data.labels import LabelEncoding, encode_mask, label_encoding, read_label_map
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.data.spec import DatasetSpec
from project.errors import DatasetError, nearest

logger = logging.getLogger(__name__)


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes as the specification has them; the same for all splits.

    Raises:
        DatasetError: `classes` is missing, or `things` and `instances` do not fit.
    """
    del split  # the specification names the classes for all
    if not spec.classes:
        raise DatasetError(
            f"{spec.where}: the format label_map needs `classes:`, a list of names (the first has"
            " the value 0) or a mapping such as {background: 0, cell: 255}"
        )
    things = spec.things or ()
    for name in things:
        if name not in spec.classes:
            raise DatasetError(
                f"{spec.where}: things: '{name}' is no class.{nearest(name, spec.classes)}"
            )
    if bool(things) != bool(spec.instances):
        raise DatasetError(
            f"{spec.where}: `things: [...]` and `instances: connected_components` go together:"
            " label maps do not tell the objects of one class apart"
        )
    return Categories(things=things, stuff=tuple(n for n in spec.classes if n not in things))


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding:
    """What the values of the label maps mean.

    Raises:
        DatasetError: see `label_encoding`.
    """
    del split
    return label_encoding(spec, categories)


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The image's label map."""
    del spec, split
    return Path(record["sem_seg_file_name"])


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record a label map; objects by connected components where the specification asks.

    The image folder may be absent: scoring needs none.

    Raises:
        DatasetError: a folder is missing or empty, or an image or a label map has no partner.
    """
    labels = _label_files(spec, split)
    images = _image_files(spec, split, labels)
    encoding = label_encoding(spec, categories)
    records = []
    # Components need every pixel: worth a bar. Otherwise only headers are read.
    for stem, path in tqdm(
        labels.items(), f"{spec.name}_{split}", disable=None if categories.things else True
    ):
        height, width = image_size(path)
        record = Record(
            file_name=str(images[stem]),
            image_id=stem,
            height=height,
            width=width,
            sem_seg_file_name=str(path),
        )
        if categories.things:
            record["annotations"] = _components(path, encoding, categories)
        records.append(record)
    _number(records)
    return records


def _label_files(spec: DatasetSpec, split: str) -> dict[str, Path]:
    folder = require_path(spec.resolve(split, "labels"), f"{spec.where}: splits.{split}.labels")
    labels = files_by_stem(folder)
    if not labels:
        raise DatasetError(f"{spec.where}: splits.{split}.labels: no label maps in {folder}")
    return labels


def _image_files(spec: DatasetSpec, split: str, labels: dict[str, Path]) -> dict[str, Path]:
    """Image of each label map; where there is no image folder, the name that it would have."""
    if "images" not in spec.splits[split]:
        return labels
    folder = spec.resolve(split, "images")
    if not folder.is_dir():
        logger.warning("%s: %s does not exist: good for scoring only", spec.where, folder)
        return {stem: folder / path.name for stem, path in labels.items()}
    images = files_by_stem(folder)
    if not images:
        raise DatasetError(f"{spec.where}: splits.{split}.images: there are no images in {folder}")
    for have, other, what in ((images, labels, "label map"), (labels, images, "image")):
        lonely = [str(path) for stem, path in have.items() if stem not in other]
        if lonely:
            raise DatasetError(
                f"{spec.where}: splits.{split}: no {what} for {some_of(lonely)}; an image and its"
                " label map have the same name but for the suffix"
            )
    return images


def _components(path: Path, encoding: LabelEncoding, categories: Categories) -> list[Annotation]:
    """One object for each 8-connected region of each countable class."""
    semantic = read_label_map(path, encoding)
    annotations: list[Annotation] = []
    for thing_id in range(len(categories.things)):
        of_class = semantic == categories.semantic_of_thing(thing_id)
        count, regions, statistics, _ = cv2.connectedComponentsWithStats(
            of_class.astype(np.uint8), connectivity=8
        )
        for region in range(1, count):
            x, y, width, height, area = statistics[region].tolist()
            annotations.append(
                Annotation(
                    bbox=[float(v) for v in (x, y, width, height)],
                    bbox_mode=BoxMode.XYWH_ABS,
                    category_id=thing_id,
                    segmentation=encode_mask(regions == region),
                    iscrowd=0,
                    area=float(area),
                )
            )
    return annotations


def _number(records: list[Record]) -> None:
    """Gives the objects of a split ids 1, 2, ..., in place."""
    annotations = [a for record in records for a in record.get("annotations", [])]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
