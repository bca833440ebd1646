"""The classes of all splits, compared by name; and what a model's config says of them."""

import os
from collections.abc import Mapping, Sequence

from detectron2.config import CfgNode

from project.data.architectures import model_parts
from project.data.categories import Categories
from project.data.checks.census import Census, SplitCensus
from project.data.dataset import DatasetInfo
from project.data.files import some_of
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec
from project.errors import nearest_of_each

Data = Mapping[str, tuple[DatasetInfo, list[Record]]]  # split -> what was read of it

_TRAIN = "train"
# Their classes are a standard's, so nobody expects to see all of them.
_STANDARD_CLASSES = ("cityscapes", "voc")
# With these, it is not known which class the pixels are of.
_UNCLEAR = {"label_unexplained", "label_colours", "label_two_values"}


def check_names(spec: DatasetSpec, alone: Mapping[str, DatasetInfo], problems: Problems) -> None:
    """Compares the classes that each split names by itself.

    Args:
        spec: of the data set.
        alone: split -> what is known of it where it stands alone.
        problems: takes what is wrong.
    """
    splits = list(alone)
    for split in splits[1:]:
        first, own = alone[splits[0]].categories, alone[split].categories
        file = _class_file(alone[split])
        with problems.in_split(split):
            _compare(first, own, splits[0], file, problems)
            if not spec.things and set(first.things) == set(own.things):
                _compare_order(first, own, splits[0], file, problems)


def _class_file(info: DatasetInfo) -> str:
    """The file, or the folder of files, that names the classes of a split."""
    paths = info.spec.splits[info.split]
    for key in ("annotations", "names", "labels", "samples"):
        if key in paths:
            return str(info.spec.resolve(info.split, key))
    return info.spec.where


def _compare(first: Categories, own: Categories, split: str, file: str, problems: Problems) -> None:
    missing = [name for name in first.semantic if name not in own.semantic]
    extra = [name for name in own.semantic if name not in first.semantic]
    for name in first.semantic:
        if name in own.semantic and (name in first.things) != (name in own.things):
            kinds = ["countable" if name in c.things else "stuff" for c in (own, first)]
            problems.add(
                "class_clash",
                file,
                f"its class '{name}' is {kinds[0]}",
                f"{kinds[1]}, as in split '{split}'",
                "mend it in one of the two",
            )
    if missing:
        problems.add(
            "class_missing",
            file,
            f"it has no class {nearest_of_each(missing, extra or own.semantic)}",
            f"the classes of split '{split}': {some_of(list(first.semantic), 20)}",
            "mend the name in one of the two, or choose the classes with `things: [...]`",
        )
    if extra:
        problems.add(
            "class_missing",
            file,
            f"split '{split}' has no class {nearest_of_each(extra, missing or first.semantic)}",
            "the same classes in all splits",
            "mend the name in one of the two, or choose the classes with `things: [...]`",
        )


def _compare_order(
    first: Categories, own: Categories, split: str, file: str, problems: Problems
) -> None:
    ids = [dict(zip(c.things, c.thing_dataset_ids)) for c in (first, own)]
    if ids[0] == ids[1]:
        return
    expected, found = (", ".join(f"{i} {name}" for name, i in numbers.items()) for numbers in ids)
    problems.add(
        "class_order",
        file,
        f"it numbers its classes {found}",
        f"{expected}, as split '{split}' does",
        "nothing needs to be done here, where names are followed; other programs may go by numbers",
    )


def check_occurrence(data: Data, census: Census, problems: Problems, *, quick: bool) -> None:
    """Reports classes that a split never shows.

    Args:
        data: what was read of each split.
        census: what each split holds.
        problems: takes what is wrong.
        quick: pixels were not counted, so that only countable classes are looked at.
    """
    if problems.counts().keys() & _UNCLEAR:
        return
    for split, (info, records) in data.items():
        standard = info.spec.format in _STANDARD_CLASSES and not info.spec.classes
        here = census[split]
        for name in _known(info, here, quick=quick) if records else ():
            if _count(here, name):
                continue
            elsewhere = [s for s in census if s != split and _count(census[s], name)]
            with problems.in_split(split):
                if split == _TRAIN and elsewhere:
                    _report_untaught(info, records, name, elsewhere, problems)
                elif not standard:
                    problems.add(
                        "class_unused",
                        _truth(info, records),
                        f"the class '{name}' occurs in none of its {len(records)} images",
                        "an object or a pixel of every class in every split",
                        "leave the class out, or divide the data so that every split shows it",
                    )


def _known(info: DatasetInfo, census: SplitCensus, *, quick: bool) -> Sequence[str]:
    """The classes whose absence would say something."""
    if info.encoding is not None and not quick:
        return info.categories.semantic
    # Without label maps, stuff is what is left over; a split without any object is told as such.
    return info.categories.things if census.objects else ()


def _count(census: SplitCensus, name: str) -> int:
    return census.objects[name] + (census.pixels[name] if census.pixels else 0)


def _report_untaught(
    info: DatasetInfo,
    records: Sequence[Record],
    name: str,
    elsewhere: Sequence[str],
    problems: Problems,
) -> None:
    problems.add(
        "class_untaught",
        _truth(info, records),
        f"the class '{name}' occurs in none of its {len(records)} images, but in"
        f" {' and '.join(elsewhere)}",
        "every class that is scored",
        "divide the data so that training shows it (tools/convert_dataset.py --split), or leave"
        " the class out",
    )


def _truth(info: DatasetInfo, records: Sequence[Record]) -> str:
    """The annotation file of a split, or the folder of its annotation files or label maps."""
    files = {str(info.truth_file(record)) for record in records}
    if len(files) == 1:
        return files.pop()
    return os.path.commonpath([os.path.dirname(file) for file in files])


def check_config(data: Data, cfg: CfgNode, census: Census, problems: Problems) -> None:
    """Compares the data with a model's config: class counts, and objects that it may return."""
    most = max((counts[-1] for c in census.values() if (counts := c.per_image)), default=0)
    for split, (info, records) in data.items():
        with problems.in_split(split):
            _check_counts(info, cfg, problems)
            if records:
                _check_crowding(info, records, cfg, census[split].per_image, most, problems)


def _check_counts(info: DatasetInfo, cfg: CfgNode, problems: Problems) -> None:
    parts = model_parts(cfg)
    for used, node, key, classes in (
        (parts.instances, cfg.MODEL.ROI_HEADS, "ROI_HEADS", info.categories.things),
        (parts.semantics, cfg.MODEL.SEM_SEG_HEAD, "SEM_SEG_HEAD", info.categories.semantic),
    ):
        if used and node.NUM_CLASSES not in (0, len(classes)):
            problems.add(
                "class_count",
                info.spec.where,
                f"it has {len(classes)} classes ({some_of(list(classes), 10)}), but"
                f" MODEL.{key}.NUM_CLASSES is {node.NUM_CLASSES}",
                "the same number",
                "leave the key out (0) and it is filled from the data",
            )


def _check_crowding(
    info: DatasetInfo,
    records: Sequence[Record],
    cfg: CfgNode,
    counts: Sequence[int],
    most: int,
    problems: Problems,
) -> None:
    """Compares the objects of each image, ascending, with a config; `most` of all splits."""
    limit = cfg.TEST.DETECTIONS_PER_IMAGE
    over = [count for count in counts if count > limit]
    if model_parts(cfg).instances and over:
        problems.add(
            "too_many_objects",
            _truth(info, records),
            f"{len(over)} of {len(counts)} images have more objects than the"
            f" {limit} that a model returns of an image, up to {over[-1]}",
            f"at most TEST.DETECTIONS_PER_IMAGE, {limit}",
            f"set TEST.DETECTIONS_PER_IMAGE {most}, and TEST.COCO_MAX_DETECTIONS if all of"
            " them are to be scored",
        )
