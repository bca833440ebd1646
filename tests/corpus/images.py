"""Bad image files, in every format that has image files: all of them."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import factories
from corpus.case import Case, Place, edit_spec, records_of
from corpus.pixels import cut_off, flip_byte, rewritten, turned, turned_by_exif

SIZE = (48, 64)  # not square, so that turning shows


def _saved_as(format: str, change: Callable[[Image.Image], Image.Image] = lambda i: i) -> Callable:
    """The same picture in another file format, under the old name."""

    def damage(path: Path) -> None:
        image = change(Image.open(path))
        buffer = io.BytesIO()
        image.save(buffer, format)
        path.write_bytes(buffer.getvalue())

    return damage


def _jpeg_cut_off(path: Path) -> None:
    _saved_as("JPEG")(path)
    cut_off(path)


def _film(path: Path) -> None:
    image = Image.open(path)
    frames = [Image.eval(image, lambda v, k=k: (v + k) % 256) for k in (40, 80)]
    image.save(path, "GIF", save_all=True, append_images=frames)


def _dark(path: Path) -> None:
    """The twelve bits of a camera in a 16-bit file."""
    grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
    Image.fromarray(grey * 4).save(path, "PNG")


def _floats(path: Path) -> None:
    grey = np.asarray(Image.open(path).convert("L")).astype(np.float32)
    Image.fromarray(grey / 255).save(path, "TIFF")


def _transparent(path: Path) -> None:
    image = Image.open(path).convert("RGBA")
    alpha = np.zeros(image.size[::-1], np.uint8)
    alpha[: image.height // 2] = 255
    image.putalpha(Image.fromarray(alpha))
    image.save(path, "PNG")


def _other_size(path: Path) -> None:
    image = Image.open(path)
    image.resize((image.width * 2, image.height)).save(path, "PNG")


def _bomb(path: Path) -> None:
    """A header of 400 megapixels, and nothing to fill them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


# name, hazard, rule, what is done to the file
DAMAGES: tuple[tuple[str, str, str, Callable[[Path], None]], ...] = (
    ("image_absent", "late", "image_missing", Path.unlink),
    ("image_empty", "late", "image_unreadable", lambda path: path.write_bytes(b"")),
    ("image_html", "late", "image_unreadable", lambda path: path.write_text("<html>404</html>")),
    ("image_cut_off", "late", "image_unreadable", cut_off),
    ("image_jpeg_cut_off", "late", "image_unreadable", _jpeg_cut_off),
    ("image_flipped_byte", "S20", "image_unreadable", flip_byte),
    ("image_bomb", "late", "image_too_large", _bomb),
    ("image_film", "S19", "image_frames", _film),
    ("image_floats", "S19", "image_depth", _floats),
    ("image_dark", "S19", "image_dark", _dark),
    ("image_transparent", "S19", "alpha_used", _transparent),
    ("image_other_size", "late", "size_mismatch", _other_size),
    ("image_turned", "S11", "size_turned", rewritten(turned)),
)
FORMATS = (
    "coco",
    "coco_panoptic",
    "label_map",
    "voc",
    "cityscapes",
    "yolo",
    "labelme",
    "mask_folder",
)
# Nothing but the image states a size there; mask_folder has cases of its own.
_SIZELESS = ("yolo", "mask_folder")
# These go by what is in the folder of images, and have cases of their own for what is not.
_LISTED = ("label_map", "voc", "yolo", "mask_folder")
# Their images are JPEG, which has no check sum: one byte may change unseen.
_NO_SUMS = ("voc",)


def _damage(root: Path, format: str, damage: Callable[[Path], None], exif: str = "auto") -> Place:
    # In Cityscapes, a folder is a city, of which more than this image should be left.
    spec = factories.make(format, root, num_images=3, size=SIZE)
    file = Path(records_of(spec)[0]["file_name"])
    damage(file)
    if exif != "auto":
        edit_spec(spec, exif=exif)
    return Place(spec, file)


def _narrow(root: Path) -> Place:
    """An image of one row, with an object as high."""
    spec = factories.make("label_map", root, num_images=2)
    record = records_of(spec)[0]
    pixels = np.zeros((1, 8000), np.uint8)
    pixels[:, ::7] = 1
    Image.fromarray(pixels).save(record["sem_seg_file_name"])
    Image.fromarray(pixels * 100).save(record["file_name"])
    return Place(spec, Path(record["file_name"]))


def cases() -> list[Case]:
    """All of this file."""
    found = [
        Case(name, hazard, form, rule, partial(_damage, format=form, damage=damage))
        for form in FORMATS
        for name, hazard, rule, damage in DAMAGES
        if not (form in _SIZELESS and rule in ("size_mismatch", "size_turned"))
        if not (form in _LISTED and rule == "image_missing")
        if not (form in _NO_SUMS and damage is flip_byte)
    ]
    found += [
        Case(
            "exif_applied",
            "S10",
            form,
            "size_turned",
            partial(_damage, format=form, damage=turned_by_exif, exif="apply"),
        )
        for form in FORMATS
        if form not in _SIZELESS
    ]
    narrow = Case(
        *("image_narrow", "late", "label_map", "image_shape", _narrow),
        config=("INPUT.MIN_SIZE_TRAIN", "[800]"),
    )
    return [*found, narrow]
