"""Bad object maps and lists of PASCAL VOC; its class maps are in `labels`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

import factories
from corpus.case import ANY, Case, Id, Place, first_file, path_of
from corpus.pixels import cut_off, flip_byte, narrowed, rewritten, turned

Make = Callable[[Path], Place]


def _object_map(damage: Callable[[Path], Id | None], also_named: Id | None = None) -> Make:
    """How to write a data set of which the first object map is damaged."""

    def make(root: Path) -> Place:
        spec = factories.make("voc", root, num_images=2, size=(48, 64))
        file = first_file(spec, "objects", "*.png")
        return Place(spec, file, damage(file) or also_named)

    return make


def _merged(values: np.ndarray) -> np.ndarray:
    """The first two objects, of two classes, under one number."""
    first, second = [v for v in np.unique(values) if v not in (0, 255)][:2]
    return np.where(values == second, first, values).astype(np.uint8)


def _on_background(values: np.ndarray) -> np.ndarray:
    values[:4, :4] = 99
    return values


def _left_out(root: Path) -> Place:
    """An object of no countable class, which is told once for the data set."""
    spec = _object_map(rewritten(_on_background))(root).spec
    return Place(spec, spec)


def _absent(root: Path) -> Place:
    """An object map is missing; the class map is there."""
    spec = factories.make("voc", root, num_images=2)
    file = first_file(spec, "objects", "*.png")
    file.unlink()
    return Place(spec, path_of(spec, "labels") / file.name)


def _listed(change: Callable[[list[str]], list[str]]) -> Make:
    """How to write a data set of which the list of names is another."""

    def make(root: Path) -> Place:
        spec = factories.make("voc", root, num_images=2)
        file = path_of(spec, "list")
        file.write_text("\n".join(change(file.read_text().split())))
        return Place(spec, file)

    return make


def cases() -> list[Case]:
    """All of this file."""
    kinds: tuple[tuple[str, str, str, Make], ...] = (
        ("objects_of_two_classes", "S22", "object_class", _object_map(rewritten(_merged), ANY)),
        ("object_on_background", "S22", "class_left_out", _left_out),
        (
            "objects_other_size",
            "late",
            "size_mismatch",
            _object_map(rewritten(narrowed)),
        ),
        (
            "objects_turned",
            "S10",
            "size_mismatch",
            _object_map(rewritten(turned)),
        ),
        ("objects_jpeg", "S6", "label_lossy", _object_map(rewritten(format="JPEG"))),
        ("objects_cut_off", "late", "image_unreadable", _object_map(cut_off)),
        ("objects_flipped_byte", "S20", "image_unreadable", _object_map(flip_byte)),
        ("objects_absent", "S7", "unpaired", _absent),
        ("listed_absent", "S7", "unpaired", _listed(lambda names: [*names, "999"])),
        ("listed_twice", "S18", "image_listed_twice", _listed(lambda names: [*names, names[0]])),
    )
    return [Case(name, hazard, "voc", rule, make) for name, hazard, rule, make in kinds]
