"""Cityscapes: polygons painted one over the other, and label ids, both of gtFine.

https://github.com/mcordts/cityscapesScripts documents the format. Keys of a split: `annotations`
(gtFine/train), `images` (leftImg8bit/train; where absent, `annotations` with leftImg8bit for
gtFine). An annotation's id is its place in the list `objects`, from 0 on.
"""

from pathlib import Path

from tqdm import tqdm

from project.data.categories import IGNORE_LABEL, Categories
from project.data.faults import Fault
from project.data.files import require_path
from project.data.formats.cityscapes_labels import ALL, IGNORED, STUFF, THINGS, UNPAINTED
from project.data.formats.cityscapes_objects import visible_objects
from project.data.formats.json_files import read_entries, stated_size
from project.data.images import check_size, image_size
from project.data.label_maps import LabelEncoding
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec
from project.errors import DatasetError

_POLYGONS = "_gtFine_polygons.json"
_LABEL_IDS = "_gtFine_labelIds.png"
_IMAGE = "_leftImg8bit.png"


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """The 19 classes that are scored; the dataset ids are the label ids."""
    del spec, split
    return Categories(tuple(THINGS), tuple(STUFF), tuple(THINGS.values()))


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding:
    """Label ids; those of no scored class are ignored."""
    del spec, split
    meaning = {ALL[name]: semantic_id for semantic_id, name in enumerate(categories.semantic)}
    meaning |= dict.fromkeys([*IGNORED.values(), *UNPAINTED.values()], IGNORE_LABEL)
    return LabelEncoding(False, meaning, categories.semantic, "the table of Cityscapes' label ids")


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The image's polygons."""
    return spec.resolve(split, "annotations") / f"{record['image_id']}{_POLYGONS}"


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record a file of polygons; its image id is `city/city_000000_000019`.

    The image folder may be absent: scoring needs none.

    Raises:
        DatasetError: the folder of annotations is missing, or holds no such files.
    """
    where = f"{spec.where}: splits.{split}.annotations"
    folder = require_path(spec.resolve(split, "annotations"), where)
    names = _names(folder, _POLYGONS)
    if not names:
        raise DatasetError(f"{where}: there are no files *{_POLYGONS} in {folder}")
    images = _image_folder(spec, split)
    for name in sorted(set(_names(images, _IMAGE)) - set(names)):
        _report_unpaired(name, images / f"{name}{_IMAGE}", folder / f"{name}{_POLYGONS}", problems)
    records = (
        _record(name, folder, images, categories, problems)
        for name in tqdm(names, f"{spec.name}_{split}", disable=None)
    )
    return [record for record in records if record is not None]


def _names(folder: Path, suffix: str) -> list[str]:
    """Paths below a folder of the files that end so, without that end, sorted."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob(f"[!.]*{suffix}"))
    return sorted(name.removesuffix(suffix) for name in found)


def _image_folder(spec: DatasetSpec, split: str) -> Path:
    if "images" in spec.splits[split]:
        return spec.resolve(split, "images")
    parts = Path(spec.splits[split]["annotations"]).parts
    return spec.root.joinpath(*("leftImg8bit" if part == "gtFine" else part for part in parts))


def _record(
    name: str, folder: Path, images: Path, categories: Categories, problems: Problems
) -> Record | None:
    """The record of a file of polygons; None, and reported, where it or its label ids are wrong."""
    path, labels = folder / f"{name}{_POLYGONS}", folder / f"{name}{_LABEL_IDS}"
    if not labels.is_file():
        _report_unpaired(name, path, labels, problems)
        return None
    try:
        content = read_entries(path, "objects", "Cityscapes")
        size = _size(content)
        check_size(image_size(labels), labels, size, path)
    except Fault as fault:
        fault.report(problems, path, image=name)
        return None
    except DatasetError as error:
        problems.keep_error(error, "image_unreadable", labels)
        return None
    record = Record(
        file_name=str(images / f"{name}{_IMAGE}"),
        image_id=name,
        height=size[0],
        width=size[1],
        sem_seg_file_name=str(labels),
    )
    record["annotations"] = visible_objects(content["objects"], record, path, categories, problems)
    return record


def _size(content: dict) -> tuple[int, int]:
    size = stated_size(content, "imgHeight", "imgWidth")
    if size is None:
        raise Fault(
            *("image_size_invalid", "it states no size", "imgHeight and imgWidth"),
            "write the size of the image",
        )
    return size


def _report_unpaired(name: str, has: Path, lacks: Path, problems: Problems) -> None:
    problems.add(
        "unpaired",
        has,
        "there is no file of its name beside it or in the other folder",
        str(lacks),
        "add the file (gtFine_trainvaltest.zip of Cityscapes holds polygons and label ids), or take"
        " this one out",
        image=name,
    )
