"""Bad objects in COCO files: one field of one annotation is damaged.

Images are 64 x 64; the first object is a square in the cell of a 2 x 2 grid.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from corpus.case import ANY, Case, Id
from corpus.coco_edits import Entry, damaged
from project.data.masks import encode_mask

NAN, INF = float("nan"), float("inf")
REMOVED = object()
Change = Callable[[Entry], Any]  # an annotation -> the new value of one of its fields


def _rle(counts: Any, size: tuple[Any, Any] = (64, 64)) -> Entry:
    return {"size": list(size), "counts": counts}


def _shifted(dx: float, dy: float) -> Change:
    """All points of the polygons moved, and the box left where it was."""
    return lambda a: [
        np.add(np.reshape(p, (-1, 2)), (dx, dy)).ravel().tolist() for p in _outline(a)
    ]


def _outline(annotation: Entry) -> list[list[float]]:
    return annotation["segmentation"]


def _mirrored(annotation: Entry) -> Entry:
    return encode_mask(mask_util.decode(annotation["segmentation"])[:, ::-1])


def _moved_box(dx: float, dy: float) -> Change:
    return lambda a: [a["bbox"][0] + dx, a["bbox"][1] + dy, *a["bbox"][2:]]


def _negative_width(annotation: Entry) -> list[float]:
    x, y, w, h = annotation["bbox"]
    return [x + w, y, -w, h]


# name, hazard, rule, field, new value or `Change`
FIELDS: tuple[tuple[str, str, str, str, Any], ...] = (
    ("rle_short", "S1", "rle_damaged", "segmentation", _rle([100, 28, 50])),
    ("rle_no_runs", "S1", "rle_damaged", "segmentation", _rle([])),
    ("rle_long", "late", "rle_damaged", "segmentation", _rle([4000, 97])),
    ("rle_negative", "start", "rle_damaged", "segmentation", _rle([4100, -8, 4])),
    ("rle_nan", "late", "rle_damaged", "segmentation", _rle([NAN, 4096])),
    ("rle_infinite", "late", "rle_damaged", "segmentation", _rle([INF, 4096])),
    ("rle_fractions", "late", "rle_damaged", "segmentation", _rle([2048.5, 2047.5])),
    ("rle_huge_runs", "late", "rle_damaged", "segmentation", _rle([2**62, 2**62, 2**62, 4096])),
    ("rle_beyond_64_bits", "late", "rle_damaged", "segmentation", _rle([10**30, 4096])),
    ("rle_nested", "late", "rle_damaged", "segmentation", _rle([[4096]])),
    ("rle_text_runs", "late", "rle_damaged", "segmentation", _rle(["4000", "96"])),
    ("rle_null_runs", "late", "rle_damaged", "segmentation", _rle(None)),
    ("rle_garbage", "late", "rle_damaged", "segmentation", _rle("o" * 400)),
    ("rle_garbage_bytes", "late", "rle_damaged", "segmentation", _rle("\x01\xff~{}")),
    ("rle_cut_off", "late", "rle_damaged", "segmentation", _rle("Pf1")),
    ("rle_not_ascii", "late", "rle_damaged", "segmentation", _rle("\u20ac\u20ac")),
    ("rle_other_size", "late", "rle_size", "segmentation", _rle([4032], (64, 63))),
    ("rle_giant_size", "late", "rle_size", "segmentation", _rle([10**12], (10**6, 10**6))),
    ("rle_nan_size", "late", "rle_size", "segmentation", _rle([4096], (NAN, 64))),
    ("rle_empty", "late", "mask_empty", "segmentation", _rle([4096])),
    ("polygon_nan", "late", "polygon_hostile", "segmentation", [[NAN, 2, 9, 2, 9, 9]]),
    ("polygon_infinite", "late", "polygon_hostile", "segmentation", [[INF, 2, 9, 2, 9, 9]]),
    ("polygon_1e9", "late", "polygon_hostile", "segmentation", [[1e9, 2, 9, 2, 9, 9]]),
    ("polygon_1e300", "late", "polygon_hostile", "segmentation", [[-1e300, 2, 9, 2, 9, 9]]),
    ("polygon_big_int", "late", "polygon_hostile", "segmentation", [[10**40, 2, 9, 2, 9, 9]]),
    ("polygon_outside", "S16", "polygon_outside", "segmentation", _shifted(200, 200)),
    ("polygon_elsewhere", "S16", "box_not_mask", "segmentation", _shifted(0, 20)),
    ("polygon_not_nested", "start", "segmentation_invalid", "segmentation", [2, 2, 9, 2, 9, 9]),
    ("polygon_odd", "late", "segmentation_invalid", "segmentation", [[2, 2, 9, 2, 9, 9, 2]]),
    (
        "polygon_text",
        "late",
        "segmentation_invalid",
        "segmentation",
        [["2", "2", "9", "2", "9", "9"]],
    ),
    ("polygon_points", "late", "segmentation_invalid", "segmentation", [[[2, 2], [9, 2], [9, 9]]]),
    ("polygon_null", "late", "segmentation_invalid", "segmentation", [[None, 2, 9, 2, 9, 9]]),
    ("segmentation_text", "late", "segmentation_invalid", "segmentation", "2,2,9,2,9,9"),
    ("segmentation_number", "late", "segmentation_invalid", "segmentation", 7),
    # How panoptic records point to a file, which a COCO file has no business with.
    (
        "segmentation_png",
        "late",
        "segmentation_invalid",
        "segmentation",
        {"size": [64, 64], "png": "/etc/hostname", "id": 0},
    ),
    ("segmentation_no_keys", "late", "segmentation_invalid", "segmentation", {"a": 1}),
    ("segmentation_absent", "late", "segmentation_missing", "segmentation", REMOVED),
    ("segmentation_null", "late", "segmentation_missing", "segmentation", None),
    ("segmentation_empty", "late", "segmentation_missing", "segmentation", []),
    ("box_negative", "S15", "box_invalid", "bbox", _negative_width),
    ("box_flat", "S15", "box_invalid", "bbox", [5.0, 5.0, 0.0, 9.0]),
    ("box_nan", "S15", "box_invalid", "bbox", [NAN, 5.0, 9.0, 9.0]),
    ("box_infinite", "S15", "box_invalid", "bbox", [5.0, 5.0, INF, 9.0]),
    ("box_beyond_floats", "S15", "box_invalid", "bbox", [10**400, 5, 9, 9]),
    ("box_three_numbers", "late", "box_invalid", "bbox", [5.0, 5.0, 9.0]),
    ("box_text", "late", "box_invalid", "bbox", ["5", "5", "9", "9"]),
    ("box_bool", "late", "box_invalid", "bbox", [True, True, 9, 9]),
    ("box_object", "late", "box_invalid", "bbox", {"x": 5}),
    ("box_null", "late", "box_invalid", "bbox", None),
    ("box_outside", "S15", "box_outside", "bbox", _moved_box(500, 0)),
    ("box_elsewhere", "S15", "box_not_mask", "bbox", _moved_box(0, 9)),
    ("area_nan", "late", "area_invalid", "area", NAN),
    ("area_negative", "late", "area_invalid", "area", -4),
    ("area_text", "late", "area_invalid", "area", "400"),
    ("area_beyond_floats", "late", "area_invalid", "area", 10**400),
    ("area_wrong", "late", "area_not_mask", "area", lambda a: 3 * a["area"]),
    ("class_unknown", "start", "class_unknown", "category_id", 99),
    ("class_negative", "start", "class_unknown", "category_id", -1),
    ("class_text", "start", "class_unknown", "category_id", "3"),
    ("class_fraction", "S21", "class_unknown", "category_id", 3.0),
    ("class_bool", "S21", "class_unknown", "category_id", True),
    ("class_absent", "late", "class_unknown", "category_id", REMOVED),
    ("class_list", "late", "class_unknown", "category_id", [3]),
    ("owner_unknown", "S18", "image_unknown", "image_id", 99),
    ("owner_absent", "late", "image_unknown", "image_id", REMOVED),
    ("owner_text", "start", "image_unknown", "image_id", "10"),
    ("owner_list", "late", "image_unknown", "image_id", [10]),
)


def _set(field: str, value: Any, index: int = 0) -> Callable[[Entry], Id]:
    """A change of a file: one field of one annotation."""

    def change(content: Entry) -> Id:
        entry = content["annotations"][index]
        if value is REMOVED:
            del entry[field]
        else:
            entry[field] = value(entry) if callable(value) else value
        return entry["id"]

    return change


def _corners(content: Entry) -> str:
    """All boxes as two corners, as other formats have them."""
    for entry in content["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x, y, x + w, y + h]
    return ANY


def _fractions(content: Entry) -> Id:
    """A polygon whose coordinates are shares of the image's sides."""
    entry = content["annotations"][0]
    entry["segmentation"] = [(np.array(p) / 64).tolist() for p in entry["segmentation"]]
    return entry["id"]


def _bow_tie(content: Entry) -> Id:
    """The last two corners of a square change places."""
    entry = content["annotations"][0]
    points = entry["segmentation"][0]
    entry["segmentation"] = [[*points[:4], *points[6:], *points[4:6]]]
    return entry["id"]


def _whole_image(content: Entry) -> Id:
    """A mask of every pixel, with its true box and area."""
    entry = content["annotations"][0]
    entry |= {"segmentation": _rle([0, 4096]), "bbox": [0, 0, 64, 64], "area": 4096}
    return entry["id"]


def _half_outside(content: Entry) -> Id:
    """Polygon and box reach far below the image."""
    entry = content["annotations"][0]
    x, y, w, _ = entry["bbox"]
    entry["segmentation"] = [[x, y, x + w, y, x + w, y + 300, x, y + 300]]
    entry["bbox"] = [x, y, w, 300.0]
    return entry["id"]


def _without(key: str) -> Callable[[Entry], None]:
    """A field that can be measured is missing, which is told once for the file."""
    return lambda content: content["annotations"][0].pop(key) and None


def _id_twice(content: Entry) -> Id:
    first, second = content["annotations"][:2]
    second["id"] = first["id"]
    return first["id"]


def _copied(content: Entry) -> Id:
    """The same object again, under another id."""
    content["annotations"].append({**content["annotations"][0], "id": 999})
    return 999


def _only_boxes(content: Entry) -> Id:
    """Of objects that have boxes and nothing else, one is outside of its image."""
    for entry in content["annotations"]:
        del entry["segmentation"]
    content["annotations"][0]["bbox"][1] = 70.0
    return content["annotations"][0]["id"]


def cases() -> list[Case]:
    """All of this file."""
    second = _set("segmentation", REMOVED, index=1)
    tables: tuple[tuple[str, str, str, Callable[[Entry], Id | None]], ...] = (
        *((name, hazard, rule, _set(field, value)) for name, hazard, rule, field, value in FIELDS),
        ("second_segmentation_absent", "late", "segmentation_missing", second),
        ("boxes_as_corners", "S15", "box_xyxy", _corners),
        ("polygon_fractions", "S16", "polygon_normalised", _fractions),
        ("polygon_overhang", "S16", "polygon_overhang", _half_outside),
        ("box_absent", "late", "field_missing", _without("bbox")),
        ("area_absent", "late", "field_missing", _without("area")),
        ("polygon_bow_tie", "S16", "polygon_crossing", _bow_tie),
        ("mask_whole_image", "S22", "mask_whole_image", _whole_image),
        ("annotation_id_twice", "start", "annotation_id_duplicate", _id_twice),
        ("annotation_copied", "S18", "annotation_copied", _copied),
        ("box_only_outside", "S15", "box_outside", _only_boxes),
    )
    flat = _set("segmentation", [[2, 2, 9, 9]])
    return [
        *(
            Case(name, hazard, "coco", rule, damaged(change))
            for name, hazard, rule, change in tables
        ),
        Case("polygon_flat", "late", "coco", "polygon_flat", damaged(flat, split="val")),
        Case(
            "rle_mirrored",
            "S22",
            "coco",
            "box_not_mask",
            damaged(_set("segmentation", _mirrored), segmentation="rle"),
        ),
    ]
