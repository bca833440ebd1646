"""Objects of labelme: shapes, of which those of one label and group are parts of one object."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from project.data.categories import Categories
from project.data.faults import Fault, short
from project.data.formats.labelme_shapes import Part, Size, read_part
from project.data.formats.mask_objects import object_of_mask
from project.data.formats.polygon_objects import object_of_polygons
from project.data.masks import decode_mask
from project.data.problems import Id, Problems
from project.data.records import Annotation, Record

IGNORED = "__ignore__"  # pixels that neither teach nor count
BACKGROUND = "_background_"


@dataclass
class _Object:
    """The parts of an object; `index` is that of its first shape, `whole` if all could be read."""

    index: int
    label: str
    parts: list[Part] = field(default_factory=list)
    whole: bool = True


class ShapeReader:
    """Makes objects of shapes."""

    def __init__(self, categories: Categories, problems: Problems) -> None:
        """Has read nothing.

        Args:
            categories: of the data set.
            problems: takes what is wrong with shapes, whose objects are left out.
        """
        self.left_out: Counter[str] = Counter()  # shapes of labels that are not chosen
        self._things = {name: i for i, name in enumerate(categories.things)}
        self._problems = problems

    def add_objects(self, record: Record, path: Path, shapes: list[Any]) -> None:
        """Gives a record the objects of the list `shapes` of its file, in place."""
        size = record["height"], record["width"]
        for found in self._gather(record, path, shapes):
            if found.whole and found.parts:
                record["annotations"] += self._annotations(found, size)

    def _gather(self, record: Record, path: Path, shapes: list[Any]) -> Iterable[_Object]:
        objects: dict[tuple[str, bool, Any], _Object] = {}
        size = record["height"], record["width"]
        for index, shape in enumerate(shapes):
            found = None
            try:
                label, group = _identity(shape)
                if label not in self._things and label != IGNORED:
                    self.left_out[label] += 1
                    continue
                alone = group is None
                key = (label, alone, index if alone else group)
                found = objects.setdefault(key, _Object(index, label))
                found.parts.append(read_part(shape, size))
            except Fault as fault:
                fault.report(self._problems, path, annotation=index, image=record["image_id"])
                if found is not None and fault.rule != "polygon_flat":
                    found.whole = False
        return objects.values()

    def _annotations(self, found: _Object, size: Size) -> Iterator[Annotation]:
        if found.label != IGNORED:
            yield _annotation(found.parts, found.index, self._things[found.label], size)
            return
        # Whatever is there is neither taught nor counted: a crowd of any class.
        for name, thing_id in self._things.items():
            own_id = f"{found.index} as {name}"
            region = object_of_mask(_union(found.parts, size), own_id, thing_id)
            yield Annotation(**{**region, "iscrowd": 1})


def label_of(shape: Any) -> str | None:
    """The label of an entry of `shapes`; None where it has none."""
    label = shape.get("label") if isinstance(shape, dict) else None
    return label if isinstance(label, str) and label.strip() else None


def _identity(shape: Any) -> tuple[str, int | str | None]:
    """Label and group of a shape.

    Raises:
        Fault: there is no label, or a group that is none.
    """
    label = label_of(shape)
    if label is None:
        raise Fault("class_unknown", f"it has no label: {short(shape)}", "a name", "give it one")
    group = shape.get("group_id")
    if group is not None and type(group) not in (int, str):
        raise Fault(
            "segmentation_invalid",
            f"its group_id is {short(group)}",
            "a whole number, or null",
            "number the parts of one object alike",
        )
    return label, group


def _annotation(parts: list[Part], own_id: Id, thing_id: int, size: Size) -> Annotation:
    polygons = [part for part in parts if isinstance(part, list)]
    if len(polygons) == len(parts):
        return object_of_polygons(polygons, own_id, thing_id, size)
    return object_of_mask(_union(parts, size), own_id, thing_id)


def _union(parts: list[Part], size: Size) -> np.ndarray:
    """(H, W) bool pixels of polygons and masks."""
    polygons = [part for part in parts if isinstance(part, list)]
    masks = [part for part in parts if not isinstance(part, list)]
    return np.logical_or.reduce([decode_mask(polygons, *size), *masks])
