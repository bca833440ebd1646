"""What a bad data set is, and how one place of a good one is damaged."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from project.data.dataset import read_info, read_records
from project.data.problems import Problems
from project.data.records import Record
from project.data.rules import RULES
from project.data.spec import read_spec

Id = int | str
ANY = "any"  # an annotation's id that a format may choose as it likes


class Place(NamedTuple):
    """Where the damage is.

    Attributes:
        spec: specification file of the data set.
        file: that must be named.
        annotation: its id in that file; None where no annotation is concerned.
        split: that must be named; None where it concerns the whole data set.
    """

    spec: Path
    file: Path
    annotation: Id | None = None
    split: str | None = "train"


@dataclass(frozen=True)
class Case:
    """One kind of bad data in one format.

    Attributes:
        name: unique within its format.
        hazard: its kind among what stock Detectron2 was seen to do with bad data: S1 to S23 give
            wrong numbers silently, "late" stops a training at the sample, "start" stops its start.
        format: of the data set.
        rule: that must be reported.
        make: writes the data set into a folder.
        also: rules of other errors that follow from the same damage.
        config: keys and values of a training's config with which it matters.
    """

    name: str
    hazard: str
    format: str
    rule: str
    make: Callable[[Path], Place]
    also: tuple[str, ...] = ()
    config: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """How bad its kind is."""
        return RULES[self.rule].level

    def __str__(self) -> str:
        return f"{self.format}-{self.name}"


def edit_json(path: Path, change: Callable[[Any], Any]) -> Any:
    """Changes the content of a JSON file in place; returns what `change` returns."""
    content = json.loads(path.read_text())
    result = change(content)
    path.write_text(json.dumps(content))
    return result


def edit_spec(path: Path, **changes: Any) -> None:
    """Sets keys of a specification file; None removes one."""
    fields = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in fields.items() if v is not None}))


def records_of(spec: Path, split: str = "train") -> list[Record]:
    """The images of a split of a data set that is still whole."""
    return read_records(read_info(read_spec(spec), split), Problems(strict=True))


def path_of(spec: Path, key: str, split: str = "train") -> Path:
    """A file or folder of a split, by its key in the specification."""
    return read_spec(spec).resolve(split, key)


def first_file(spec: Path, key: str, pattern: str) -> Path:
    """The first file of the training split below the folder of a key."""
    return sorted(path_of(spec, key).rglob(pattern))[0]
