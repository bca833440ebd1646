"""The classes of Ultralytics' data.yaml: `names`, a list or {index: name}."""

from pathlib import Path
from typing import Any

from project.data.faults import short
from project.data.files import some_of
from project.data.problems import Problem
from project.data.spec import DatasetSpec
from project.errors import ConfigError, DatasetError, nearest
from project.safe_yaml import read_yaml


def read_names(spec: DatasetSpec, split: str) -> dict[str, int]:
    """Class name -> index in the text files of a split, all that its data.yaml names.

    Raises:
        DatasetError: the data.yaml is missing or names no classes, or one twice.
    """
    return _read_names(_names_file(spec, split))


def chosen_names(spec: DatasetSpec, split: str) -> dict[str, int]:
    """The same, but only those of `things:`, in its order; else in the order of the first split's.

    Raises:
        DatasetError: see `read_names`; two splits' files name other classes, or `things:` names an
            unknown one.
    """
    own, path = read_names(spec, split), _names_file(spec, split)
    if spec.things is None:
        first = _names_file(spec, next(iter(spec.splits)))
        order = _read_names(first) if first.exists() else own
        _check_same({path: own, first: order})
        return {name: own[name] for name in order}
    for thing in spec.things:
        if thing not in own:
            raise DatasetError(
                f"{spec.where}: things: {path} has no class '{thing}'.{nearest(thing, own)}"
            )
    return {thing: own[thing] for thing in spec.things}


def _names_file(spec: DatasetSpec, split: str) -> Path:
    if "names" in spec.splits[split]:
        return spec.resolve(split, "names")
    return spec.root / "data.yaml"


def _check_same(names_of: dict[Path, dict[str, int]]) -> None:
    everything = {name: None for names in names_of.values() for name in names}
    for path, names in names_of.items():
        missing = [name for name in everything if name not in names]
        if missing:
            raise Problem(
                *("class_missing", None, str(path), None),
                found=f"it does not name {some_of(missing)}",
                expected=f"the same classes in {' and '.join(map(str, names_of))}",
                repair="mend the names, or choose the classes with `things: [...]`",
            ).error()


def _read_names(path: Path) -> dict[str, int]:
    """Class name -> index, in the order of the indices."""
    try:
        names = read_yaml(path).get("names")
    except ConfigError as error:
        raise _wrong("classes_missing", path, str(error).removeprefix(f"{path}: ")) from error
    entries = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(entries, dict) or not entries:
        raise _wrong("classes_missing", path, f"its `names` are {short(names)}")
    indices: dict[str, int] = {}
    for index, value in entries.items():
        name = _name(value, path)
        if type(index) is not int or index < 0:
            raise _wrong("class_unknown", path, f"the class '{name}' has the index {index!r}")
        if name in indices:
            raise _wrong("class_duplicate", path, f"the class '{name}' stands twice")
        indices[name] = index
    return dict(sorted(indices.items(), key=lambda item: item[1]))


def _name(value: Any, path: Path) -> str:
    # YAML makes a number of `7`, but something else of `no`.
    if type(value) in (str, int) and str(value).strip():
        return str(value)
    raise _wrong("class_unknown", path, f"a class is called {short(value)}, which is no text")


def _wrong(rule: str, path: Path, found: str) -> DatasetError:
    return Problem(
        *(rule, None, str(path), None, found),
        expected="`names: [cat, dog]`, or `names: {0: cat, 1: dog}`, each name once",
        repair="write them so, in quotes where YAML reads something else than text",
    ).error()
