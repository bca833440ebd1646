"""Whether objects make sense: where they are, what they look like, and that each stands once.

For every format: these are checks of records, as the readers leave them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from project.data.checks.object_places import misplaced
from project.data.checks.object_shapes import (
    WHOLE_IMAGE,
    area_differs,
    exact_copies,
    near_copies,
    worst_crossing,
)
from project.data.checks.object_table import ObjectTable, object_tables
from project.data.dataset import DatasetInfo
from project.data.faults import in_image
from project.data.problems import Problems
from project.data.records import Record

# Hand-drawn outlines cross themselves by a hair where they close; the smaller loop by the larger.
_CROSSING_SHARE = 0.05
_LOOK = "look at it, and draw it again or take it out"


class _Text(NamedTuple):
    """What a rule says of one object.

    Attributes:
        found: of the table and the index of the object.
        expected: what should be there.
        repair: what to do.
    """

    found: Callable[[ObjectTable, int], str]
    expected: str
    repair: str


def check_objects(
    info: DatasetInfo, records: list[Record], problems: Problems, *, quick: bool
) -> None:
    """Checks the objects of a split.

    Args:
        info: of the split.
        records: of the split.
        problems: takes what is wrong.
        quick: look at outlines, run lengths and boxes only; else also make the masks of polygons
            and PNG files, and compare masks with each other.

    Raises:
        DatasetError: a panoptic PNG cannot be read; in strict mode, the first error.
    """
    if not info.categories.things:
        return
    with problems.in_split(info.split):
        _check_presence(info, records, problems)
        for table in object_tables(records, decode=not quick):
            for rule, broken in _broken_rules(table).items():
                for index in np.flatnonzero(broken).tolist():
                    _report(info, table, index, rule, problems)
            for copy, original in _copies(table, quick):
                _report_copy(info, table, copy, original, problems)
            if not quick:
                _check_crossings(info, table, problems)


def _check_presence(info: DatasetInfo, records: list[Record], problems: Problems) -> None:
    """Checks that images have objects."""
    with_objects = [record for record in records if "annotations" in record]
    if not with_objects:
        return
    empty = [record for record in with_objects if not record["annotations"]]
    classes = ", ".join(info.categories.things[:5])
    if not any(not a["iscrowd"] for record in with_objects for a in record["annotations"]):
        problems.add(
            "split_without_objects",
            info.truth_file(with_objects[0]),
            f"none of {len(with_objects)} images has an object",
            f"objects of {classes}",
            "annotate some, or mend what connects the annotations to the images",
        )
    elif empty:
        problems.add(
            "images_without_objects",
            info.truth_file(empty[0]),
            f"{len(empty)} of {len(records)} images have no object, the first is"
            f" {empty[0]['file_name']}",
            f"objects of {classes}, unless there are none to be seen",
            "look at some of them",
        )


def _broken_rules(table: ObjectTable) -> dict[str, np.ndarray]:
    """Rule -> (N,) bool, which objects break it."""
    places = misplaced(table)
    pixels = table.sizes.prod(axis=1)
    lost = places["polygon_outside"] | places["polygon_normalised"]
    empty = (table.areas == 0) & ~lost
    return {
        **places,
        "box_outside": places["box_outside"] & ~empty,
        "mask_empty": empty,
        "mask_whole_image": (table.areas >= WHOLE_IMAGE * pixels) & ~table.crowd,
        "area_not_mask": area_differs(table) & ~lost,
    }


def _copies(table: ObjectTable, quick: bool) -> Iterator[tuple[int, int]]:
    """Pairs (copy, original); each copy once."""
    seen = set()
    for find in (exact_copies,) if quick else (exact_copies, near_copies):
        for copy, original in find(table):
            if copy not in seen:
                seen.add(copy)
                yield copy, original


def _check_crossings(info: DatasetInfo, table: ObjectTable, problems: Problems) -> None:
    for index, annotation in enumerate(table.annotations):
        segmentation = annotation.get("segmentation")
        for polygon in segmentation if isinstance(segmentation, list) else ():
            crossing = worst_crossing(np.reshape(polygon, (-1, 2)))
            if crossing is None or crossing[0] < _CROSSING_SHARE:
                continue
            (x, y), record = crossing[1], table.records[index]
            problems.add(
                "polygon_crossing",
                info.truth_file(record),
                f"a polygon crosses itself at x {x:.1f}, y {y:.1f}, and cuts off a loop of"
                f" {crossing[0]:.0%} of the rest{_in_image(info, record)}",
                "an outline without crossings",
                "put its points in order around the object",
                annotation=annotation["id"],
                image=record["image_id"],
            )
            break


def _report(
    info: DatasetInfo, table: ObjectTable, index: int, rule: str, problems: Problems
) -> None:
    text, record = _TEXTS[rule], table.records[index]
    problems.add(
        rule,
        info.truth_file(record),
        text.found(table, index) + _in_image(info, record),
        text.expected,
        text.repair,
        annotation=table.annotations[index]["id"],
        image=record["image_id"],
    )


def _report_copy(
    info: DatasetInfo, table: ObjectTable, copy: int, original: int, problems: Problems
) -> None:
    record = table.records[copy]
    problems.add(
        "annotation_copied",
        info.truth_file(record),
        f"annotation {table.annotations[original]['id']} has the same class and the same shape"
        f"{_in_image(info, record)}",
        "every object once",
        "take one of the two out",
        annotation=table.annotations[copy]["id"],
        image=record["image_id"],
    )


def _in_image(info: DatasetInfo, record: Record) -> str:
    return in_image(record, info.truth_file(record))


def _stated(table: ObjectTable, index: int) -> str:
    return f"its bbox is {_numbers(table.annotations[index]['bbox'])}"


def _reach(box: np.ndarray) -> str:
    x0, y0, x1, y1 = (f"{v:.6g}" for v in box)
    return f"from x {x0}, y {y0} to x {x1}, y {y1}"


def _outline(table: ObjectTable, index: int) -> str:
    return f"it reaches {_reach(table.bounds[index])}{_of_image(table, index)}"


def _of_image(table: ObjectTable, index: int) -> str:
    width, height = table.sizes[index]
    return f", in an image of {height:g} x {width:g} pixels (height x width)"


def _numbers(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in values) + "]"


def _box_beside_mask(table: ObjectTable, index: int) -> str:
    x0, y0, x1, y1 = table.bounds[index]
    return f"{_stated(table, index)}, its mask's is {_numbers((x0, y0, x1 - x0, y1 - y0))}"


def _overhang(table: ObjectTable, index: int) -> str:
    bounds = table.bounds[index]
    return (
        f"it reaches {_reach(table.boxes[index] if np.isnan(bounds[0]) else bounds)}"
        f"{_of_image(table, index)}"
    )


_TEXTS = {
    "polygon_normalised": _Text(
        _outline,
        "coordinates in pixels",
        "multiply x by the width and y by the height of the image",
    ),
    "polygon_outside": _Text(_outline, "an object in its image", _LOOK),
    "polygon_overhang": _Text(_overhang, "an object that ends at the border", _LOOK),
    "box_xyxy": _Text(
        lambda table, index: f"{_stated(table, index)}, which are two corners",
        "[x, y, width, height]",
        "subtract the first corner from the second",
    ),
    "box_outside": _Text(
        lambda table, index: f"{_stated(table, index)}{_of_image(table, index)}",
        "a box in its image",
        "draw it again, or leave it out to have it measured from the mask",
    ),
    "box_not_mask": _Text(
        _box_beside_mask,
        "the same, but for two pixels or a fiftieth",
        "look at both; if the mask is right, leave the box out to have it measured",
    ),
    "mask_empty": _Text(lambda table, index: "its mask has no pixel", "at least one", _LOOK),
    "mask_whole_image": _Text(
        lambda table, index: (
            f"its mask covers {table.areas[index] / table.sizes[index].prod():.1%} of the image"
        ),
        "an object in front of something",
        "look at it: is the mask inverted, or the background drawn as an object?",
    ),
    "area_not_mask": _Text(
        lambda table, index: (
            f"its area is {table.annotations[index]['area']:g}, its mask has"
            f" {table.areas[index]:g} pixels"
        ),
        "the same, or nearly",
        "leave it out to have it measured from the mask",
    ),
}
