"""One entry of the annotations of a COCO file: its mask, box, area and crowd mark, each checked."""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from detectron2.structures import BoxMode

from project.data.faults import Fault, short
from project.data.formats.coco_file import Entry
from project.data.masks import Segmentation, compress, decode_mask, measure_mask
from project.data.problems import Id
from project.data.records import Annotation
from project.data.rules import RULES

_MEASURED = {"box_invalid", "area_invalid"}  # what a mask tells as well
_LARGEST = 2.0**31  # pixels, of a box or an area; more is no measure of an image


def read_annotation(
    entry: Entry, own_id: Id, thing_id: int, size: tuple[int, int], missing: Counter[str]
) -> tuple[Annotation | None, list[Fault]]:
    """An entry as our own; what it lacks is measured from its mask.

    Args:
        entry: of the file.
        own_id: the id that it is to have.
        thing_id: its class.
        size: (height, width) of its image.
        missing: counts the fields that it lacks.

    Returns:
        The annotation, or None where it is to be left out; and all that is wrong with it. Where its
        mask is sound, wrong boxes and areas are measured.
    """
    given = {key: entry[key] for key in _READERS if key in entry}
    faults = _drop_flat_polygons(given)
    if given.get("segmentation") == [] and faults:
        return None, faults
    if given.get("segmentation", []) in ([], None):
        given.pop("segmentation", None)
    if "bbox" not in given and "segmentation" not in given:
        faults.append(_wrong_box("it has neither a segmentation nor a bbox"))
    fields: Entry = {"id": own_id, "category_id": thing_id, "bbox_mode": BoxMode.XYWH_ABS}
    if _are_keypoints(entry.get("keypoints")):
        fields["keypoints"] = entry["keypoints"]
    for key, value in given.items():
        try:
            fields[key] = _READERS[key](value, size)
        except Fault as fault:
            faults.append(fault)
    errors = {fault.rule for fault in faults if RULES[fault.rule].level == "error"}
    if errors and ("segmentation" not in fields or errors - _MEASURED):
        return None, faults
    missing.update(key for key in _READERS if key not in given and key != "segmentation")
    _complete(fields, size)
    return cast(Annotation, fields), faults


def _are_keypoints(value: Any) -> bool:
    """Whether these are points that can be shown to a model; nothing else is done with them."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and len(value) % 3 == 0
        and all(type(v) in (int, float) and abs(v) < _LARGEST for v in value)
    )


def _drop_flat_polygons(given: Entry) -> list[Fault]:
    """Takes polygons without an area, as drawing tools leave them behind, out of an entry."""
    polygons = given.get("segmentation")
    if not isinstance(polygons, list):
        return []
    given["segmentation"] = kept = [p for p in polygons if not _is_flat(p)]
    if len(kept) == len(polygons):
        return []
    return [
        Fault(
            "polygon_flat",
            f"{len(polygons) - len(kept)} of its {len(polygons)} polygons have fewer than three"
            " points, or all points on one line",
            "outlines with something inside",
            "take them out of the file; they are left out here",
        )
    ]


def _is_flat(polygon: Any) -> bool:
    if not isinstance(polygon, list) or len(polygon) % 2:
        return False
    if len(polygon) < 6:
        return True
    return any(
        type(line[0]) in (int, float)
        and abs(line[0]) < _LARGEST
        and line.count(line[0]) == len(line)
        for line in (polygon[0::2], polygon[1::2])
    )


def _complete(fields: Entry, size: tuple[int, int]) -> None:
    """Measures what is missing, in place."""
    fields.setdefault("iscrowd", 0)
    if "bbox" in fields and "area" in fields:
        return
    if "segmentation" in fields:
        box, area = measure_mask(decode_mask(fields["segmentation"], *size))
    else:
        box = fields["bbox"]
        area = box[2] * box[3]
    fields.setdefault("bbox", box)
    fields.setdefault("area", area)


def _segmentation(value: Any, size: tuple[int, int]) -> Segmentation:
    # A record may point to a segment of a PNG file, by a path that no file may choose.
    if isinstance(value, dict):
        if not {"size", "counts"} <= value.keys():
            raise Fault(
                "segmentation_invalid",
                f"its segmentation has the keys {short(list(value))}",
                "size and counts, or a list of polygons",
                "export the mask again, or take it out",
            )
        value = {"size": value["size"], "counts": value["counts"]}
    return compress(value, *size)


def _box(value: Any, size: tuple[int, int]) -> list[float]:
    """[x, y, width, height]."""
    del size
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(v) in (int, float) and abs(v) < _LARGEST for v in value)
        or min(value[2:]) <= 0
    ):
        raise _wrong_box(f"its bbox is {short(value)}")
    return [float(v) for v in value]


def _wrong_box(found: str) -> Fault:
    return Fault(
        "box_invalid",
        found,
        "[x, y, width, height] in pixels, with sizes above zero",
        "draw the box again, or take the annotation out",
    )


def _area(value: Any, size: tuple[int, int]) -> float:
    del size
    if type(value) not in (int, float) or not 0 <= value < _LARGEST:
        raise Fault(
            "area_invalid",
            f"its area is {short(value)}",
            "a number of pixels",
            "leave it out to have it measured from the mask",
        )
    return value


def _crowd(value: Any, size: tuple[int, int]) -> int:
    del size
    if type(value) not in (int, float, bool) or value not in (0, 1):
        raise Fault(
            "crowd_invalid",
            f"its iscrowd is {short(value)}",
            "0, or 1 for a region of many objects",
            "write one of the two",
        )
    return int(value)


_READERS: dict[str, Callable[[Any, tuple[int, int]], Any]] = {
    "segmentation": _segmentation,
    "bbox": _box,
    "area": _area,
    "iscrowd": _crowd,
}
