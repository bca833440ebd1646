"""Reads the list INPUT.AUGMENTATIONS; every mistake is found here, before anything is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import transforms as T

from project.data.transforms.table import AUGMENTATIONS, COPY_PASTE, Kind
from project.entries import Entry, read_entries
from project.errors import ConfigError

KEY = "INPUT.AUGMENTATIONS"


@dataclass(frozen=True)
class Step(Entry):
    """One entry of the list, with every argument."""

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
    known = {name: kind.arguments for name, kind in AUGMENTATIONS.items()}
    steps = [
        Step(entry.name, entry.arguments)
        for entry in read_entries(KEY, entries, known, "augmentation")
    ]
    if any(step.name == COPY_PASTE for step in steps[:-1]):
        raise ConfigError(
            f"{KEY}: {COPY_PASTE} joins images that are finished, so it can only stand last"
        )
    return steps
