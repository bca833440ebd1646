"""The one reader of label map files, and their writer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from project.data.categories import IGNORE_LABEL, MAX_SEMANTIC_CLASSES, Categories
from project.data.files import some_of
from project.data.label_values import count_values, read_values, shares_text, value_text
from project.data.problems import Problem
from project.data.spec import DEFAULT_MAX_PIXELS, MAX_LABEL_NUMBER, DatasetSpec, LabelValue
from project.errors import DatasetError, nearest

_UNKNOWN = -1


@dataclass(frozen=True)
class LabelEncoding:
    """Which values of label files mean which class.

    Attributes:
        colours: the values are colours 0xRRGGBB, not numbers.
        meaning: value -> semantic id, `IGNORE_LABEL` for values to ignore.
        names: class names in the order of their semantic ids, for messages.
        where: who described the encoding, for messages.
        assumed_ignore: nobody said what 255 means, so it is taken for "ignore", as is the custom.
        max_pixels: files of more are refused before they are decoded.
    """

    colours: bool
    meaning: dict[int, int]
    names: tuple[str, ...]
    where: str
    assumed_ignore: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS

    def name(self, semantic_id: int) -> str:
        """The class of a semantic id, or "ignore"."""
        return "ignore" if semantic_id == IGNORE_LABEL else self.names[semantic_id]

    @cached_property
    def table(self) -> np.ndarray:
        """(65536,) int16 semantic id of each number, -1 where it means nothing."""
        table = np.full(MAX_LABEL_NUMBER + 1, _UNKNOWN, dtype=np.int16)
        table[list(self.meaning)] = list(self.meaning.values())
        return table

    def to_semantic(self, values: np.ndarray) -> np.ndarray:
        """Semantic ids of file values, both (H, W), int16; -1 where a value means nothing."""
        if not self.colours and values.dtype == np.uint8:
            return np.take(self.table[:256], values)
        if not self.colours:
            inside = values.clip(0, MAX_LABEL_NUMBER)
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
    return LabelEncoding(colours, meaning, names, where, assumed, spec.max_pixels)


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
    """Reads a label map upright; `read_values` says from which files.

    Returns:
        (H, W) uint8 semantic ids, `IGNORE_LABEL` where to ignore.

    Raises:
        DatasetError: see `read_values`; or a value that means nothing.
    """
    values = read_values(
        path, colours=encoding.colours, where=encoding.where, max_pixels=encoding.max_pixels
    )
    ids = encoding.to_semantic(values)
    suspect = encoding.assumed_ignore and values.max(initial=0) == IGNORE_LABEL
    if suspect or ids.min(initial=0) < 0:
        problem = values_problem(path, count_values(values), encoding)
        if problem:
            raise problem.error()
    return ids.astype(np.uint8)


def values_problem(
    path: str | Path, counts: Mapping[int, int], encoding: LabelEncoding
) -> Problem | None:
    """What is wrong with the values of a label map; None where all is well.

    Args:
        path: of the label map.
        counts: value -> pixels.
        encoding: what values mean.
    """
    total = sum(counts.values())
    unknown = {value: n for value, n in counts.items() if value not in encoding.meaning}
    if unknown:
        return _unexplained(path, unknown, total, encoding)
    if encoding.assumed_ignore and set(counts) == {0, IGNORE_LABEL}:
        return _two_values(path, counts, total, encoding)
    return None


def _unexplained(
    path: str | Path, unknown: Mapping[int, int], total: int, encoding: LabelEncoding
) -> Problem:
    shares = shares_text(unknown, total, colours=encoding.colours)
    known = [
        f"{value_text(value, colours=encoding.colours)} = {encoding.name(i)}"
        for value, i in encoding.meaning.items()
    ]
    return Problem(
        *("label_unexplained", None, str(path), None),
        found=f"some of its pixels have values that mean nothing: {shares}",
        expected=f"what {encoding.where} knows: {some_of(known, 20)}",
        repair="add the others there, or under `ignore:`",
    )


def _two_values(
    path: str | Path, counts: Mapping[int, int], total: int, encoding: LabelEncoding
) -> Problem:
    pair = [*encoding.names, "object"][:2]
    return Problem(
        *("label_two_values", None, str(path), None),
        found=f"found only the values {shares_text(counts, total, colours=False)}, so 255 seems to"
        " be a class",
        expected=f"its meaning in {encoding.where}",
        repair=f"write `classes: {{{pair[0]}: 0, {pair[1]}: 255}}`, or `ignore: 255` if these"
        " pixels are to be left out",
    )


def write_label_map(path: str | Path, ids: np.ndarray) -> None:
    """Writes (H, W) uint8 semantic ids as a palette PNG: ids as indices, colours to look at."""
    assert ids.dtype == np.uint8 and ids.ndim == 2, (ids.dtype, ids.shape)
    image = Image.fromarray(ids)
    image.putpalette(_PALETTE)
    image.save(path, format="PNG")


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
