"""One module a format, each with the same two functions.

    read_categories(spec, split) -> Categories
    read_records(spec, split, categories) -> list[Record]

Neither needs the image files, unless a size is written nowhere else. `Record.dataset` and the
registered name are set by `project.data.register`.
"""

from collections.abc import Callable
from typing import NamedTuple

from project.data.categories import Categories
from project.data.formats import coco, label_map
from project.data.records import Record
from project.data.spec import DatasetSpec


class Format(NamedTuple):
    """How one format is read.

    Attributes:
        read_categories: the classes, with the dataset ids of one split.
        read_records: the images of one split.
        required: keys that every split must have.
        optional: keys that a split may have.
        fields: keys beside `splits` that the format understands, of those not common to all.
    """

    read_categories: Callable[[DatasetSpec, str], Categories]
    read_records: Callable[[DatasetSpec, str, Categories], list[Record]]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    fields: tuple[str, ...]


FORMATS: dict[str, Format] = {
    "coco": Format(
        coco.read_categories,
        coco.read_records,
        required=("annotations",),
        optional=("images", "labels"),
        fields=("things", "stuff", "classes", "ignore"),
    ),
    "label_map": Format(
        label_map.read_categories,
        label_map.read_records,
        required=("labels",),
        optional=("images",),
        fields=("things", "classes", "ignore", "instances"),
    ),
}
