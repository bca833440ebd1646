"""The description of a data set: a YAML file, or the same keys in a Python call."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from project.errors import DatasetError, nearest
from project.safe_yaml import read_yaml

LabelValue = int | str  # a number in a label file, or a colour "#RRGGBB"

MAX_LABEL_NUMBER = 2**16 - 1
INSTANCE_SOURCES = ("connected_components",)
EXIF_MODES = ("auto", "apply", "ignore")
DEFAULT_MAX_PIXELS = 50_000_000  # 50 megapixels; decoded, 150 MB
_KEYS = (
    *("name", "format", "root", "things", "stuff", "classes", "ignore", "instances", "splits"),
    *("exif", "groups", "max_pixels", "roots"),
)
_NAME = re.compile(r"(?!\.+$)[\w.-]+")  # no "..", which would lead out of a folder
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class DatasetSpec:
    """What datasets/README.md explains, read and checked but for the files it points to.

    Attributes:
        name: registers `<name>_<split>` for each split.
        format: one of `project.data.formats.FORMATS`.
        root: absolute folder that the paths of `splits` start at.
        splits: split -> key -> path relative to `root`.
        path: the specification file; None where a Python call described the data set.
        things: names of the countable classes: order and choice; None where the format knows.
        stuff: names of the uncountable classes; None where the format knows.
        classes: class -> values in the label files; None where the format knows.
        ignore: values of pixels in the label files that neither teach nor count.
        instances: where objects come from if the format has none, one of `INSTANCE_SOURCES`.
        exif: one of `EXIF_MODES`: "apply" turns images as their EXIF orientation says, "ignore"
            takes them as stored, "auto" takes what agrees with the size that annotations state.
        groups: regular expression on an image's path, which starts at `root`; images in which it
            finds the same text (its first group, if it has one) belong together in one split.
        max_pixels: images of more are refused before they are decoded.
        roots: absolute folders outside of those of the splits that names in annotation files, and
            symbolic links, may lead to.
    """

    name: str
    format: str
    root: Path
    splits: dict[str, dict[str, str]]
    path: Path | None = None
    things: tuple[str, ...] | None = None
    stuff: tuple[str, ...] | None = None
    classes: dict[str, list[LabelValue]] | None = field(default=None)
    ignore: tuple[LabelValue, ...] = ()
    instances: str | None = None
    exif: str = "auto"
    groups: str | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    roots: tuple[Path, ...] = ()

    @property
    def where(self) -> str:
        """Who described the data set, for messages."""
        return str(self.path) if self.path else f"data set {self.name}"

    def resolve(self, split: str, key: str) -> Path:
        """Absolute path of a file or folder of a split; it need not exist.

        Raises:
            DatasetError: there is no such split, or the split lacks the key.
        """
        if split not in self.splits:
            raise DatasetError(
                f"{self.where}: there is no split '{split}'.{nearest(split, self.splits)}"
            )
        if key not in self.splits[split]:
            raise DatasetError(f"{self.where}: splits.{split} lacks the key '{key}'")
        return self.root / self.splits[split][key]


def read_spec(path: str | Path) -> DatasetSpec:
    """Reads a specification file; touches no other file.

    Raises:
        ConfigError: the file is missing or not plain YAML.
        DatasetError: an unknown or missing key, a value of another type, an unset environment
            variable.
    """
    path = Path(path)
    return parse_spec(read_yaml(path), path.absolute())


def parse_spec(fields: Mapping[str, Any], path: Path | None = None) -> DatasetSpec:
    """Makes a specification from the keys of a specification file.

    Args:
        fields: keys and values as in the file.
        path: absolute path of the file they come from; a relative `root` starts at its folder, or
            at the working folder where there is none.

    Raises:
        DatasetError: see `read_spec`.
    """
    where = str(path) if path else "register_dataset"
    for key in fields:
        if key not in _KEYS:
            raise DatasetError(f"{where}: there is no key '{key}'.{nearest(str(key), _KEYS)}")
    for key in ("name", "format", "splits"):
        if fields.get(key) is None:
            raise DatasetError(f"{where}: the key '{key}' is missing")
    name = str(fields["name"])
    if not _NAME.fullmatch(name):
        raise DatasetError(f"{where}: name: expected letters, digits, _ . -, found {name!r}")
    start = path.parent if path else Path.cwd()
    instances = fields.get("instances")
    if instances is not None and instances not in INSTANCE_SOURCES:
        raise DatasetError(
            f"{where}: instances: unknown source {instances!r}."
            f"{nearest(str(instances), INSTANCE_SOURCES)}"
        )
    return DatasetSpec(
        name=name,
        format=str(fields["format"]),
        root=start / _expand(str(fields.get("root", ".")), f"{where}: root"),
        splits=_splits(fields["splits"], where),
        path=path,
        things=_names(fields.get("things"), f"{where}: things"),
        stuff=_names(fields.get("stuff"), f"{where}: stuff"),
        classes=_classes(fields.get("classes"), f"{where}: classes"),
        ignore=tuple(_values(fields.get("ignore", []), f"{where}: ignore")),
        instances=instances,
        exif=_exif(fields.get("exif", "auto"), f"{where}: exif"),
        groups=_groups(fields.get("groups"), f"{where}: groups"),
        max_pixels=_max_pixels(fields.get("max_pixels", DEFAULT_MAX_PIXELS), where),
        roots=_roots(fields.get("roots", []), start, f"{where}: roots"),
    )


def _exif(value: Any, where: str) -> str:
    if value not in EXIF_MODES:
        raise DatasetError(f"{where}: unknown way {value!r}.{nearest(str(value), EXIF_MODES)}")
    return value


def _groups(value: Any, where: str) -> str | None:
    if value is None:
        return None
    try:
        re.compile(str(value))
    except re.error as error:
        raise DatasetError(f"{where}: {value!r} is no regular expression: {error}") from error
    return str(value)


def _max_pixels(value: Any, where: str) -> int:
    if type(value) is not int or value < 1:
        raise DatasetError(f"{where}: max_pixels: expected a number of pixels, found {value!r}")
    return value


def _roots(value: Any, start: Path, where: str) -> tuple[Path, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) and v for v in value):
        raise DatasetError(f"{where}: expected a list of folders, found {value!r}")
    return tuple(start / _expand(folder, where) for folder in value)


def _expand(text: str, where: str) -> str:
    """Puts in environment variables and the home folder."""

    def value(match: re.Match[str]) -> str:
        variable = match[1] or match[2]
        if not os.environ.get(variable):
            raise DatasetError(
                f"{where}: the environment variable {variable} is not set;"
                f" set it (export {variable}=/folder) or write the folder itself"
            )
        return os.environ[variable]

    return str(Path(_VARIABLE.sub(value, text)).expanduser())


def _splits(value: Any, where: str) -> dict[str, dict[str, str]]:
    if not isinstance(value, Mapping) or not value:
        raise DatasetError(f"{where}: splits: expected 'train: {{...}}' and so on, found {value!r}")
    splits = {}
    for split, paths in value.items():
        here = f"{where}: splits.{split}"
        if not _NAME.fullmatch(str(split)):  # it becomes the name of files
            raise DatasetError(f"{here}: expected letters, digits, _ . -, found {split!r}")
        if not isinstance(paths, Mapping) or not all(isinstance(p, str) for p in paths.values()):
            repair = ""
            if isinstance(paths, Mapping) and any(isinstance(p, list) for p in paths.values()):
                repair = (
                    "; a key takes one folder, not a list: give each folder a split of its own, and"
                    " join and divide them with tools/convert_dataset.py --split"
                )
            raise DatasetError(f"{here}: expected 'key: path' lines, found {paths!r}{repair}")
        splits[str(split)] = {str(k): _expand(p, f"{here}.{k}") for k, p in paths.items()}
    return splits


def _name(value: Any, where: str) -> str:
    """A class name; YAML makes a number of `7`, but something else of `no` and of `#ff0000`."""
    if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
        return str(value)
    raise DatasetError(f"{where}: {value!r} is no class name; put the name in quotes")


def _names(value: Any, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise DatasetError(f"{where}: expected a list of class names, found {value!r}")
    names = tuple(_name(v, where) for v in value)
    if len(set(names)) < len(names):
        raise DatasetError(f"{where}: a name stands twice in {list(names)}")
    return names


def _classes(value: Any, where: str) -> dict[str, list[LabelValue]] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return {name: [i] for i, name in enumerate(_names(value, where) or ())}
    return {_name(n, where): _values(v, f"{where}.{n}") for n, v in value.items()}


def _values(value: Any, where: str) -> list[LabelValue]:
    return [_value(v, where) for v in (value if isinstance(value, (list, tuple)) else [value])]


def _value(value: Any, where: str) -> LabelValue:
    if isinstance(value, str) and _COLOUR.fullmatch(value):
        return value.upper()
    if type(value) is int and 0 <= value <= MAX_LABEL_NUMBER:
        return value
    hint = "; a colour needs quotes, or YAML takes it for a comment" if value is None else ""
    raise DatasetError(
        f"{where}: expected a number of 0 to {MAX_LABEL_NUMBER} or a colour '#RRGGBB',"
        f" found {value!r}{hint}"
    )
