"""The one reader of label map files, and their writer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from project.data.categories import IGNORE_LABEL, MAX_SEMANTIC_CLASSES, Categories
from project.data.images import open_image
from project.data.spec import MAX_LABEL_NUMBER, DatasetSpec, LabelValue
from project.errors import DatasetError, nearest

_LOSSY_FORMATS = ("JPEG", "MPO")
_UNKNOWN = -1
# Pillow spreads the 4 or 16 greys of small PNG files over 0 to 255; dividing undoes it.
_SPREAD_GREYS = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class LabelEncoding:
    """Which values of label files mean which class.

    Attributes:
        colours: the values are colours 0xRRGGBB, not numbers.
        meaning: value -> semantic id, `IGNORE_LABEL` for values to ignore.
        names: class names in the order of their semantic ids, for messages.
        where: who described the encoding, for messages.
        assumed_ignore: nobody said what 255 means, so it is taken for "ignore", as is the custom.
    """

    colours: bool
    meaning: dict[int, int]
    names: tuple[str, ...]
    where: str
    assumed_ignore: bool = False

    @cached_property
    def table(self) -> np.ndarray:
        """(65536,) int16 semantic id of each number, -1 where it means nothing."""
        table = np.full(MAX_LABEL_NUMBER + 1, _UNKNOWN, dtype=np.int16)
        table[list(self.meaning)] = list(self.meaning.values())
        return table

    def to_semantic(self, values: np.ndarray) -> np.ndarray:
        """Semantic ids of file values, both (H, W), int16; -1 where a value means nothing."""
        if not self.colours:
            inside = values if values.dtype == np.uint8 else values.clip(0, MAX_LABEL_NUMBER)
            return np.where(inside == values, self.table[inside], np.int16(_UNKNOWN))
        ids = np.full(values.shape, _UNKNOWN, dtype=np.int16)
        for value, semantic_id in self.meaning.items():
            ids[values == value] = semantic_id
        return ids


def label_encoding(spec: DatasetSpec, categories: Categories) -> LabelEncoding:
    """The encoding that a specification describes.

    Where it has no `classes`, the values are the semantic ids. Where numbers are used and nothing
    says what 255 means, 255 is ignored.

    Raises:
        DatasetError: a class has no value, a name is no class, a value stands twice, numbers and
            colours are mixed, there are more classes than 8 bits hold, or `things` gives an order
            of its own without `classes`.
    """
    where = f"{spec.where}: classes"
    names = categories.semantic
    if len(names) > MAX_SEMANTIC_CLASSES:
        raise DatasetError(
            f"{where}: label maps hold {MAX_SEMANTIC_CLASSES} classes, found {len(names)}"
        )
    if spec.things and not spec.classes:
        raise DatasetError(
            f"{spec.where}: `things:` gives the classes another order, so `classes:` must say which"
            f" value of the label maps means which of {', '.join(names)}"
        )
    classes: dict[str, list[LabelValue]] = spec.classes or {n: [i] for i, n in enumerate(names)}
    _check_names(classes, names, where)
    pairs = [(value, names.index(name)) for name, values in classes.items() for value in values]
    pairs += [(value, IGNORE_LABEL) for value in spec.ignore]
    colours = isinstance(pairs[0][0], str)
    meaning = _meaning(pairs, colours, where)
    assumed = not colours and not spec.ignore and IGNORE_LABEL not in meaning
    if assumed:
        meaning[IGNORE_LABEL] = IGNORE_LABEL
    return LabelEncoding(colours, meaning, names, where, assumed)


def _check_names(classes: Mapping[str, list[LabelValue]], names: Sequence[str], where: str) -> None:
    for name in classes:
        if name not in names:
            raise DatasetError(f"{where}: '{name}' is no class.{nearest(name, names)}")
    for name in names:
        if not classes.get(name):
            raise DatasetError(f"{where}: the class '{name}' has no value")


def _meaning(pairs: Iterable[tuple[LabelValue, int]], colours: bool, where: str) -> dict[int, int]:
    """Number or packed colour -> semantic id."""
    meaning: dict[int, int] = {}
    for value, semantic_id in pairs:
        if isinstance(value, str) != colours:
            raise DatasetError(f"{where}: numbers and colours cannot be mixed, found {value!r}")
        number = int(value[1:], 16) if isinstance(value, str) else value
        if number in meaning:
            raise DatasetError(f"{where}: the value {value!r} stands twice")
        meaning[number] = semantic_id
    return meaning


def read_label_map(path: str | Path, encoding: LabelEncoding) -> np.ndarray:
    """Reads a label map upright, as its EXIF orientation says.

    Numbers come from grey images of 1 to 32 bits, from the indices of palette images, and from RGB
    images with three equal channels. Colours come from any image; a palette is expanded.

    Returns:
        (H, W) uint8 semantic ids, `IGNORE_LABEL` where to ignore.

    Raises:
        DatasetError: unreadable, JPEG, no whole numbers, or a value that means nothing.
    """
    with open_image(path) as image:
        if image.format in _LOSSY_FORMATS:
            raise DatasetError(f"{path}: JPEG changes the values of a label map; export it as PNG")
        # To be read before the pixels are: decoding forgets it.
        spread = _SPREAD_GREYS.get(str(image.tile[0].args) if image.tile else "", 1)
        ImageOps.exif_transpose(image, in_place=True)
        values = _colours(image) if encoding.colours else _numbers(image, path, encoding) // spread
    ids = encoding.to_semantic(values)
    if ids.min(initial=0) < 0:
        raise DatasetError(_unknown_values(path, values, ids, encoding))
    if encoding.assumed_ignore and set(np.unique(values)) == {0, IGNORE_LABEL}:
        raise DatasetError(_two_values(path, values, encoding))
    return ids.astype(np.uint8)


def write_label_map(path: str | Path, ids: np.ndarray) -> None:
    """Writes (H, W) uint8 semantic ids as a palette PNG: ids as indices, colours to look at."""
    assert ids.dtype == np.uint8 and ids.ndim == 2, (ids.dtype, ids.shape)
    image = Image.fromarray(ids)
    image.putpalette(_PALETTE)
    image.save(path, format="PNG")


def _numbers(image: Image.Image, path: str | Path, encoding: LabelEncoding) -> np.ndarray:
    """(H, W) integers of a grey, palette or grey-in-RGB image."""
    if image.mode in ("RGB", "RGBA", "LA", "PA"):
        pixels = np.asarray(image)[:, :, : 3 if image.mode.startswith("RGB") else 1]
        if (pixels == pixels[:, :, :1]).all():
            return pixels[:, :, 0]
        raise DatasetError(
            f"{path}: found the colours {_shares(_packed(pixels), _colour_text)}, but"
            f" {encoding.where} gives numbers; give each class its colour, such as road: '#804080'"
        )
    values = np.asarray(image)
    if image.mode == "1":
        return values.astype(np.uint8)
    if image.mode == "F":
        if not np.array_equal(values, np.trunc(values)):
            raise DatasetError(f"{path}: a label map holds whole numbers, found fractions")
        return values.astype(np.int64)
    if image.mode not in ("L", "P", "I") and not image.mode.startswith("I;16"):
        raise DatasetError(
            f"{path}: a label map is a grey, palette or RGB image, found the mode {image.mode}"
        )
    return values


def _colours(image: Image.Image) -> np.ndarray:
    """(H, W) uint32 0xRRGGBB."""
    return _packed(np.asarray(image.convert("RGB")))


def _packed(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), 2, 0)
    return red << 16 | green << 8 | blue


def _colour_text(value: int) -> str:
    return f"#{value:06X}"


def _shares(
    values: np.ndarray, text: Callable[[int], str] = str, total: int = 0, limit: int = 8
) -> str:
    """The values and their share of `total` (or of these) pixels: "0 (61.2%), 255 (38.8%)"."""
    found, counts = np.unique(values, return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:limit]
    listed = [f"{text(int(found[i]))} ({counts[i] / (total or values.size):.1%})" for i in largest]
    return ", ".join(listed) + (f" and {len(found) - limit} more" if len(found) > limit else "")


def _unknown_values(
    path: str | Path, values: np.ndarray, ids: np.ndarray, encoding: LabelEncoding
) -> str:
    text = _colour_text if encoding.colours else str
    known = ", ".join(
        f"{text(value)} = {'ignore' if i == IGNORE_LABEL else encoding.names[i]}"
        for value, i in list(encoding.meaning.items())[:20]
    )
    return (
        f"{path}: some of its pixels have values that mean nothing:"
        f" {_shares(values[ids < 0], text, values.size)}; {encoding.where} knows {known}."
        " Add the others there, or under `ignore:`"
    )


def _two_values(path: str | Path, values: np.ndarray, encoding: LabelEncoding) -> str:
    pair = [*encoding.names, "object"][:2]
    return (
        f"{path}: found only the values {_shares(values)}, so 255 seems to be a class, but"
        f" {encoding.where} does not say so. Write `classes: {{{pair[0]}: 0, {pair[1]}: 255}}`, or"
        " `ignore: 255` if these pixels are to be left out"
    )


def _palette() -> bytes:
    """256 RGB colours; ids next to each other look different.

    As in PASCAL VOC's label maps, the bits of an id are dealt to the three channels by turns, and
    the lowest bits weigh most.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= ((ids >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours.tobytes()


_PALETTE = _palette()
