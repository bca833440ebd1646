"""Bad masks and folders where each object is a file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

import factories
from corpus.case import ANY, Case, Place, edit_spec, first_file, records_of
from corpus.pixels import cut_off, flip_byte, narrowed, rewritten, turned, turned_by_exif

Make = Callable[[Path], Place]


def _mask(damage: Callable[[Path], object]) -> Make:
    """How to write a data set of which the first mask is damaged."""

    def make(root: Path) -> Place:
        spec = factories.make("mask_folder", root, num_images=2, size=(48, 64))
        file = first_file(spec, "samples", "*/masks/**/*.png")
        damage(file)
        return Place(spec, file, ANY)

    return make


def _smooth(values: np.ndarray) -> np.ndarray:
    """Edges in grey, as after resizing."""
    values = (values > 0) * np.uint8(255)
    values[:, 20:22] = 128
    return values


def _copied(root: Path) -> Place:
    spec = factories.make("mask_folder", root, num_images=2)
    file = first_file(spec, "samples", "*/masks/**/*.png")
    shutil.copy(file, file.with_name("zzz.png"))
    return Place(spec, _masks_of(file), ANY)


def _masks_of(mask: Path) -> Path:
    """The folder that is named for objects, each of which is named by its path within."""
    return next(folder for folder in mask.parents if folder.name == "masks")


def _whole_image(root: Path) -> Place:
    place = _mask(rewritten(np.ones_like))(root)
    return place._replace(file=_masks_of(place.file))


def _sample(change: Callable[[Path], Path]) -> Make:
    """How to write a data set of which the first folder is changed; returns what is named."""

    def make(root: Path) -> Place:
        spec = factories.make("mask_folder", root, num_images=2)
        folder = Path(records_of(spec)[0]["file_name"]).parents[1]
        return Place(spec, change(folder))

    return make


def _image(damage: Callable[[Path], object], exif: str = "auto") -> Make:
    """How to write a data set of which the masks do not fit the first image; they are named."""

    def make(root: Path) -> Place:
        spec = factories.make("mask_folder", root, num_images=2, size=(48, 64))
        damage(Path(records_of(spec)[0]["file_name"]))
        edit_spec(spec, exif=exif)
        return Place(spec, first_file(spec, "samples", "*/masks/**/*.png"), ANY)

    return make


def _no_image(folder: Path) -> Path:
    shutil.rmtree(folder / "images")
    return folder


def _two_images(folder: Path) -> Path:
    image = next((folder / "images").iterdir())
    shutil.copy(image, image.with_name("second.png"))
    return folder


def _unknown_class(folder: Path) -> Path:
    unknown = folder / "masks" / "star"
    unknown.mkdir()
    mask = sorted((folder / "masks").rglob("*.png"))[0]
    shutil.copy(mask, unknown / mask.name)
    return unknown


def _no_class(folder: Path) -> Path:
    """Masks beside the folders of their classes."""
    mask = sorted((folder / "masks").rglob("*.png"))[0]
    mask.rename(folder / "masks" / "flat.png")
    return folder / "masks"


def _no_masks(folder: Path) -> Path:
    shutil.rmtree(folder / "masks")
    return folder / "masks"


def _nameless(root: Path) -> Place:
    spec = factories.make("mask_folder", root, num_images=2)
    edit_spec(spec, things=None)
    return Place(spec, spec, split=None)


def cases() -> list[Case]:
    """All of this file."""
    kinds: tuple[tuple[str, str, str, Make], ...] = (
        ("mask_other_size", "late", "size_mismatch", _mask(rewritten(narrowed))),
        ("mask_turned", "S10", "size_mismatch", _mask(rewritten(turned))),
        ("image_other_size", "late", "size_mismatch", _image(rewritten(narrowed))),
        ("image_turned", "S11", "size_mismatch", _image(rewritten(turned))),
        ("exif_applied", "S10", "size_mismatch", _image(turned_by_exif, "apply")),
        ("mask_empty", "late", "mask_empty", _mask(rewritten(np.zeros_like))),
        ("mask_smooth", "S6", "label_unexplained", _mask(rewritten(_smooth))),
        ("mask_jpeg", "S6", "label_lossy", _mask(rewritten(format="JPEG"))),
        ("mask_whole_image", "S22", "mask_whole_image", _whole_image),
        ("mask_cut_off", "late", "image_unreadable", _mask(cut_off)),
        ("mask_flipped_byte", "S20", "image_unreadable", _mask(flip_byte)),
        ("mask_copied", "S18", "annotation_copied", _copied),
        ("no_image", "late", "unpaired", _sample(_no_image)),
        ("two_images", "S7", "unpaired", _sample(_two_images)),
        ("class_unknown", "start", "class_unknown", _sample(_unknown_class)),
        ("class_absent", "start", "class_unknown", _sample(_no_class)),
        ("no_masks", "S21", "images_without_objects", _sample(_no_masks)),
        ("no_classes", "start", "classes_missing", _nameless),
    )
    return [Case(name, hazard, "mask_folder", rule, make) for name, hazard, rule, make in kinds]
