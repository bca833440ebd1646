"""One module a format, each with the same functions; `Format` says what they are.

None of them needs the image files, unless a size is written nowhere else. `Record.dataset` and the
registered name are set by `project.data.dataset`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from project.data.categories import Categories
from project.data.formats import (
    cityscapes,
    coco,
    coco_panoptic,
    label_map,
    labelme,
    mask_folder,
    voc,
    yolo,
)
from project.data.label_maps import LabelEncoding
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec


class Format(NamedTuple):
    """How one format is read.

    Attributes:
        read_categories: the classes, with the dataset ids of one split. What is wrong with them is
            raised as `DatasetError`.
        read_encoding: what the values of a split's label maps mean; None where it has none.
        read_records: the images of one split. What is wrong with one entry is reported to the
            `Problems`, and the entry left out; only what leaves nothing to read is raised.
        truth_file: the file that states what is in an image, for messages.
        required: keys that every split must have.
        optional: keys that a split may have.
        fields: keys beside `splits` that the format understands, of those not common to all.
    """

    read_categories: Callable[[DatasetSpec, str], Categories]
    read_encoding: Callable[[DatasetSpec, str, Categories], LabelEncoding | None]
    read_records: Callable[[DatasetSpec, str, Categories, Problems], list[Record]]
    truth_file: Callable[[DatasetSpec, str, Record], Path]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    fields: tuple[str, ...]


FORMATS: dict[str, Format] = {
    "coco": Format(
        coco.read_categories,
        coco.read_encoding,
        coco.read_records,
        coco.truth_file,
        required=("annotations",),
        optional=("images", "labels"),
        fields=("things", "stuff", "classes", "ignore"),
    ),
    "label_map": Format(
        label_map.read_categories,
        label_map.read_encoding,
        label_map.read_records,
        label_map.truth_file,
        required=("labels",),
        optional=("images",),
        fields=("things", "classes", "ignore", "instances"),
    ),
    "coco_panoptic": Format(
        coco_panoptic.read_categories,
        coco_panoptic.read_encoding,
        coco_panoptic.read_records,
        coco_panoptic.truth_file,
        required=("annotations", "panoptic"),
        optional=("images",),
        fields=("things", "stuff"),
    ),
    "mask_folder": Format(
        mask_folder.read_categories,
        mask_folder.read_encoding,
        mask_folder.read_records,
        mask_folder.truth_file,
        required=("samples",),
        optional=(),
        fields=("things", "stuff"),
    ),
    "voc": Format(
        voc.read_categories,
        voc.read_encoding,
        voc.read_records,
        voc.truth_file,
        required=("labels",),
        optional=("images", "objects", "list"),
        fields=("things", "classes", "ignore"),
    ),
    "cityscapes": Format(
        cityscapes.read_categories,
        cityscapes.read_encoding,
        cityscapes.read_records,
        cityscapes.truth_file,
        required=("annotations",),
        optional=("images",),
        fields=(),
    ),
    "yolo": Format(
        yolo.read_categories,
        yolo.read_encoding,
        yolo.read_records,
        yolo.truth_file,
        required=("images", "labels"),
        optional=("names",),
        fields=("things", "stuff"),
    ),
    "labelme": Format(
        labelme.read_categories,
        labelme.read_encoding,
        labelme.read_records,
        labelme.truth_file,
        required=("annotations",),
        optional=("images",),
        fields=("things", "stuff"),
    ),
}
