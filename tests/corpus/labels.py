"""Bad label maps, in the formats that have them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import factories
from corpus.case import Case, Place, edit_spec, records_of
from corpus.pixels import cut_off, flip_byte, narrowed, rewritten, turned, turned_by_exif

Damage = Callable[[Path], None]
# format -> keywords that give it label maps of the numbers 0, 1, 2 and, ignored, 255
FORMATS: dict[str, dict[str, Any]] = {
    "coco": {"labels": True},
    "label_map": {"encoding": "index"},
    "voc": {"objects": False},
    "cityscapes": {},
}
# There 255 has a meaning of its own, and a map of 0 and 255 may be right.
_VOID_KNOWN = ("voc", "cityscapes")


def _values(path: Path) -> np.ndarray:
    """(H, W) numbers; indices of a palette."""
    return np.array(Image.open(path))


def _patch(values: np.ndarray, number: int) -> np.ndarray:
    values[:8, :8] = number
    return values


def _colours(values: np.ndarray) -> np.ndarray:
    """Each class as a colour of its own."""
    return np.stack([values * 40, values * 70, 200 - values], axis=2).astype(np.uint8)


def _one_hot(values: np.ndarray) -> np.ndarray:
    hot = [values == number for number in np.unique(values)[:3]]
    return np.stack([h * np.uint8(255) for h in hot], axis=2)


# name, hazard, rule, what is done to the file
DAMAGES: tuple[tuple[str, str, str, Damage], ...] = (
    ("label_number", "S9", "label_unexplained", rewritten(lambda v: _patch(v, 77))),
    (
        "label_16_bits",
        "S4",
        "label_unexplained",
        rewritten(lambda v: _patch(v.astype(np.uint16), 1000)),
    ),
    (
        "label_32_bits",
        "S4",
        "label_unexplained",
        rewritten(lambda v: _patch(v.astype(np.int32), 1000), "TIFF"),
    ),
    (
        "label_negative",
        "late",
        "label_unexplained",
        rewritten(lambda v: _patch(v.astype(np.int32), -1), "TIFF"),
    ),
    ("label_0_255", "S5", "label_two_values", rewritten(lambda v: (v > 0) * np.uint8(255))),
    ("label_colours", "S3", "label_colours", rewritten(_colours)),
    ("label_one_hot", "S3", "label_colours", rewritten(_one_hot)),
    ("label_jpeg", "S6", "label_lossy", rewritten(format="JPEG")),
    (
        "label_fractions",
        "S19",
        "label_kind",
        rewritten(lambda v: v.astype(np.float32) + 0.5, "TIFF"),
    ),
    ("label_other_size", "late", "size_mismatch", rewritten(narrowed)),
    ("label_turned", "S10", "size_turned", rewritten(turned)),
    ("label_exif", "S10", "size_turned", turned_by_exif),
    ("label_all_ignored", "late", "label_all_ignored", rewritten(lambda v: np.full_like(v, 255))),
    ("label_empty_file", "late", "image_unreadable", lambda path: path.write_bytes(b"")),
    ("label_cut_off", "late", "image_unreadable", cut_off),
    ("label_flipped_byte", "S20", "image_unreadable", flip_byte),
)


def _damage(root: Path, format: str, damage: Damage) -> Place:
    spec = factories.make(format, root, num_images=2, size=(48, 64), **FORMATS[format])
    file = Path(records_of(spec)[0]["sem_seg_file_name"])
    damage(file)
    return Place(spec, file)


def _absent(root: Path, format: str) -> Place:
    spec = factories.make(format, root, num_images=2, **FORMATS[format])
    record = records_of(spec)[0]
    Path(record["sem_seg_file_name"]).unlink()
    return Place(spec, Path(record["file_name"]))


def _image_absent(root: Path, format: str) -> Place:
    """A label map without its image; in stock Detectron2, all later ones shift by one."""
    spec = factories.make(format, root, num_images=2, **FORMATS[format])
    record = records_of(spec)[0]
    Path(record["file_name"]).unlink()
    return Place(spec, Path(record["sem_seg_file_name"]))


def _shifted(root: Path) -> Place:
    """Images a, b, c and label maps a, c, d: as many, but others (S7)."""
    spec = factories.make("label_map", root, num_images=3)
    labels = [Path(record["sem_seg_file_name"]) for record in records_of(spec)]
    labels[1].rename(labels[1].with_name("099.png"))
    return Place(spec, root / "images" / "train" / "001.png")


def _two_suffixes(root: Path) -> Place:
    """Two label maps for one image."""
    spec = factories.make("label_map", root, num_images=2)
    label = Path(records_of(spec)[0]["sem_seg_file_name"])
    Image.open(label).save(label.with_suffix(".tif"))
    return Place(spec, label.with_suffix(".tif"))


def _wrong_legend(root: Path) -> Place:
    """The specification gives a colour that no file has."""
    spec = factories.make("label_map", root, num_images=2, encoding="rgb")
    classes = {**factories.LABEL_COLOURS, "disc": "#0000FE"}
    edit_spec(spec, classes=classes)
    return Place(spec, spec, split=None)


def _spec_change(**changes: Any) -> Callable[[Path], Place]:
    def make(root: Path) -> Place:
        spec = factories.make("label_map", root, num_images=2)
        edit_spec(spec, **changes)
        return Place(spec, spec, split=None)

    return make


def _class_gone(root: Path) -> Place:
    """The training split never shows the last class."""
    spec = factories.make("label_map", root, num_images=2)
    for record in records_of(spec):
        path = Path(record["sem_seg_file_name"])
        values = _values(path)
        Image.fromarray(np.where(values == 2, 0, values).astype(np.uint8)).save(path)
    return Place(spec, root / "labels" / "train")


def cases() -> list[Case]:
    """All of this file."""
    found = [
        Case(name, hazard, form, rule, partial(_damage, format=form, damage=damage))
        for form in FORMATS
        for name, hazard, rule, damage in DAMAGES
        if not (form in _VOID_KNOWN and rule == "label_two_values")
    ]
    found += [
        Case("label_absent", "S7", form, "unpaired", partial(_absent, format=form))
        for form in ("coco", "label_map", "voc")
    ]
    found += [
        Case("image_of_label_absent", "S7", form, "unpaired", partial(_image_absent, format=form))
        for form in ("label_map", "voc")
    ]
    return [
        *found,
        Case("labels_shifted", "S7", "label_map", "unpaired", _shifted),
        Case("label_two_suffixes", "S23", "label_map", "name_clash", _two_suffixes),
        Case("wrong_legend", "S3", "label_map", "label_unexplained", _wrong_legend),
        Case("no_classes", "start", "label_map", "classes_missing", _spec_change(classes=None)),
        Case("class_untaught", "S12", "label_map", "class_untaught", _class_gone),
    ]
