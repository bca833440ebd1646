"""COCO json: objects as polygons or RLE, crowds, and optionally a folder of label maps.

https://cocodataset.org/#format-data documents the format. Keys of a split: `annotations` (the
json), `images` (the folder that file names start at; the root where absent), `labels` (folder of
label maps, each with its image's name but for the suffix).
"""

import logging
from pathlib import Path

from project.data.categories import Categories
from project.data.faults import Fault
from project.data.files import files_by_stem, require_path, some_of
from project.data.formats.coco_file import Images, category_ids, read_images
from project.data.formats.coco_objects import add_annotations
from project.data.images import image_size
from project.data.label_maps import LabelEncoding, label_encoding
from project.data.problems import Id, Problem, Problems
from project.data.records import Record
from project.data.roots import NamedFiles
from project.data.spec import DatasetSpec
from project.errors import DatasetError, nearest_of_each

logger = logging.getLogger(__name__)

DEFAULT_STUFF = ("background",)


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
        _check_classes(spec, name, known, things, first)
    stuff = spec.stuff or DEFAULT_STUFF
    clash = sorted(set(stuff) & set(things))
    if clash:
        raise _wrong(
            "class_clash",
            spec.where,
            f"{some_of(clash)} is both countable and stuff",
            "every class to be one of the two",
            "leave it out with `things: [...]`, or name the pixels of no object otherwise, such as"
            " `stuff: [rest]`",
        )
    return Categories(things, stuff, tuple(ids[split][thing] for thing in things))


def _check_classes(
    spec: DatasetSpec, split: str, known: dict[str, int], things: tuple[str, ...], first: str
) -> None:
    """Raises unless the file of a split names the classes that all splits have."""
    path = spec.resolve(split, "annotations")
    source = f"`things:` of {spec.where}" if spec.things else f"split '{first}'"
    missing = [thing for thing in things if thing not in known]
    if missing:
        raise _wrong(
            "class_missing",
            path,
            f"it has no class {nearest_of_each(missing, known)}",
            f"the classes of {source}",
            "mend the name in one of the two",
        )
    extra = [name for name in known if name not in things]
    if extra and not spec.things:
        raise _wrong(
            "class_missing",
            path,
            f"it has the classes {some_of(extra)}, which split '{first}' has not",
            "the same classes in all splits",
            "mend the names, or choose the classes with `things: [...]`",
        )


def _wrong(rule: str, file: str | Path, found: str, expected: str, repair: str) -> DatasetError:
    return Problem(rule, None, str(file), None, found, expected, repair).error()


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
        DatasetError: the file cannot be read, or a folder is missing; in strict mode, the first
            error.
    """
    path = _annotation_path(spec, split)
    images = read_images(path, problems, spec.max_pixels)
    records = _image_records(spec, split, images, problems)
    add_annotations(records, images.left_out, path, categories, problems)
    if "labels" in spec.splits[split]:
        _add_label_maps(spec, split, images, records, problems)
    return list(records.values())


def _annotation_path(spec: DatasetSpec, split: str) -> Path:
    where = f"{spec.where}: splits.{split}.annotations"
    return require_path(spec.resolve(split, "annotations"), where)


def _image_records(
    spec: DatasetSpec, split: str, images: Images, problems: Problems
) -> dict[Id, Record]:
    """Image id -> record without annotations; a size that the file lacks is read from the image."""
    has_folder = "images" in spec.splits[split]
    folder = spec.resolve(split, "images") if has_folder else spec.root
    files = NamedFiles(spec, folder)
    source = spec.resolve(split, "annotations")
    records: dict[Id, Record] = {}
    for image_id, image in images.known.items():
        try:
            file = files.path(image["file_name"])
        except Fault as fault:
            fault.report(problems, source, image=image_id)
            images.left_out.add(image_id)
            continue
        height, width = image.get("height"), image.get("width")
        if height is None or width is None:
            try:
                height, width = image_size(file, exif=spec.exif, max_pixels=spec.max_pixels)
            except DatasetError as error:
                problems.keep_error(error, "image_unreadable", file)
                images.left_out.add(image_id)
                continue
        records[image_id] = Record(
            file_name=str(file), image_id=image_id, height=height, width=width, annotations=[]
        )
    return records


def _add_label_maps(
    spec: DatasetSpec,
    split: str,
    images: Images,
    records: dict[Id, Record],
    problems: Problems,
) -> None:
    """Pairs images with label maps by their names without suffix, in place; drops the lonely."""
    where = f"{spec.where}: splits.{split}.labels"
    folder = require_path(spec.resolve(split, "labels"), where)
    is_named = "images" in spec.splits[split]
    if is_named and folder.resolve() == spec.resolve(split, "images").resolve():
        raise _wrong(
            "file_invalid",
            spec.where,
            f"splits.{split}: `images` and `labels` are the same folder, {folder}",
            "a folder of images, and another of label maps with the same names",
            "mend one of the two paths, or sort the files into two folders",
        )
    labels = files_by_stem(folder, problems)
    owners: dict[str, Path] = {}  # label map, without suffix -> its image
    for image_id, record in list(records.items()):
        name = Path(images.known[image_id]["file_name"])
        stem = name.with_suffix("").as_posix()
        if owners.setdefault(stem, name) != name:
            fault = Fault(
                "name_clash",
                f"its label map would be {folder / stem}, which is that of {owners[stem]}",
                "images whose names differ without their suffixes",
                "rename one of the two, and give it a label map of that name",
            )
        elif stem not in labels:
            fault = Fault(
                "unpaired",
                f"there is no label map for {name}",
                f"{folder / stem}, with any suffix of an image",
                "add the label map, or take the image out",
            )
        else:
            record["sem_seg_file_name"] = str(labels[stem])
            continue
        fault.report(problems, record["file_name"], image=image_id)
        del records[image_id]
