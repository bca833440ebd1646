"""PASCAL VOC: palette PNG files of classes and of objects, paired by their names.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html documents the format. Keys of
a split: `labels` (SegmentationClass), `images` (JPEGImages), `objects` (SegmentationObject), `list`
(a text file of names, such as ImageSets/Segmentation/train.txt).
"""

import logging
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from project.data.categories import IGNORE_LABEL, Categories
from project.data.files import files_by_stem, require_path, some_of
from project.data.formats.chosen import report_left_out
from project.data.formats.voc_objects import ObjectReader
from project.data.images import image_size
from project.data.label_maps import LabelEncoding, label_encoding
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec, LabelValue
from project.errors import DatasetError, nearest

logger = logging.getLogger(__name__)

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes of the specification, or VOC's own; the same for all splits.

    Raises:
        DatasetError: some splits have `objects` and some have none, or `things` does not fit.
    """
    del split
    names = tuple(_classes(spec))
    with_objects = [name for name, paths in spec.splits.items() if "objects" in paths]
    if not with_objects:
        if spec.things:
            raise DatasetError(
                f"{spec.where}: `things:` needs `objects:` in the splits: label maps do not tell"
                " the objects of one class apart"
            )
        return Categories(stuff=names)
    lacking = [name for name in spec.splits if name not in with_objects]
    if lacking:
        raise DatasetError(
            f"{spec.where}: splits.{lacking[0]} has no `objects:`, but splits.{with_objects[0]}"
            " has; give them to all splits, or to none"
        )
    things = names[1:] if spec.things is None else spec.things
    for name in things:
        if name not in names:
            raise DatasetError(f"{spec.where}: things: '{name}' is no class.{nearest(name, names)}")
    return Categories(things=things, stuff=tuple(n for n in names if n not in things))


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding:
    """What the values of the class maps mean; 255 is void unless the specification differs.

    Raises:
        DatasetError: see `label_encoding`.
    """
    del split
    classes = _classes(spec)
    values = {value for of_class in classes.values() for value in of_class}
    numbers = all(isinstance(value, int) for value in values)
    void = (IGNORE_LABEL,) if numbers and IGNORE_LABEL not in values else ()
    return label_encoding(replace(spec, classes=classes, ignore=spec.ignore or void), categories)


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The image's class map."""
    del spec, split
    return Path(record["sem_seg_file_name"])


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record a class map, or a name of the list; objects where the split has them.

    The image folder may be absent: scoring needs none.

    Raises:
        DatasetError: a folder or the list is missing or empty.
    """
    labels = _files(spec, split, "labels", problems)
    if not labels:
        folder = spec.resolve(split, "labels")
        raise DatasetError(f"{spec.where}: splits.{split}.labels: no label maps in {folder}")
    names = _listed(spec, split, problems) if "list" in spec.splits[split] else None
    images = _images(spec, split, labels, problems)
    lonely = [name for name in images if name not in labels]
    if lonely and names is None:
        logger.warning(
            "%s: splits.%s: %d images have no class map and are left out: %s",
            *(spec.where, split, len(lonely), some_of(lonely)),
        )
    reader = None
    if "objects" in spec.splits[split]:
        encoding = read_encoding(spec, split, categories)
        reader = ObjectReader(_files(spec, split, "objects", problems), categories, encoding)
    records = []
    chosen = labels if names is None else names
    # Objects need every pixel: worth a bar. Otherwise only headers are read.
    for name in tqdm(chosen, f"{spec.name}_{split}", disable=None if reader else True):
        record = _record(spec, split, name, images.get(name), labels.get(name), problems)
        if record is not None and (reader is None or reader.add_objects(record, problems)):
            records.append(record)
    if reader is not None:
        report_left_out(spec, reader.left_out, categories, problems)
    return records


def _record(
    spec: DatasetSpec,
    split: str,
    name: str,
    image: Path | None,
    label: Path | None,
    problems: Problems,
) -> Record | None:
    """The record of a name without its objects; None, and reported, where a file is missing."""
    known = image or label
    if image is None or label is None:
        key = "labels" if label is None else "images"
        lacking = spec.resolve(split, key)
        problems.add(
            "unpaired",
            known or spec.resolve(split, "list"),
            f"{lacking} has no '{name}'",
            "an image and a class map of the same name but for the suffix",
            "add the file, or take the name out of the list and its files out of the folders",
            image=name,
        )
        return None
    try:
        height, width = image_size(label, max_pixels=spec.max_pixels)
    except DatasetError as error:
        problems.keep_error(error, "file_invalid", label)
        return None
    return Record(
        file_name=str(image),
        image_id=name,
        height=height,
        width=width,
        sem_seg_file_name=str(label),
    )


def _classes(spec: DatasetSpec) -> dict[str, list[LabelValue]]:
    return spec.classes or {name: [value] for value, name in enumerate(CLASSES)}


def _files(spec: DatasetSpec, split: str, key: str, problems: Problems) -> dict[str, Path]:
    folder = require_path(spec.resolve(split, key), f"{spec.where}: splits.{split}.{key}")
    return files_by_stem(folder, problems)


def _images(
    spec: DatasetSpec, split: str, labels: dict[str, Path], problems: Problems
) -> dict[str, Path]:
    """Image of each name; where there is no image folder, the name that it would have."""
    if "images" not in spec.splits[split]:
        return labels
    folder = spec.resolve(split, "images")
    if not folder.is_dir():
        if problems.strict:  # a check says it as an error of its own
            logger.warning("%s: %s does not exist: good for scoring only", spec.where, folder)
        return {name: folder / f"{name}.jpg" for name in labels}
    images = files_by_stem(folder, problems)
    if not images:
        raise DatasetError(f"{spec.where}: splits.{split}.images: there are no images in {folder}")
    return images


def _listed(spec: DatasetSpec, split: str, problems: Problems) -> list[str]:
    """The names of the list, each once."""
    path = require_path(spec.resolve(split, "list"), f"{spec.where}: splits.{split}.list")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as a text file of names ({error})") from error
    names: dict[str, None] = {}
    for name in filter(None, map(str.strip, lines)):
        if name in names:
            problems.add(
                *("image_listed_twice", path, f"the name '{name}' stands twice"),
                *("each name once", "take one of the two lines out"),
                image=name,
            )
        names[name] = None
    if not names:
        raise DatasetError(f"{path}: it names no image; expected one name a line")
    return list(names)
