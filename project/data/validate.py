"""Whether a data set can be trusted: all that is wrong with it, found in one run."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from project.config import get_project_config
from project.data.checks.census import Census, exif_text, take_census
from project.data.checks.classes import check_config, check_names, check_occurrence
from project.data.checks.headers import Resizing
from project.data.checks.leaks import check_leaks
from project.data.checks.legend import check_legend
from project.data.checks.looks import Look, Reading
from project.data.checks.objects import check_objects
from project.data.checks.pixels import check_pixels, spread
from project.data.checks.segments import check_segments
from project.data.dataset import DatasetInfo, check_format, read_info, read_records
from project.data.files import IMAGE_SUFFIXES, require_path, some_of
from project.data.labels import read_semantic
from project.data.pixels import read_pixels
from project.data.problems import Problems
from project.data.records import Record
from project.data.register import dataset_info, dataset_records
from project.data.spec import DatasetSpec
from project.errors import DatasetError

logger = logging.getLogger(__name__)

_NUM_LABELS_READ = 8

Data = dict[str, tuple[DatasetInfo, list[Record]]]  # split -> its classes and images


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        problems: everything that is wrong or odd.
        records: split -> its classes and images, without the entries that are wrong.
        census: split -> what it holds.
    """

    problems: Problems
    records: Data
    census: Census


def check_dataset(
    spec: DatasetSpec, cfg: CfgNode | None = None, *, quick: bool = False, progress: bool = False
) -> Report:
    """Checks classes, objects, files and pixels of each split, and the splits against each other.

    Args:
        spec: of the data set.
        cfg: of the model that is to be trained; defaults where there is none.
        quick: decode only some images and label maps.
        progress: show bars with the time left.

    Raises:
        DatasetError: the specification itself is wrong.
    """
    problems = Problems()
    data = read_dataset(spec, problems)
    return check_data(data, problems, cfg or get_project_config(), quick=quick, progress=progress)


def read_dataset(
    spec: DatasetSpec, problems: Problems, splits: Sequence[str] | None = None
) -> Data:
    """Reads what can be read.

    Args:
        spec: of the data set.
        problems: takes what is wrong.
        splits: of the data set; all where none are given.

    Raises:
        DatasetError: the specification itself is wrong.
    """
    check_format(spec)
    data = {}
    for split, info in _read_infos(spec, splits or tuple(spec.splits), problems).items():
        with problems.in_split(split), _kept(problems, spec):
            data[split] = info, read_records(info, problems)
    return data


def check_data(
    data: Data, problems: Problems, cfg: CfgNode, *, quick: bool, progress: bool = False
) -> Report:
    """Checks what `read_dataset` has read; see `check_dataset`."""
    looks: dict[str, list[Look]] = {}
    census: Census = {}
    for split, (info, records) in data.items():
        looks[split], exif = check_pixels(
            info,
            records,
            problems,
            quick=quick,
            reading=Reading(cfg.INPUT.CHANNELS, cfg.INPUT.BITS),
            resizing=_resizing(cfg),
            progress=progress,
        )
        sound = _check_masks(info, records, problems, quick=quick)
        census[split] = take_census(info, sound, looks[split], exif, quick=quick)
    check_legend([info for info, _ in data.values()], chain(*looks.values()), problems)
    check_occurrence(data, census, problems, quick=quick)
    check_config(data, cfg, census, problems)
    check_leaks(data, looks, problems, quick=quick)
    if exif_text(census):
        logger.info(exif_text(census))
    return Report(problems, data, census)


def _read_infos(
    spec: DatasetSpec, splits: Sequence[str], problems: Problems
) -> dict[str, DatasetInfo]:
    """Split -> its classes: those that all splits agree on, or else those that it has alone.

    A split without some of the chosen classes is read with all that it has.
    """
    alone: dict[str, DatasetInfo] = {}
    others: dict[str, DatasetInfo] = {}
    for split in splits:
        one = replace(spec, splits={split: spec.splits[split]})
        with problems.in_split(split), _kept(problems, spec):
            alone[split] = replace(read_info(one, split), spec=spec)
        if split not in alone and _lacks_classes(problems, split):
            with _kept(Problems(), spec):  # told; what else is wrong with the split is not
                others[split] = replace(read_info(replace(one, things=None), split), spec=spec)
    told = len(problems.found)
    check_names(spec, alone, problems)
    differ = bool(others) or len(problems.found) > told
    own = alone | others
    infos = {split: own[split] for split in splits if split in own}
    for split in alone:
        with problems.in_split(split), _kept(Problems() if differ else problems, spec):
            infos[split] = read_info(spec, split)
    return infos


def _lacks_classes(problems: Problems, split: str) -> bool:
    """Whether a split lacks classes that the specification chooses."""
    return any((p.rule, p.split) == ("class_missing", split) for p in problems.found)


@contextmanager
def _kept(problems: Problems, spec: DatasetSpec) -> Iterator[None]:
    """Ends the block at the first `DatasetError` and reports it, once."""
    try:
        yield
    except DatasetError as error:
        before = {(p.rule, p.file, p.found) for p in problems.found}
        problems.keep_error(error, "file_invalid", spec.where)
        last = problems.found[-1]
        if (last.rule, last.file, last.found) in before:
            problems.found.pop()


def _check_masks(
    info: DatasetInfo, records: list[Record], problems: Problems, *, quick: bool
) -> list[Record]:
    """Checks objects; returns the records whose masks can be decoded."""
    check_segments(info, spread(records) if quick else records, problems)
    damaged = {problem.file for problem in problems.errors}
    sound = [r for r in records if r.get("pan_seg_file_name") not in damaged]
    check_objects(info, sound, problems, quick=quick)
    return sound


def _resizing(cfg: CfgNode) -> list[Resizing]:
    """How images are made smaller in training and in scoring."""
    sizes = cfg.INPUT
    train = Resizing(min(sizes.MIN_SIZE_TRAIN), sizes.MAX_SIZE_TRAIN)
    test = Resizing(sizes.MIN_SIZE_TEST, sizes.MAX_SIZE_TEST)
    return [resizing for resizing in (train, test) if resizing.shortest > 0]


def check_dataset_quick(name: str, channels: int = 3) -> None:
    """Checks that a registered data set can be trained or tested on, without reading all of it.

    All files must be there; one image and some label maps, spread over the data set, must be
    readable.

    Args:
        name: of the data set.
        channels: of its images.

    Raises:
        DatasetError: a missing or empty folder, missing files, no object at all, an image of
            another size than stated, a label map with values that mean nothing.
    """
    info = dataset_info(name)
    folder = _image_folder(info)  # before a reader says that there is none
    records = dataset_records(name)
    _check_files(info, records, folder)
    if all(record.get("annotations") == [] for record in records):
        path = info.truth_file(records[0])
        classes = ", ".join(info.categories.things)
        raise DatasetError(
            f"{name}: none of its {len(records)} images has an object of {classes}; see {path}"
        )
    read_pixels(records[0], info, channels=channels)
    labelled = [record for record in records if "sem_seg_file_name" in record]
    for index in np.unique(np.linspace(0, len(labelled) - 1, _NUM_LABELS_READ, dtype=int)):
        if labelled:
            read_semantic(labelled[index], info)


def _image_folder(info: DatasetInfo) -> Path:
    """The folder of the images of a split.

    Raises:
        DatasetError: it does not exist.
    """
    if "images" not in info.spec.splits[info.split]:
        return info.spec.root
    where = f"{info.spec.where}: splits.{info.split}.images"
    return require_path(info.spec.resolve(info.split, "images"), where)


def _check_files(info: DatasetInfo, records: Iterable[Record], folder: Path) -> None:
    """Checks that images exist, with one listing a folder: quick on network file systems too."""
    where = f"{info.spec.where}: splits.{info.split}.images"
    by_folder: dict[Path, list[str]] = defaultdict(list)
    for record in records:
        path = Path(record["file_name"])
        by_folder[path.parent].append(path.name)
    missing = []
    for parent, names in by_folder.items():
        present = set(os.listdir(parent)) if parent.is_dir() else set()
        missing += [str(parent / name) for name in names if name not in present]
    if not missing:
        return
    if not any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.rglob("*")):
        raise DatasetError(f"{where}: there are no images in {folder}")
    raise DatasetError(
        f"{where}: {len(missing)} of the images do not exist: {some_of(missing)}; mend the folder,"
        " or the file names in the annotation file"
    )
