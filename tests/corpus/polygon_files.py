"""Bad JSON files of one image each: LabelMe's and those of Cityscapes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import factories
from corpus.case import ANY, Case, Place, edit_json, first_file
from corpus.coco_edits import Entry
from corpus.pixels import cut_off

NAN, INF = float("nan"), float("inf")
Make = Callable[[Path], Place]


class Keys(NamedTuple):
    """What a format calls things.

    Attributes:
        pattern: of its files.
        objects: list of objects.
        points: of an object, a list of [x, y].
        height, width: of the image.
    """

    pattern: str
    objects: str
    points: str
    height: str
    width: str


KEYS = {
    "labelme": Keys("*.json", "shapes", "points", "imageHeight", "imageWidth"),
    "cityscapes": Keys("*_polygons.json", "objects", "polygon", "imgHeight", "imgWidth"),
}
_NEAR = [[9, 2], [9, 9]]

# name, hazard, rule, points of the first object
POINTS: tuple[tuple[str, str, str, Any], ...] = (
    ("point_nan", "late", "polygon_hostile", [[NAN, 2], *_NEAR]),
    ("point_infinite", "late", "polygon_hostile", [[INF, 2], *_NEAR]),
    ("point_1e9", "late", "polygon_hostile", [[1e9, 2], *_NEAR]),
    ("point_big_int", "late", "polygon_hostile", [[10**40, 2], *_NEAR]),
    ("point_text", "late", "segmentation_invalid", [["2", "2"], *_NEAR]),
    ("point_null", "late", "segmentation_invalid", [None, *_NEAR]),
    ("point_of_three", "late", "segmentation_invalid", [[2, 2, 2], *_NEAR]),
    ("points_flat_list", "start", "segmentation_invalid", [2, 2, 9, 2, 9, 9]),
    ("points_text", "late", "segmentation_invalid", "2 2 9 2 9 9"),
    ("points_null", "late", "segmentation_invalid", None),
    ("points_outside", "S16", "polygon_outside", [[200, 200], [220, 200], [220, 220]]),
    ("points_crossing", "S16", "polygon_crossing", [[9, 9], [25, 9], [9, 25], [25, 25]]),
    ("points_overhang", "S16", "polygon_overhang", [[9, 9], [25, 9], [25, 400], [9, 400]]),
    ("points_fractions", "S16", "polygon_normalised", [[0.1, 0.1], [0.4, 0.1], [0.4, 0.4]]),
    ("points_two", "late", "polygon_flat", [[2, 2], [9, 9]]),
    ("points_none", "late", "polygon_flat", []),
    ("points_without_pixel", "S16", "mask_empty", [[9, 9], [9, 9], [9, 9]]),
)


def _changed(root: Path, form: str, change: Callable[[Entry, Keys], Any]) -> Place:
    """Writes a data set of which the first JSON file is changed."""
    spec = factories.make(form, root, num_images=2)
    keys = KEYS[form]
    file = first_file(spec, "annotations", keys.pattern)
    return Place(spec, file, edit_json(file, lambda content: change(content, keys)))


def _points(points: Any) -> Callable[[Entry, Keys], str]:
    def change(content: Entry, keys: Keys) -> str:
        # The last is in front where objects overlap.
        content[keys.objects][-1][keys.points] = points
        return ANY

    return change


def _copied(content: Entry, keys: Keys) -> str:
    content[keys.objects].append(content[keys.objects][-1])
    return ANY


def _size(value: Any) -> Callable[[Entry, Keys], None]:
    return lambda content, keys: content.update({keys.height: value})


def _no_list(content: Entry, keys: Keys) -> None:
    content[keys.objects] = {"0": content[keys.objects][0]}


def _entry_number(content: Entry, keys: Keys) -> str:
    content[keys.objects][-1] = 7
    return ANY


def _label(value: Any) -> Callable[[Entry, Keys], str]:
    def change(content: Entry, keys: Keys) -> str:
        content[keys.objects][-1]["label"] = value
        return ANY

    return change


def _no_objects(content: Entry, keys: Keys) -> None:
    content[keys.objects] = []


def _damaged(root: Path, form: str, damage: Callable[[Path], object]) -> Place:
    spec = factories.make(form, root, num_images=2)
    file = first_file(spec, "annotations", KEYS[form].pattern)
    damage(file)
    return Place(spec, file)


# In Cityscapes these are as they are painted: what is seen is the truth, and a point is a pixel.
_PAINTED = ("polygon_crossing", "polygon_overhang", "mask_empty", "annotation_copied")


def _both(form: str) -> list[Case]:
    changes: tuple[tuple[str, str, str, Callable[[Entry, Keys], Any]], ...] = (
        *((name, hazard, rule, _points(points)) for name, hazard, rule, points in POINTS),
        ("object_copied", "S18", "annotation_copied", _copied),
        ("object_number", "late", "class_unknown", _entry_number),
        ("objects_no_list", "start", "file_invalid", _no_list),
        ("height_zero", "late", "image_size_invalid", _size(0)),
        ("height_text", "late", "image_size_invalid", _size("64")),
        ("height_nan", "late", "image_size_invalid", _size(NAN)),
        ("class_number", "start", "class_unknown", _label(7)),
        ("class_null", "start", "class_unknown", _label(None)),
    )
    damages: tuple[tuple[str, str, str, Callable[[Path], object]], ...] = (
        ("json_cut_off", "start", "file_invalid", cut_off),
        ("json_list", "start", "file_invalid", lambda path: path.write_text("[1]")),
        ("json_empty", "start", "file_invalid", lambda path: path.write_text("")),
        ("json_deep", "start", "file_invalid", lambda path: path.write_text("[" * 100_000)),
        ("json_not_utf8", "start", "file_invalid", lambda path: path.write_bytes(b'{"a": "\xff"}')),
    )
    return [
        *(
            Case(name, hazard, form, rule, partial(_changed, form=form, change=change))
            for name, hazard, rule, change in changes
            if not (form == "cityscapes" and rule in _PAINTED)
        ),
        *(
            Case(name, hazard, form, rule, partial(_damaged, form=form, damage=damage))
            for name, hazard, rule, damage in damages
        ),
    ]


def _other_height(root: Path, form: str, named: str) -> Place:
    """The stated size is not that of the pixels, of which the file is named."""
    spec = _changed(root, form, _size(63)).spec
    return Place(spec, first_file(spec, "annotations", named))


def cases() -> list[Case]:
    """All of this file."""
    pixels = {"labelme": "*.png", "cityscapes": "*_labelIds.png"}
    return [
        *(case for form in KEYS for case in _both(form)),
        *(
            Case(
                *("height_other", "late", form, "size_mismatch"),
                partial(_other_height, form=form, named=named),
            )
            for form, named in pixels.items()
        ),
    ]
