"""labelme: a json file an image, with shapes that people drew.

https://github.com/wkentaro/labelme documents the format. Keys of a split: `annotations` (the folder
of json files), `images` (folder of the images; beside the json files where absent). An annotation's
id is the place of its first shape in the list `shapes`, from 0 on.
"""

import os
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from project.data.categories import Categories
from project.data.faults import Fault
from project.data.files import IMAGE_SUFFIXES, require_path
from project.data.formats.chosen import report_left_out, stuff_names
from project.data.formats.json_files import read_entries, stated_size
from project.data.formats.labelme_objects import BACKGROUND, IGNORED, ShapeReader, label_of
from project.data.images import image_size
from project.data.label_maps import LabelEncoding
from project.data.problems import Problem, Problems
from project.data.records import Record
from project.data.roots import NamedFiles
from project.data.spec import DatasetSpec
from project.errors import DatasetError


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes of `things:`, or the labels of all splits that are there, sorted.

    Raises:
        DatasetError: the folder of `split` is missing or holds no json files, no shape has a
            label, or a class is both in `stuff:` and countable.
    """
    own = _files(spec, split)
    things = spec.things
    if things is None:
        others = [name for name in spec.splits if name != split]
        folders = [spec.resolve(name, "annotations") for name in others]
        files = [*own.values(), *(path for f in folders for path in f.rglob("[!.]*.json"))]
        labels = frozenset().union(*(_labels(path, path.stat().st_mtime_ns) for path in files))
        things = tuple(sorted(labels - {IGNORED, BACKGROUND}))
    if not things:
        raise Problem(
            *("classes_missing", None, str(spec.resolve(split, "annotations")), None),
            found="none of its json files has a shape with a label",
            expected="labelme's files",
            repair="mend `annotations:`, or name the classes in `things:`",
        ).error()
    return Categories(things, stuff_names(spec, things))


# Every split's labels are asked for with each split.
@lru_cache(maxsize=2**16)
def _labels(path: Path, version: int) -> frozenset[str]:
    """The labels of a file; none where it is damaged, which is told when its shapes are read."""
    del version
    try:
        shapes = read_entries(path, "shapes", "labelme")["shapes"]
    except Fault:
        return frozenset()
    return frozenset(label for label in map(label_of, shapes) if label is not None)


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding | None:
    """None: there are no label maps."""
    del spec, split, categories
    return None


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The image's json file."""
    return spec.resolve(split, "annotations") / f"{record['image_id']}.json"


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record a json file.

    Images need not be there where the files state their sizes: scoring needs none.

    Raises:
        DatasetError: the folder is missing or holds no json files.
    """
    shapes = ShapeReader(categories, problems)
    has_folder = "images" in spec.splits[split]
    folder = spec.resolve(split, "images" if has_folder else "annotations")
    files = NamedFiles(spec, folder, within=folder if has_folder else spec.root)
    records = []
    for name, path in tqdm(_files(spec, split).items(), f"{spec.name}_{split}", disable=None):
        try:
            content = read_entries(path, "shapes", "labelme")
            record = _record(spec, files, name, path, content)
        except Fault as fault:
            fault.report(problems, path, image=name)
            continue
        except DatasetError as error:
            problems.keep_error(error, "image_unreadable", path)
            continue
        shapes.add_objects(record, path, content["shapes"])
        records.append(record)
    report_left_out(spec, shapes.left_out, categories, problems)
    return records


def _files(spec: DatasetSpec, split: str) -> dict[str, Path]:
    """The json files of a split, sorted: path relative to the folder without suffix -> file."""
    where = f"{spec.where}: splits.{split}.annotations"
    folder = require_path(spec.resolve(split, "annotations"), where)
    files = sorted(folder.rglob("[!.]*.json"))
    if not files:
        raise DatasetError(f"{where}: there are no json files in {folder}")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _record(
    spec: DatasetSpec, files: NamedFiles, name: str, path: Path, content: dict[str, Any]
) -> Record:
    """The record of a file without its objects.

    Raises:
        Fault: a size that is none.
        DatasetError: it states no size, and the image cannot be read.
    """
    image = _image(files, Path(name).parent, path, content.get("imagePath"))
    size = stated_size(content, "imageHeight", "imageWidth")
    height, width = size or image_size(image, exif=spec.exif, max_pixels=spec.max_pixels)
    return Record(file_name=str(image), image_id=name, height=height, width=width, annotations=[])


def _image(files: NamedFiles, folder: Path, path: Path, stated: Any) -> Path:
    """The image of a json file: `imagePath`, as it is or by its name alone, or else its namesake.

    Where there is none, what it should be. Paths written on Windows are understood, and paths on
    another computer, which lead out of the data set, are passed over.
    """
    stated_name = PurePosixPath(str(stated or "").replace("\\", "/").replace("\0", ""))
    names = [str(stated_name), stated_name.name] if _is_image(stated_name) else []
    names += [f"{path.stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES)]
    candidates = [files.path(n, below=folder) for n in names if files.holds(n, below=folder)]
    return next((image for image in candidates if os.path.isfile(image)), candidates[0])


def _is_image(name: PurePosixPath) -> bool:
    return name.suffix.lower() in IMAGE_SUFFIXES
