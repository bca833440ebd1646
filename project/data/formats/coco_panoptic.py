"""COCO panoptic: one PNG an image, whose colours are segments, and a json that lists them.

https://cocodataset.org/#format-data documents the format. Keys of a split: `annotations` (the
json), `panoptic` (the folder of PNG files), `images` (the folder that file names start at; the root
where absent). Nothing is decoded when it is read.
"""

import os
from collections.abc import Container, Mapping
from pathlib import Path, PurePath

from project.data.categories import Categories
from project.data.faults import Fault, short
from project.data.files import require_path
from project.data.formats.coco_file import Entry, Images, category_ids, read_coco_file, read_images
from project.data.formats.panoptic_classes import read_categories
from project.data.formats.panoptic_segments import SegmentReader
from project.data.images import image_size
from project.data.label_maps import LabelEncoding
from project.data.problems import Id, Problems
from project.data.records import Record
from project.data.roots import NamedFiles
from project.data.spec import DatasetSpec
from project.errors import DatasetError

__all__ = ["read_categories", "read_encoding", "read_records", "truth_file"]

_ADD = "add it, or take the image out"


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding | None:
    """None: there are no label maps."""
    del spec, split, categories
    return None


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The annotation file."""
    del record
    return spec.resolve(split, "annotations")


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record an image, in the order of the file; annotations are those of countable segments.

    Raises:
        DatasetError: the file or the folder of PNG files is missing, or the file is none of COCO.
    """
    path = spec.resolve(split, "annotations")
    where = f"{spec.where}: splits.{split}.panoptic"
    maps = require_path(spec.resolve(split, "panoptic"), where)
    names = {number: name for name, number in category_ids(path).items()}
    reader = SegmentReader(path, names, categories)
    images = read_images(path, problems, spec.max_pixels)
    has_folder = "images" in spec.splits[split]
    files = NamedFiles(spec, spec.resolve(split, "images") if has_folder else spec.root)
    records = []
    for image_id, entry in _entries(path, maps, images, problems).items():
        png = maps / entry["file_name"]
        record = _record(spec, path, files, images.known[image_id], png, problems)
        if record is not None:
            reader.add_segments(record, entry["segments_info"], problems)
            records.append(record)
    reader.report_left_out(problems)
    return records


def _entries(path: Path, maps: Path, images: Images, problems: Problems) -> dict[Id, Entry]:
    """Image id -> its entry of `annotations`, each with a PNG of its own, in the images' order."""
    present = {p.name for p in maps.iterdir()}
    seen, found = set(images.left_out), dict[Id, Entry]()
    owners: dict[str, Id] = {}
    for entry in read_coco_file(path)["annotations"]:
        image_id = entry.get("image_id")
        if isinstance(image_id, (int, str)) and image_id in images.left_out:
            continue
        try:
            image_id = _image_of(entry, images, seen)
            seen.add(image_id)
            name = _png_of(entry, owners)
            if name not in present and not os.path.isfile(maps / name):
                raise Fault("unpaired", f"{maps} has no {name}", "a PNG for each image", _ADD)
            if not isinstance(entry.get("segments_info"), list):
                raise Fault("file_invalid", "it has no list `segments_info`", "one", _ADD)
        except Fault as fault:
            known = image_id if isinstance(image_id, (int, str)) else None
            about = f"of image {short(image_id)}"
            fault.report(problems, path, annotation=about, image=known)
            continue
        owners[name], found[image_id] = image_id, entry
    for image_id, image in images.known.items():
        if image_id not in seen:
            what = f"image {image_id} ({image['file_name']}) has no annotation"
            Fault("unpaired", what, "one", _ADD).report(problems, path, image=image_id)
    return {image_id: found[image_id] for image_id in images.known if image_id in found}


def _image_of(entry: Entry, images: Images, seen: Container[Id]) -> Id:
    """The image that an annotation is of."""
    image_id = entry.get("image_id")
    if type(image_id) not in (int, str) or image_id not in images.known:
        raise Fault(
            "image_unknown",
            f"its image_id is {short(image_id)}",
            "the id of one of `images`",
            "mend the id, or take the annotation out",
        )
    if image_id in seen:
        raise Fault(
            "image_listed_twice",
            "its image has another annotation",
            "one annotation an image, which lists all of its segments",
            "take one of the two out",
        )
    return image_id


def _png_of(entry: Entry, owners: Mapping[str, Id]) -> str:
    """The name of an annotation's PNG file, which none of the `owners` has."""
    name = entry.get("file_name")
    path = PurePath(name) if isinstance(name, str) else PurePath()
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise Fault(
            *("file_invalid", f"its file_name is {short(name)}"),
            *("the name of a PNG file in the folder `panoptic`", "mend it"),
        )
    if str(path) in owners:
        raise Fault(
            *("name_clash", f"its PNG file {path} is that of image {owners[str(path)]} too"),
            *("a PNG file of its own", "write each image's segments into a file of its own"),
        )
    return str(path)


def _record(
    spec: DatasetSpec, path: Path, files: NamedFiles, image: Entry, png: Path, problems: Problems
) -> Record | None:
    """The record of an image without its segments; a size that the file lacks is the PNG's."""
    height, width = image.get("height"), image.get("width")
    try:
        file = files.path(image["file_name"])
        if height is None or width is None:
            height, width = image_size(png, max_pixels=spec.max_pixels)
    except Fault as fault:
        fault.report(problems, path, image=image["id"])
        return None
    except DatasetError as error:
        problems.keep_error(error, "file_invalid", png)
        return None
    return Record(
        file_name=str(file),
        image_id=image["id"],
        height=height,
        width=width,
        annotations=[],
        pan_seg_file_name=str(png),
        segments_info=[],
    )
