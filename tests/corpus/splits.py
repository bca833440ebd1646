"""Splits that share images, and configs that count other classes, in every format."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import factories
from corpus.case import Case, Place, edit_spec, records_of
from corpus.images import FORMATS


def _images(spec: Path, split: str) -> list[Path]:
    return [Path(record["file_name"]) for record in records_of(spec, split)]


def _shared(root: Path, format: str) -> Place:
    """An image of the training split takes the place of one to be scored."""
    spec = factories.make(format, root, num_images=2)
    taught, scored = _images(spec, "train")[0], _images(spec, "val")[0]
    shutil.copy(taught, scored)
    return Place(spec, scored, split="val")


def _nearly_shared(root: Path, format: str) -> Place:
    """The same with other noise."""
    spec = factories.make(format, root, num_images=2)
    taught, scored = _images(spec, "train")[0], _images(spec, "val")[0]
    pixels = np.asarray(Image.open(taught)).astype(int)
    noise = np.random.default_rng(0).integers(-2, 3, pixels.shape)
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(scored, "PNG")
    return Place(spec, scored, split="val")


def _copied(root: Path, format: str) -> Place:
    """Two images of one split are the same."""
    spec = factories.make(format, root, num_images=2)
    first, second = _images(spec, "train")
    shutil.copy(first, second)
    return Place(spec, second)


def _grouped(root: Path, format: str) -> Place:
    """The specification puts images of both splits into one group."""
    spec = factories.make(format, root, num_images=2)
    edit_spec(spec, groups="0")
    return Place(spec, _images(spec, "val")[0], split="val")


def cases() -> list[Case]:
    """All of this file."""
    kinds = (
        ("image_in_two_splits", "S18", "leak_exact", _shared),
        ("image_nearly_in_two_splits", "S18", "leak_near", _nearly_shared),
        ("image_copied", "S18", "image_copied", _copied),
        ("group_in_two_splits", "S18", "leak_group", _grouped),
    )
    return [
        Case(name, hazard, form, rule, partial(make, format=form))
        for form in FORMATS
        for name, hazard, rule, make in kinds
    ]
