"""COCO json: objects as polygons or RLE, crowds, and optionally a folder of label maps.

https://cocodataset.org/#format-data documents the format. Keys of a split: `annotations` (the
json), `images` (the folder that file names start at; the root where absent), `labels` (folder of
label maps, each with its image's name but for the suffix).
"""

import logging
from collections import Counter
from pathlib import Path

from project.data.categories import Categories
from project.data.files import files_by_stem, require_path, some_of
from project.data.formats.coco_file import (
    Id,
    category_ids,
    images_by_id,
    read_annotation,
    read_coco_file,
)
from project.data.images import image_size
from project.data.label_maps import LabelEncoding, label_encoding
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec
from project.errors import DatasetError, nearest

logger = logging.getLogger(__name__)

DEFAULT_STUFF = ("background",)
_FLAT = "polygons of fewer than three points"


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes of the annotation files that are there, which must agree on them by name.

    Their order is that of `things:`, or of the ids in the first split. The dataset ids are those of
    `split`: the same class may have another number in another file.

    Raises:
        DatasetError: the file of `split` is missing, a file is wrong, a name stands twice, `things`
            names an unknown class, or a split has other classes than the first.
    """
    ids = _ids_of_splits(spec, split)
    first = next(iter(ids))
    things = spec.things or tuple(sorted(ids[first], key=ids[first].__getitem__))
    for name, known in ids.items():
        where = f"{spec.where}: {spec.resolve(name, 'annotations').name}"
        for thing in things:
            if thing not in known:
                raise DatasetError(f"{where} has no class '{thing}'.{nearest(thing, known)}")
        extra = [n for n in known if n not in things]
        if extra and not spec.things:
            raise DatasetError(
                f"{where} has the classes {some_of(extra)}, which split '{first}' has not; mend the"
                " names, or choose the classes with `things: [...]`"
            )
    stuff = spec.stuff or DEFAULT_STUFF
    clash = set(stuff) & set(things)
    if clash:
        raise DatasetError(
            f"{spec.where}: {some_of(sorted(clash))} is both countable and stuff; leave it out with"
            " `things: [...]`, or name the pixels of no object otherwise, such as `stuff: [rest]`"
        )
    return Categories(things, stuff, tuple(ids[split][thing] for thing in things))


def _ids_of_splits(spec: DatasetSpec, split: str) -> dict[str, dict[str, int]]:
    """Split -> class name -> id, of all splits whose files are there; `split`'s own must be."""
    own = _annotation_path(spec, split)
    paths = {name: spec.resolve(name, "annotations") for name in spec.splits}
    # The own file comes last: then it is still parsed when its records are read.
    found = {n: category_ids(p) for n, p in paths.items() if n != split and p.exists()}
    found[split] = category_ids(own)
    first = next(iter(paths))
    if first not in found and not spec.things:
        logger.warning(
            "%s: %s does not exist, so the order of the classes is that of %s; a model trained"
            " elsewhere may have another, which `things: [...]` states for all",
            spec.where,
            paths[first],
            next(paths[name].name for name in paths if name in found),
        )
    return {name: found[name] for name in paths if name in found}


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding | None:
    """What the values of the label maps mean; None for a split without them.

    Raises:
        DatasetError: see `label_encoding`.
    """
    return label_encoding(spec, categories) if "labels" in spec.splits[split] else None


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The annotation file."""
    del record
    return spec.resolve(split, "annotations")


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record an image, in the order of the file; annotations have thing ids.

    Raises:
        DatasetError: the file is wrong: images or ids twice, unknown images or classes, masks
            that cannot be decoded, boxes that are none, or an image without its label map.
    """
    path = _annotation_path(spec, split)
    records = _image_records(spec, split, path)
    left_out = _add_annotations(records, path, categories)
    if left_out:
        counts = ", ".join(f"{what} ({count})" for what, count in left_out.most_common())
        logger.warning("%s: objects left out: %s", path, counts)
    _check_masks(records, path)
    if "labels" in spec.splits[split]:
        _add_label_maps(spec, split, records)
    return list(records.values())


def _annotation_path(spec: DatasetSpec, split: str) -> Path:
    where = f"{spec.where}: splits.{split}.annotations"
    return require_path(spec.resolve(split, "annotations"), where)


def _image_records(spec: DatasetSpec, split: str, path: Path) -> dict[Id, Record]:
    """Image id -> record without annotations; a size that the file lacks is read from the image."""
    has_folder = "images" in spec.splits[split]
    folder = spec.resolve(split, "images") if has_folder else spec.root
    records: dict[Id, Record] = {}
    for image_id, image in images_by_id(path).items():
        file = folder / image["file_name"]
        height, width = image.get("height"), image.get("width")
        if height is None or width is None:
            height, width = image_size(file)
        records[image_id] = Record(
            file_name=str(file), image_id=image_id, height=height, width=width, annotations=[]
        )
    return records


def _add_annotations(records: dict[Id, Record], path: Path, categories: Categories) -> Counter[str]:
    """Gives the records their annotations, in place.

    Returns:
        How many objects were left out: class names that `things:` does not choose, or `_FLAT`.
    """
    names = {number: name for name, number in category_ids(path).items()}
    thing_ids = {name: i for i, name in enumerate(categories.things)}
    left_out: Counter[str] = Counter()
    seen: set[Id] = set()
    for number, entry in enumerate(read_coco_file(path)["annotations"], start=1):
        own_id = entry.get("id", number)
        image_id, category = entry.get("image_id"), entry.get("category_id")
        where = f"{path}: annotation {own_id}"
        if type(own_id) not in (int, str) or own_id in seen:
            raise DatasetError(f"{where}: its id is no number, or stands twice")
        seen.add(own_id)
        if type(image_id) not in (int, str) or image_id not in records:
            raise DatasetError(f"{where}: there is no image with the id {image_id!r}")
        if type(category) is not int or category not in names:
            known = some_of([f"{i} ({name})" for i, name in names.items()], 10)
            raise DatasetError(
                f"{where}: there is no category with the id {category!r}; there are {known}"
            )
        if names[category] not in thing_ids:
            left_out[names[category]] += 1
            continue
        record = records[image_id]
        annotation = read_annotation(
            {**entry, "id": own_id, "category_id": thing_ids[names[category]]},
            (record["height"], record["width"]),
            f"{where} (image {Path(record['file_name']).name})",
        )
        if annotation is None:
            left_out[_FLAT] += 1
        else:
            record["annotations"].append(annotation)
    return left_out


def _check_masks(records: dict[Id, Record], path: Path) -> None:
    """Checks that all objects have masks, or none: with some, no score would be defined."""
    annotations = [a for record in records.values() for a in record["annotations"]]
    lacking = [a["id"] for a in annotations if "segmentation" not in a]
    if 0 < len(lacking) < len(annotations):
        raise DatasetError(
            f"{path}: {len(lacking)} of {len(annotations)} annotations have no segmentation, the"
            f" first has the id {lacking[0]}; give one to all, or take these out of the file"
        )


def _add_label_maps(spec: DatasetSpec, split: str, records: dict[Id, Record]) -> None:
    """Pairs images with label maps by their file names without suffix, in place."""
    where = f"{spec.where}: splits.{split}.labels"
    folder = require_path(spec.resolve(split, "labels"), where)
    labels = files_by_stem(folder)
    missing = []
    for image_id, image in images_by_id(_annotation_path(spec, split)).items():
        stem = Path(image["file_name"]).with_suffix("").as_posix()
        if stem in labels:
            records[image_id]["sem_seg_file_name"] = str(labels[stem])
        else:
            missing.append(image["file_name"])
    if missing:
        raise DatasetError(
            f"{where}: {folder} has no label map for {some_of(missing)}; a label map has its"
            " image's name but for the suffix"
        )
