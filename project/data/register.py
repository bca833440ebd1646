"""From a specification to Detectron2's catalogs: nothing is read before it is asked for."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from project.data.categories import IGNORE_LABEL
from project.data.dataset import DatasetInfo, check_format, read_info, read_records
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import DatasetSpec, parse_spec, read_spec
from project.errors import DatasetError, nearest

__all__ = [
    "DatasetInfo",
    "choose_mask_format",
    "dataset_info",
    "dataset_records",
    "find_dataset",
    "keep_records",
    "register_dataset",
    "unregister_dataset",
]

logger = logging.getLogger(__name__)


_registered: dict[str, tuple[DatasetSpec, str]] = {}
_infos: dict[str, DatasetInfo] = {}
_records: dict[str, list[Record]] = {}


def register_dataset(source: DatasetSpec | str | Path | None = None, **fields: Any) -> list[str]:
    """Registers `<name>_<split>` for each split of a data set; touches only the spec file.

    Registering the same data set again is fine and makes it be read anew.

    Args:
        source: a specification or the path of its file.
        **fields: instead, the keys of a specification file (datasets/README.md).

    Returns:
        The registered names.

    Raises:
        ConfigError: the file is missing or not plain YAML.
        DatasetError: a wrong specification, or a name that another data set has.
    """
    if (source is None) != bool(fields):
        raise TypeError("give either a specification or its keys")
    if isinstance(source, (str, Path)):
        spec = read_spec(source)
    else:
        spec = source or parse_spec(fields)
    check_format(spec)
    names = {f"{spec.name}_{split}": split for split in spec.splits}
    for name in names:
        taken = _registered.get(name, (None,))[0]
        if taken not in (None, spec) or (taken is None and name in DatasetCatalog):
            owner = taken.where if taken else "Detectron2 or other code"
            raise DatasetError(
                f"{spec.where}: a data set '{name}' is already registered, by {owner};"
                " choose another `name:`"
            )
    unregister_dataset(*(name for name in names if name in _registered))
    for name, split in names.items():
        _registered[name] = (spec, split)
        DatasetCatalog.register(name, lambda name=name: dataset_records(name))
    return list(names)


def is_registered(spec: DatasetSpec) -> bool:
    """Whether every split of just this specification is registered."""
    return all(_registered.get(f"{spec.name}_{x}") == (spec, x) for x in spec.splits)


def unregister_dataset(*names: str) -> None:
    """Forgets registered data sets and what was read of them; unknown names are passed over."""
    for name in names:
        if _registered.pop(name, None) is not None:
            DatasetCatalog.remove(name)
        if name in MetadataCatalog:
            MetadataCatalog.remove(name)
        _infos.pop(name, None)
        _records.pop(name, None)


def dataset_info(name: str) -> DatasetInfo:
    """Classes of a registered data set; the first call reads them and sets Detectron2's metadata.

    Raises:
        DatasetError: the name is unknown, or its classes cannot be read.
    """
    if name not in _infos:
        spec, split = find_dataset(name)
        _infos[name] = info = read_info(spec, split)
        MetadataCatalog.get(name).set(
            thing_classes=list(info.categories.things),
            stuff_classes=list(info.categories.semantic),
            thing_dataset_id_to_contiguous_id=info.categories.dataset_to_thing,
            ignore_label=IGNORE_LABEL,
            evaluator_type="maskunet",
        )
    return _infos[name]


def dataset_records(name: str) -> list[Record]:
    """All images of a registered data set; read once, so not to be changed.

    Raises:
        DatasetError: the name is unknown, or its files are wrong.
    """
    if name not in _records:
        problems = Problems(strict=True)
        _records[name] = read_records(dataset_info(name), problems)
        problems.log_warnings(name)
    return _records[name]


def find_dataset(name: str) -> tuple[DatasetSpec, str]:
    """Specification and split of a registered data set.

    Raises:
        DatasetError: the name is unknown.
    """
    if name not in _registered:
        hint = nearest(name, _registered) or " None is; give a specification file (--dataset)."
        raise DatasetError(f"there is no registered data set '{name}'.{hint}")
    return _registered[name]


def keep_records(info: DatasetInfo, records: list[Record]) -> None:
    """Takes images that a check has read without finding an error, so that they are read once."""
    _records[info.name] = records


def choose_mask_format(names: Iterable[str]) -> str:
    """The INPUT.MASK_FORMAT that loses nothing: "polygon" if all objects have polygons.

    Returns:
        "polygon" or "bitmask".

    Raises:
        DatasetError: see `dataset_records`.
    """
    objects = (
        annotation
        for name in names
        for record in dataset_records(name)
        for annotation in record.get("annotations", [])
        if not annotation["iscrowd"] and "segmentation" in annotation
    )
    forms = {isinstance(annotation["segmentation"], list) for annotation in objects}
    chosen = "polygon" if forms == {True} else "bitmask"
    logger.info("masks are held as %s, as INPUT.MASK_FORMAT 'auto' chose from the data", chosen)
    return chosen
