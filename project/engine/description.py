"""What a weights file says of itself: enough to predict with it, and with nothing else.

It lies in a checkpoint under `description`, and beside exported weights as JSON. It holds plain
values alone, so that reading it runs no code.
"""

import zipfile
from typing import Any, TypedDict

import torch

from project.data.categories import Categories
from project.engine.exported import ENDING, READ_ERRORS, read_beside, unreadable
from project.errors import WeightsError
from project.pickle_scan import check_torch_file

FORMAT = 1  # of what follows; a later one is refused
KEY = "description"  # of a checkpoint

_CLASSES = ("things", "stuff", "thing_dataset_ids", "stuff_dataset_ids")


class Description(TypedDict):
    """What a weights file says of itself.

    Keys:
        format: `FORMAT`.
        config: the complete config of the training, as YAML.
        classes: lists `things`, `stuff`, `thing_dataset_ids` and `stuff_dataset_ids`, see
            `project.data.categories.Categories`.
        labels: values of label maps: `semantic`, a name for each from 0, and the number `ignore`.
        input: what the model is fed: order of the `channels`, their `bits`, how they are
            normalised, and `pixel_mean` and `pixel_std` in that order, of 0 to 255.
        versions: of Python and of what computed the weights.
        data: data set -> number of `images`, and `sha256` (`project.data.digest`) of what was
            learnt from; empty where that is not known.
    """

    format: int
    config: str
    classes: dict[str, list[Any]]
    labels: dict[str, Any]
    input: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, dict[str, Any]]


_KINDS = {"format": int, "config": str} | dict.fromkeys(
    ("classes", "labels", "input", "versions", "data"), dict
)


def read_description(path: str) -> Description | None:
    """What a local weights file says of itself; its weights are not read.

    Returns:
        None of a file that says nothing: it was made elsewhere, or before files did.

    Raises:
        WeightsError: the file is unreadable, or its description is damaged or of a later format.
    """
    if path.endswith(ENDING):
        found = read_beside(path)
    elif zipfile.is_zipfile(path):  # as every checkpoint of ours is
        found = _saved(path)
    else:
        found = None
    return None if found is None else _checked(found, path)


def described_categories(description: Description) -> Categories:
    """The classes that the weights tell apart."""
    return Categories(**{key: tuple(description["classes"][key]) for key in _CLASSES})


def _saved(path: str) -> Any:
    try:
        check_torch_file(path)
        # Tensors are mapped and not read: a checkpoint holds the optimizer's too.
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
    return saved.get(KEY) if isinstance(saved, dict) else None


def _checked(found: Any, path: str) -> Description:
    number = found.get("format") if isinstance(found, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise WeightsError(
            f"{path}: its description has the format {number}, and {FORMAT} is the newest that is"
            " known here; use the version that wrote the file, or a later one"
        )
    faults = _faults(found) if isinstance(found, dict) else ["it is no group of keys"]
    if faults:
        raise WeightsError(
            f"{path}: its description of itself is damaged: {'; '.join(faults)}. Take another copy"
            " of the file, or write it anew by tools/export_weights.py --config-file"
        )
    return Description(**{key: found[key] for key in _KINDS})  # type: ignore[typeddict-item]


def _faults(found: dict[str, Any]) -> list[str]:
    faults = [
        f"`{key}` should be a {kind.__name__}, found {str(found.get(key))[:60]!r}"
        for key, kind in _KINDS.items()
        if not isinstance(found.get(key), kind)
    ]
    return faults or _class_faults(found["classes"])


def _class_faults(classes: dict[str, Any]) -> list[str]:
    missing = [key for key in _CLASSES if not isinstance(classes.get(key), list)]
    if missing:
        return [f"`classes` has no list `{key}`" for key in missing]
    things, stuff, thing_ids, stuff_ids = (classes[key] for key in _CLASSES)
    faults = []
    names = [*stuff, *things]
    if not all(type(name) is str for name in names) or len({*map(str, names)}) < len(names):
        faults.append(f"each class should have a name of its own, found {names}")
    if not all(type(number) is int for number in (*thing_ids, *stuff_ids)):
        faults.append("`thing_dataset_ids` and `stuff_dataset_ids` should be whole numbers")
    if len(thing_ids) != len(things) or len(stuff_ids) not in (0, len(stuff)):
        faults.append("each class should have one number of the data set")
    return faults
