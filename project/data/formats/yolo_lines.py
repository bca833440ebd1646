"""The lines of a YOLO text file: `class x1 y1 x2 y2 ...`, or a box `class cx cy width height`."""

from collections import Counter
from pathlib import Path

import numpy as np
from detectron2.structures import BoxMode

from project.data.categories import Categories
from project.data.faults import Fault, short
from project.data.files import some_of
from project.data.formats.polygon_objects import object_of_polygons
from project.data.problems import Problems
from project.data.records import Annotation, Record

# What rounding does to a point on the border; Ultralytics' own trainer allows as much.
_OVERSHOOT = 0.01
_ABSURD = 10  # times the image's longer side, in pixels
_REPAIR = "export the line again, or take it out"


class LineReader:
    """Makes objects of lines."""

    def __init__(self, categories: Categories, indices: dict[str, int], problems: Problems) -> None:
        """Has read nothing.

        Args:
            categories: of the data set.
            indices: class name -> index in the text files, of all classes.
            problems: takes what is wrong with lines, which are left out.
        """
        self.left_out: Counter[str] = Counter()  # objects of classes that are not chosen
        self._names = {index: name for name, index in indices.items()}
        self._things = {name: i for i, name in enumerate(categories.things)}
        self._problems = problems

    def add_objects(self, record: Record, path: Path) -> bool:
        """Gives a record the objects of its file, in place; whether the file could be read."""
        try:
            lines = _read_lines(path)
        except Fault as fault:
            fault.report(self._problems, path, image=record["image_id"])
            return False
        for number, words in lines:
            self._add_object(record, path, number, words)
        return True

    def _add_object(self, record: Record, path: Path, number: int, words: list[str]) -> None:
        try:
            name = self._class_name(words[0])
            if name not in self._things:
                self.left_out[name] += 1
                return
            size = record["height"], record["width"]
            record["annotations"].append(_object(words[1:], number, self._things[name], size))
        except Fault as fault:
            fault.report(self._problems, path, annotation=number, image=record["image_id"])

    def _class_name(self, word: str) -> str:
        # Some exporters write 0.0 for 0.
        index = _number(word)
        if index is None or index not in self._names:
            known = some_of([f"{i} ({name})" for i, name in self._names.items()], 10)
            raise Fault(
                "class_unknown",
                f"its class is {short(word)}",
                f"an index of the data.yaml: {known}",
                "correct it, or name the class in the data.yaml",
            )
        return self._names[int(index)]


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that hold something: number, from 1 on, and words.

    Raises:
        Fault: it is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(
            "file_invalid", f"it is no text ({error})", "lines `class x1 y1 x2 y2 ...`", _REPAIR
        ) from error
    numbered = ((number, line.split()) for number, line in enumerate(lines, start=1))
    return [(number, words) for number, words in numbered if words]


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _object(words: list[str], line: int, thing_id: int, size: tuple[int, int]) -> Annotation:
    """The object of the numbers of a line.

    Raises:
        Fault: they are none, or no fractions, or hold no area.
    """
    numbers = _numbers(words)
    _check_fractions(numbers, size)
    if len(numbers) == 4:
        return _box_object(numbers, line, thing_id, size)
    if len(numbers) % 2:
        raise Fault(
            "segmentation_invalid", f"it has {len(numbers)} coordinates", "pairs of x y", _REPAIR
        )
    if len(numbers) < 6:
        raise Fault(
            "polygon_flat",
            f"it has {len(numbers) // 2} points",
            "a polygon of 3 points or more, or a box `cx cy width height`",
            "take it out, if it is nothing",
        )
    height, width = size
    polygon = (numbers.reshape(-1, 2) * (width, height)).ravel().tolist()
    return object_of_polygons([polygon], line, thing_id, size)


def _numbers(words: list[str]) -> np.ndarray:
    numbers = [_number(word) for word in words]
    if None in numbers:
        word = words[numbers.index(None)]
        raise Fault("segmentation_invalid", f"{short(word)} is no number", "coordinates", _REPAIR)
    return np.array(numbers, dtype=np.float64)


def _check_fractions(numbers: np.ndarray, size: tuple[int, int]) -> None:
    outside = numbers[~((numbers >= -_OVERSHOOT) & (numbers <= 1 + _OVERSHOOT))]  # and NaN
    if not len(outside):
        return
    absurd = not np.abs(outside).max() <= _ABSURD * max(size)
    raise Fault(
        "polygon_hostile" if absurd else "polygon_normalised",
        f"it has the coordinate {outside[0]:g}",
        "fractions of the image's width and height, 0 to 1",
        "outline the object again, or take the line out"
        if absurd
        else "divide x by the width and y by the height, or cut the object at the image's border",
    )


def _box_object(numbers: np.ndarray, line: int, thing_id: int, size: tuple[int, int]) -> Annotation:
    height, width = size
    centre_x, centre_y, box_width, box_height = (numbers * (width, height, width, height)).tolist()
    if min(box_width, box_height) <= 0:
        raise Fault(
            "box_invalid",
            f"its box is {numbers[2]:g} wide and {numbers[3]:g} high",
            "a width and a height above 0",
            _REPAIR,
        )
    return Annotation(
        id=line,
        bbox=[centre_x - box_width / 2, centre_y - box_height / 2, box_width, box_height],
        bbox_mode=BoxMode.XYWH_ABS,
        category_id=thing_id,
        iscrowd=0,
        area=box_width * box_height,
    )
