"""One image and its label map, decoded once: what all checks of pixels and leaks go by."""

import hashlib
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from project.data.arrays import is_array
from project.data.categories import IGNORE_LABEL
from project.data.checks.headers import report_size
from project.data.dataset import DatasetInfo
from project.data.images import open_image, read_image
from project.data.label_maps import values_problem
from project.data.label_values import count_values, read_values
from project.data.problems import Problems
from project.data.records import Record
from project.errors import DatasetError

THUMBNAIL = 32  # pixels of a side
_INTERMEDIATE = 4 * THUMBNAIL
_CHANNELS = 4  # more OpenCV does not resize
_TWELVE_BITS = 2**12
_MOST_VALUES = 1024  # kept of a label map; a photograph in its place holds a million


class Reading(NamedTuple):
    """How a model takes images: INPUT.CHANNELS and INPUT.BITS of the config."""

    channels: int = 3
    bits: int = 8


@dataclass
class Look:
    """What decoding told.

    Attributes:
        record: of the image.
        digest: of its pixels, whatever the file format; None where they were not decoded or are
            all alike: plain images say nothing about where they come from.
        thumbnail: (32, 32) float32 grey, 0 to 255; None with the digest.
        label_values: value -> pixels of its label map; None where there is none, or unreadable.
        problems: what is wrong with it.
    """

    record: Record
    digest: bytes | None = None
    thumbnail: np.ndarray | None = None
    label_values: dict[int, int] | None = None
    problems: Problems = field(default_factory=Problems)


def look(record: Record, info: DatasetInfo, reading: Reading, *, readable: bool) -> Look:
    """Decodes an image and its label map.

    Args:
        record: of the image.
        info: of its split.
        reading: how the model takes images.
        readable: whether the image has a header that can be read; otherwise it is left alone.
    """
    seen = Look(record)
    with seen.problems.in_split(info.split):
        if readable:
            _look_at_image(seen, info, reading)
        if "sem_seg_file_name" in record:
            _look_at_label_map(seen, info)
    return seen


def _look_at_image(seen: Look, info: DatasetInfo, reading: Reading) -> None:
    record, path = seen.record, seen.record["file_name"]
    try:
        if not is_array(path):
            _look_at_file(seen, info, reading)
        pixels = read_image(
            path,
            "RGB",
            exif=info.spec.exif,
            stated=(record["height"], record["width"]),
            max_pixels=info.spec.max_pixels,
            channels=reading.channels,
            bits=reading.bits,
        )
    except DatasetError as error:
        seen.problems.keep_error(error, "image_unreadable", path)
        return
    picture = thumbnail(pixels)
    if np.ptp(picture):
        seen.digest, seen.thumbnail = _digest(pixels), picture


def _digest(pixels: np.ndarray) -> bytes:
    # The quickest of hashlib where the processor has instructions for it.
    content = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode())
    content.update(np.ascontiguousarray(pixels).data)
    return content.digest()


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) pixels to (32, 32) float32 grey, each the mean of what it covers."""
    if pixels.shape[2] > _CHANNELS:
        pixels = pixels.mean(axis=2, keepdims=True)
    # In the type of the image: quick, and its rounding is lost in the last mean. Halves of even
    # sides are several times quicker than other fractions.
    while min(pixels.shape[:2]) >= 2 * _INTERMEDIATE and not any(n % 2 for n in pixels.shape[:2]):
        pixels = _resized(pixels, pixels.shape[1] // 2, pixels.shape[0] // 2)
    if min(pixels.shape[:2]) > _INTERMEDIATE:
        pixels = _resized(pixels, _INTERMEDIATE, _INTERMEDIATE)
    grey = np.atleast_3d(pixels).astype(np.float32).mean(axis=2)
    return _resized(grey, THUMBNAIL, THUMBNAIL)[..., 0]


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.atleast_3d(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))


def _look_at_file(seen: Look, info: DatasetInfo, reading: Reading) -> None:
    """What decoded pixels no longer show: checksums, transparency, 16 bits."""
    path = seen.record["file_name"]
    with open_image(path, info.spec.max_pixels) as image:
        is_png = image.format == "PNG"
        if image.has_transparency_data:
            _check_alpha(seen, image)
        elif image.mode.startswith("I;16") and reading.bits == 8:
            _check_darkness(seen, int(np.asarray(image).max(initial=0)))
    if is_png:
        _check_sums(path, info)


def _check_sums(path: str, info: DatasetInfo) -> None:
    """Raises where a chunk of a PNG file is damaged, which decoding alone passes over."""
    with open_image(path, info.spec.max_pixels) as image:
        image.verify()


def _check_alpha(seen: Look, image: Image.Image) -> None:
    alpha = np.asarray((image if image.mode == "RGBA" else image.convert("RGBA")).getchannel("A"))
    if alpha.min(initial=255) < 255:
        share = float((alpha < 255).mean())
        seen.problems.add(
            "alpha_used",
            seen.record["file_name"],
            f"{share:.1%} of its pixels are transparent, and what lies under them is read",
            "opaque pixels",
            "look at it without its alpha channel, and paint over what should not be seen",
            image=seen.record["image_id"],
        )


def _check_darkness(seen: Look, largest: int) -> None:
    if 0 < largest < _TWELVE_BITS:
        seen.problems.add(
            "image_dark",
            seen.record["file_name"],
            f"the largest of its 16-bit values is {largest}, of which the upper eight bits leave"
            f" 0 to {largest >> 8}: nearly black",
            f"values up to {2**16 - 1}",
            "set INPUT.BITS 16, or multiply all images by one factor to fill 16 bits",
            image=seen.record["image_id"],
        )


def _look_at_label_map(seen: Look, info: DatasetInfo) -> None:
    record, encoding = seen.record, info.encoding
    path = record["sem_seg_file_name"]
    assert encoding is not None, info.name
    try:
        values = read_values(
            path, colours=encoding.colours, where=encoding.where, max_pixels=encoding.max_pixels
        )
        if path.lower().endswith(".png"):
            _check_sums(path, info)
    except DatasetError as error:
        seen.problems.keep_error(error, "file_invalid", path)
        return
    counts = count_values(values)
    seen.label_values = dict(islice(counts.items(), _MOST_VALUES))
    problem = values_problem(path, counts, encoding)
    if problem:
        seen.problems.keep_error(problem.error(), problem.rule, path)
    elif all(encoding.meaning[value] == IGNORE_LABEL for value in seen.label_values):
        seen.problems.add(
            "label_all_ignored",
            path,
            "all of its pixels are to be ignored",
            "pixels of some class",
            "take the image out, or mend `classes:` and `ignore:` in the specification",
            image=record["image_id"],
        )
    stated = (record["height"], record["width"])
    found = (values.shape[0], values.shape[1])
    if found != stated:
        report_size(path, found, stated, record["file_name"], seen.problems, record)
