"""What is done about each rule."""

import pycocotools.mask as mask_util

from project.data.masks import decode_mask, measure_mask
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


def _keep_white(record: Record | None, problem: Problem, draft: Draft) -> str | None:
    """A map of 0 and 255 is clear where there are two classes; else its image is left out."""
    if problem.split is None or record is None:
        return None
    if len(draft.infos[problem.split].categories.semantic) == 2:
        return "255 written as the second class"
    draft.drop_image(problem.split, record)
    return "image left out"
