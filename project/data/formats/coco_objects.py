"""The annotations of a COCO file, given to the records of its images."""

from collections import Counter
from pathlib import Path
from typing import Any

from project.data.categories import Categories
from project.data.faults import Fault, in_image, short
from project.data.files import some_of
from project.data.formats.coco_annotation import read_annotation
from project.data.formats.coco_file import Entry, category_ids, is_id, read_coco_file
from project.data.problems import Id, Problems
from project.data.records import Record

_TAKE_OUT = "mend it, or take the annotation out"


def add_annotations(
    records: dict[Id, Record],
    left_out: set[Id],
    path: Path,
    categories: Categories,
    problems: Problems,
) -> None:
    """Gives the records their annotations, in place.

    Args:
        records: image id -> record.
        left_out: images of which something is told already; their annotations are passed over.
        path: of the COCO file.
        categories: of the split.
        problems: takes what is wrong.

    Raises:
        DatasetError: in strict mode, the first error.
    """
    names = {number: name for name, number in category_ids(path).items()}
    thing_ids = {name: i for i, name in enumerate(categories.things)}
    not_chosen: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    seen: set[Id] = set()
    for number, entry in enumerate(read_coco_file(path)["annotations"], start=1):
        own_id, image_id = entry.get("id", number), entry.get("image_id")
        if is_id(image_id) and image_id in left_out:
            continue
        faults = _misplaced(entry, own_id, seen, records, names)
        name = "" if faults else names[entry["category_id"]]
        if name in thing_ids:
            record = records[entry["image_id"]]
            annotation, faults = read_annotation(
                entry, own_id, thing_ids[name], (record["height"], record["width"]), missing
            )
            if annotation is not None:
                record["annotations"].append(annotation)
        elif name:
            not_chosen[name] += 1
        for fault in faults:
            known_id = own_id if is_id(own_id) else None
            known_image = _known(image_id, records)
            if known_image is not None:
                fault.found += in_image(records[known_image])
            fault.report(problems, path, annotation=known_id, image=known_image)
    _report_counts(path, not_chosen, missing, categories, problems)
    _drop_lacking(records, path, problems)


def _misplaced(
    entry: Entry, own_id: Any, seen: set[Id], records: dict[Id, Record], names: dict[int, str]
) -> list[Fault]:
    """What is wrong with the ids of an entry; remembers its own."""
    faults = []
    if not is_id(own_id):
        faults.append(
            Fault(
                "file_invalid",
                f"an annotation has the id {short(own_id)}",
                "a number or a text",
                _TAKE_OUT,
            )
        )
    elif own_id in seen:
        faults.append(
            Fault(
                "annotation_id_duplicate",
                "another annotation has the same id",
                "an id for every annotation",
                "give it one of its own",
            )
        )
    else:
        seen.add(own_id)
    image_id, category = entry.get("image_id"), entry.get("category_id")
    if not is_id(image_id) or image_id not in records:
        faults.append(
            Fault(
                "image_unknown",
                f"its image_id is {short(image_id)}",
                "the id of one of the `images`",
                _TAKE_OUT,
            )
        )
    if type(category) is not int or category not in names:
        known = some_of([f"{number} ({name})" for number, name in names.items()], 10)
        faults.append(
            Fault(
                "class_unknown",
                f"its category_id is {short(category)}",
                f"one of {known}",
                "add the class to `categories`, or mend the number",
            )
        )
    return faults


def _known(image_id: Any, records: dict[Id, Record]) -> Id | None:
    return image_id if is_id(image_id) and image_id in records else None


def _report_counts(
    path: Path,
    not_chosen: Counter[str],
    missing: Counter[str],
    categories: Categories,
    problems: Problems,
) -> None:
    """Says once what concerns many annotations alike."""
    for name, count in not_chosen.items():
        problems.add(
            "class_left_out",
            path,
            f"{count} annotations are of the class {name}",
            f"only {some_of(list(categories.things))}, as `things:` chooses",
            f"add {name} to `things:` in the specification if it is to be learnt",
        )
    for key, count in missing.items():
        measured = "0 is taken" if key == "iscrowd" else "it is measured from the mask or the box"
        problems.add(
            "field_missing",
            path,
            f"{count} annotations have no {key}; {measured}",
            f"{key} in every annotation",
            "export it if other tools are to read the file",
        )


def _drop_lacking(records: dict[Id, Record], path: Path, problems: Problems) -> None:
    """Leaves out objects without a mask where others have one: no score would be defined."""
    lacking = [
        (annotation["id"], image_id)
        for image_id, record in records.items()
        for annotation in record["annotations"]
        if "segmentation" not in annotation
    ]
    total = sum(len(record["annotations"]) for record in records.values())
    if len(lacking) == total:
        return
    for own_id, image_id in lacking:
        problems.add(
            "segmentation_missing",
            path,
            f"it has no segmentation, as {len(lacking)} of {total} annotations"
            f"{in_image(records[image_id])}",
            "one for all objects, or for none",
            "outline the object, or take it out",
            annotation=own_id,
            image=image_id,
        )
    for record in records.values():
        record["annotations"] = [a for a in record["annotations"] if "segmentation" in a]
