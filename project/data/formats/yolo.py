"""Ultralytics' YOLO segmentation: a text file an image, a line an object, fractions of the image.

https://docs.ultralytics.com/datasets/segment/ documents the format. Keys of a split: `images` and
`labels` (folders of the same structure), `names` (the data.yaml; that of the root where absent).
An annotation's id is the number of its line, from 1 on.
"""

from pathlib import Path

from tqdm import tqdm

from project.data.categories import Categories
from project.data.files import files_by_stem, require_path
from project.data.formats.chosen import report_left_out, stuff_names
from project.data.formats.yolo_lines import LineReader
from project.data.formats.yolo_names import chosen_names, read_names
from project.data.images import image_size
from project.data.label_maps import LabelEncoding
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec
from project.errors import DatasetError

# Drawing tools put their list of classes beside the label files.
_NO_LABELS = ("classes.txt",)


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes of the data.yaml in the order of their indices, or of `things:`.

    The dataset ids are the indices of `split`; where the splits have files of their own, the same
    class may have another index in another file.

    Raises:
        DatasetError: see `chosen_names`; or a class is both in `stuff:` and countable.
    """
    indices = chosen_names(spec, split)
    return Categories(tuple(indices), stuff_names(spec, indices), tuple(indices.values()))


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding | None:
    """None: there are no label maps."""
    del spec, split, categories
    return None


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The image's text file, which need not exist."""
    return spec.resolve(split, "labels") / f"{record['image_id']}.txt"


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record an image; without a text file, or with an empty one, it has no objects.

    The images must be there: nothing else states their sizes.

    Raises:
        DatasetError: a folder is missing or has no such files.
    """
    images, labels = _files(spec, split)
    for name in labels:
        if name not in images:
            problems.add(
                "unpaired",
                labels[name],
                "it has no image",
                f"an image {name}.* in {spec.resolve(split, 'images')}",
                "add the image, or take the file out",
                image=name,
            )
    lines = LineReader(categories, read_names(spec, split), problems)
    records = []
    for name, image in tqdm(images.items(), f"{spec.name}_{split}", disable=None):
        try:
            height, width = image_size(image, exif=spec.exif, max_pixels=spec.max_pixels)
        except DatasetError as error:
            problems.keep_error(error, "image_unreadable", image)
            continue
        record = Record(
            file_name=str(image), image_id=name, height=height, width=width, annotations=[]
        )
        if name not in labels or lines.add_objects(record, labels[name]):
            records.append(record)
    _drop_boxes_beside_polygons(records, labels, problems)
    report_left_out(spec, lines.left_out, categories, problems)
    return records


def _files(spec: DatasetSpec, split: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and text files of a split: path relative to their folder without suffix -> file."""
    where = f"{spec.where}: splits.{split}"
    image_folder = require_path(spec.resolve(split, "images"), f"{where}.images")
    images = files_by_stem(image_folder)
    if not images:
        raise DatasetError(f"{where}.images: there are no images in {image_folder}")
    label_folder = require_path(spec.resolve(split, "labels"), f"{where}.labels")
    labels = {
        path.relative_to(label_folder).with_suffix("").as_posix(): path
        for path in sorted(label_folder.rglob("[!.]*.txt"))
        if path.name not in _NO_LABELS
    }
    if not labels:
        raise DatasetError(f"{where}.labels: there are no text files in {label_folder}")
    return images, labels


def _drop_boxes_beside_polygons(
    records: list[Record], labels: dict[str, Path], problems: Problems
) -> None:
    """Takes out lines of a box where other lines have polygons: no score would be defined."""
    forms = {"segmentation" in a for record in records for a in record["annotations"]}
    if len(forms) < 2:
        return
    for record in records:
        for annotation in record["annotations"]:
            if "segmentation" not in annotation:
                problems.add(
                    "segmentation_missing",
                    labels[str(record["image_id"])],
                    "it is a box of 4 numbers, where other lines are polygons",
                    "a polygon of 3 points or more",
                    "outline the object, or take the line out",
                    annotation=annotation["id"],
                    image=record["image_id"],
                )
        record["annotations"] = [a for a in record["annotations"] if "segmentation" in a]
