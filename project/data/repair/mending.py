"""What is done about each rule."""

import pycocotools.mask as mask_util

from project.data.images import orientation
from project.data.labels import has_label_map
from project.data.masks import decode_mask, measure_mask
from project.data.orientation import UPRIGHT
from project.data.problems import Problem
from project.data.records import Record
from project.data.repair.draft import Draft

# An object that these are said of is left out.
_OBJECT_OUT = frozenset(
    (
        *("rle_damaged", "rle_size", "polygon_hostile", "polygon_normalised", "polygon_outside"),
        *("segmentation_invalid", "segmentation_missing", "box_invalid", "box_outside"),
        *("mask_empty", "area_invalid", "crowd_invalid", "object_class", "class_unknown"),
        *("annotation_id_duplicate", "annotation_copied", "image_unknown", "file_invalid"),
    )
)
# An image is left out of which, or of whose label map, these are said.
_IMAGE_OUT = frozenset(
    (
        *("image_missing", "image_unreadable", "image_too_large", "image_frames", "image_depth"),
        *("image_channels", "image_size_invalid", "image_shape", "size_mismatch", "size_turned"),
        *("image_id_duplicate", "image_listed_twice", "image_copied", "unpaired", "file_invalid"),
        *("label_colours", "label_lossy", "label_kind", "segments_mismatch", "name_clash"),
    )
)
_WRITTEN_ANEW = {
    "area_not_mask": "area measured from the mask",
    "polygon_flat": "polygons without an area left out",
    "field_missing": "fields measured from the masks",
    "class_order": "classes numbered in all splits as in the first",
}
_MEASURED = {
    "box_invalid": "box measured from the mask",
    "area_invalid": "area measured from the mask",
}
# What may be found only because height and width of an image are exchanged.
_BY_SIZE = frozenset(("polygon_outside", "box_outside", "mask_empty"))
_SAME_OBJECT = 0.5  # intersection over union of a box and its mask's box


def mend(problem: Problem, draft: Draft) -> str | None:
    """Does what a problem asks for.

    Returns:
        What was done, or will be when the draft is written; None where a person must decide.
    """
    rule, record = problem.rule, draft.image(problem)
    if rule in _WRITTEN_ANEW:
        return _WRITTEN_ANEW[rule]
    if rule == "label_unexplained":
        return _ignore_pixels(record, problem, draft)
    if rule == "box_xyxy":
        return _make_size(record, problem)
    if rule == "box_not_mask" and record is not None:
        return _measure(record, problem, draft)
    if rule in _MEASURED and _has_mask(record, problem):
        return _MEASURED[rule]
    if rule == "size_turned" and record is not None and _take_own_size(record, problem, draft):
        return "height and width exchanged, as the image has them"
    if rule in _BY_SIZE and record is not None and draft.was_turned(record):
        return "nothing, as the image's own size mends it"
    if rule == "label_two_values":
        return _keep_white(record, problem, draft)
    if rule in _OBJECT_OUT and problem.annotation is not None:
        draft.drop_object(problem)
        return "object left out"
    if rule in _IMAGE_OUT and record is not None:
        assert problem.split is not None
        draft.drop_image(problem.split, record)
        return "image left out"
    # What is not in the draft though its split was read, the reader has left out already. A folder
    # without images is another matter.
    if rule in _IMAGE_OUT and rule != "image_missing" and problem.split in draft.infos:
        return "entry left out" if rule == "file_invalid" else "image left out"
    return None


def _ignore_pixels(record: Record | None, problem: Problem, draft: Draft) -> str:
    """Readers leave an image out whose objects are regions of a label map that has no meaning."""
    where = {info.spec.where for info in draft.infos.values()}
    if record is None and problem.file not in where:
        return "image left out"
    return "pixels that no class explains written as pixels to ignore"


def _make_size(record: Record | None, problem: Problem) -> str:
    """Makes a size of the second corner of an object that has a box only."""
    for annotation in record.get("annotations", []) if record else ():
        if annotation.get("id") == problem.annotation and "segmentation" not in annotation:
            left, top, right, bottom = annotation["bbox"]
            annotation["bbox"] = [left, top, right - left, bottom - top]
            annotation["area"] = (right - left) * (bottom - top)
            return "second corner of the box made a size"
    return "box measured from the mask"


def _measure(record: Record, problem: Problem, draft: Draft) -> str:
    """Keeps an object whose box is nearly its mask's; else nobody knows which of the two is it."""
    for annotation in record.get("annotations", []):
        if annotation.get("id") == problem.annotation and "segmentation" in annotation:
            mask = decode_mask(annotation["segmentation"], record["height"], record["width"])
            overlap = mask_util.iou([annotation["bbox"]], [measure_mask(mask)[0]], [0])
            if overlap[0, 0] < _SAME_OBJECT:
                draft.drop_object(problem)
                return "object left out, whose box and mask are in different places"
    return "box measured from the mask"


def _has_mask(record: Record | None, problem: Problem) -> bool:
    """Whether the object that a problem concerns was read, and has a mask."""
    return any(
        annotation["id"] == problem.annotation and "segmentation" in annotation
        for annotation in (record or {}).get("annotations", [])
    )


def _take_own_size(record: Record, problem: Problem, draft: Draft) -> bool:
    """Exchanges height and width where EXIF has no part in it and all outlines fit then.

    Returns:
        Whether that was so.
    """
    if has_label_map(record) or not record.get("annotations"):
        return False
    height, width = record["width"], record["height"]
    limit = draft.infos[str(problem.split)].spec.max_pixels
    if orientation(record["file_name"], limit) != UPRIGHT:
        return False
    for annotation in record["annotations"]:
        polygons = annotation.get("segmentation", [])
        if not isinstance(polygons, list):
            return False
        left, top, across, down = annotation["bbox"]
        xs = [left, left + across, *(x for polygon in polygons for x in polygon[0::2])]
        ys = [top, top + down, *(y for polygon in polygons for y in polygon[1::2])]
        if min(*xs, *ys) < 0 or max(xs) > width or max(ys) > height:
            return False
    draft.turn(record)
    return True


def _keep_white(record: Record | None, problem: Problem, draft: Draft) -> str | None:
    """A map of 0 and 255 is clear where there are two classes; else its image is left out."""
    if problem.split is None or record is None:
        return None
    if len(draft.infos[problem.split].categories.semantic) == 2:
        return "255 written as the second class"
    draft.drop_image(problem.split, record)
    return "image left out"
