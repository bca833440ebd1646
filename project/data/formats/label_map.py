"""Folders of images and label maps, paired by their names without the suffix."""

import logging
from pathlib import Path

import cv2
import numpy as np
from detectron2.structures import BoxMode
from tqdm import tqdm

from project.data.categories import Categories
from project.data.files import files_by_stem, require_path
from project.data.images import image_size
from project.data.labels import LabelEncoding, encode_mask, label_encoding, read_label_map
from project.data.problems import Problem, Problems
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
        raise _wrong(
            "classes_missing",
            spec.where,
            "the format label_map needs `classes:`",
            "a list of names (the first has the value 0) or a mapping such as"
            " {background: 0, cell: 255}",
            "add it",
        )
    things = spec.things or ()
    for name in things:
        if name not in spec.classes:
            raise _wrong(
                "class_unknown",
                spec.where,
                f"things: '{name}' is no class.{nearest(name, spec.classes)}",
                "names of `classes:`",
                "mend the name",
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
        DatasetError: a folder is missing or empty; in strict mode, the first error.
    """
    labels = _label_files(spec, split, problems)
    images = _image_files(spec, split, labels, problems)
    encoding = label_encoding(spec, categories)
    records = []
    # Components need every pixel: worth a bar. Otherwise only headers are read.
    for stem, image in tqdm(
        images.items(), f"{spec.name}_{split}", disable=None if categories.things else True
    ):
        try:
            size = image_size(labels[stem], max_pixels=spec.max_pixels)
            records.append(_record(image, labels[stem], stem, size, encoding, categories))
        except DatasetError as error:
            problems.keep_error(error, "file_invalid", labels[stem])
    _number(records)
    return records


def _record(
    image: Path,
    label: Path,
    stem: str,
    size: tuple[int, int],
    encoding: LabelEncoding,
    categories: Categories,
) -> Record:
    """The record of an image and its label map."""
    record = Record(
        file_name=str(image),
        image_id=stem,
        height=size[0],
        width=size[1],
        sem_seg_file_name=str(label),
    )
    if categories.things:
        record["annotations"] = _components(label, encoding, categories)
    return record


def _label_files(spec: DatasetSpec, split: str, problems: Problems) -> dict[str, Path]:
    folder = require_path(spec.resolve(split, "labels"), f"{spec.where}: splits.{split}.labels")
    labels = files_by_stem(folder, problems)
    if not labels:
        raise _wrong(
            "unpaired",
            spec.where,
            f"splits.{split}.labels: no label maps in {folder}",
            "one for every image",
            "mend the path, or add them",
        )
    return labels


def _image_files(
    spec: DatasetSpec, split: str, labels: dict[str, Path], problems: Problems
) -> dict[str, Path]:
    """Image of each label map that has one.

    Where there is no image folder, the name that the image would have.
    """
    if "images" not in spec.splits[split]:
        return labels
    folder = spec.resolve(split, "images")
    if folder.resolve() == spec.resolve(split, "labels").resolve():
        raise _wrong(
            "file_invalid",
            spec.where,
            f"splits.{split}: `images` and `labels` are the same folder, {folder}",
            "a folder of images, and another of label maps with the same names",
            "mend one of the two paths, or sort the files into two folders",
        )
    if not folder.is_dir():
        if problems.strict:  # a check says it as an error of its own
            logger.warning("%s: %s does not exist: good for scoring only", spec.where, folder)
        return {stem: folder / path.name for stem, path in labels.items()}
    images = files_by_stem(folder, problems)
    if not images:
        raise _wrong(
            "image_missing",
            spec.where,
            f"splits.{split}.images: there are no images in {folder}",
            "one for every label map",
            "mend the path, or add them",
        )
    for have, other, what in ((images, labels, "label map"), (labels, images, "image")):
        for stem in sorted(have.keys() - other.keys()):
            problems.add(
                "unpaired",
                have[stem],
                f"there is no {what} for it",
                "an image and a label map of the same name but for the suffix",
                "rename one, add the other, or take it out",
            )
    return {stem: images[stem] for stem in labels if stem in images}


def _wrong(rule: str, file: str, found: str, expected: str, repair: str) -> DatasetError:
    return Problem(rule, None, file, None, found, expected, repair).error()


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
