"""Reads the list INPUT.AUGMENTATIONS; every mistake is found here, before anything is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import transforms as T

from project.data.transforms.arguments import REQUIRED
from project.data.transforms.table import AUGMENTATIONS, COPY_PASTE, Kind
from project.errors import ConfigError, nearest

KEY = "INPUT.AUGMENTATIONS"


@dataclass(frozen=True)
class Step:
    """One entry of the list, with every argument."""

    name: str
    arguments: dict[str, Any]

    @property
    def kind(self) -> Kind:
        """What its name stands for."""
        return AUGMENTATIONS[self.name]

    @property
    def needs_colour(self) -> list[str]:
        """Its arguments that only images of three channels have a use for."""
        return [name for name in self.kind.colour_arguments if self.arguments[name]]

    def build(self, image_format: str) -> list[T.Augmentation]:
        """What is applied; nothing for what joins images."""
        if self.name == COPY_PASTE:
            return []
        arguments = dict(self.arguments)
        prob = arguments.pop("prob", 1.0)
        if self.kind.colour_arguments:
            arguments["image_format"] = image_format
        built = self.kind.build(**arguments)
        return built if prob == 1 else [T.RandomApply(T.AugmentationList(built), prob)]


def read_steps(entries: Sequence[Any]) -> list[Step]:
    """The entries of the list, in their order.

    Raises:
        ConfigError: an entry of another form, an unknown name or argument, a value that is not
            among those it may have, or anything after copy_paste.
    """
    steps = [_read_step(f"{KEY}[{index}]", entry) for index, entry in enumerate(entries)]
    if any(step.name == COPY_PASTE for step in steps[:-1]):
        raise ConfigError(
            f"{KEY}: {COPY_PASTE} joins images that are finished, so it can only stand last"
        )
    return steps


def _read_step(where: str, entry: Any) -> Step:
    if not isinstance(entry, dict) or "name" not in entry:
        raise ConfigError(
            f"{where}: expected {{name: NAME, ARGUMENT: VALUE, ...}}, found {entry!r}"
        )
    name = entry["name"]
    if name not in AUGMENTATIONS:
        raise ConfigError(
            f"{where}: there is no augmentation {name!r}.{nearest(str(name), AUGMENTATIONS)}"
        )
    known = AUGMENTATIONS[name].arguments
    given = {key: value for key, value in entry.items() if key != "name"}
    for key in given:
        if key not in known:
            raise ConfigError(f"{where}: {name} has no argument {key!r}.{nearest(str(key), known)}")
    return Step(name, {key: _read(where, name, key, given) for key in known})


def _read(where: str, name: str, key: str, given: dict[Any, Any]) -> Any:
    argument = AUGMENTATIONS[name].arguments[key]
    if key not in given:
        if argument.default is REQUIRED:
            raise ConfigError(f"{where}: {name} needs the argument {key!r}")
        return argument.default
    try:
        return argument.read(given[key])
    except ValueError as error:
        raise ConfigError(
            f"{where}: {name}: {key}: expected {error}, found {given[key]!r}"
        ) from error
