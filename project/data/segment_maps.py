"""The truth of an image whose every pixel is of one segment: panoptic PNG and list, made one.

H x W pixels, S segments.
"""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from project.data.categories import IGNORE_LABEL, Categories
from project.data.images import check_size
from project.data.label_values import count_values, shares_text
from project.data.panoptic_png import VOID, read_segment_ids
from project.data.problems import Problem
from project.data.records import Record, SegmentInfo
from project.data.spec import DEFAULT_MAX_PIXELS


class Segment(TypedDict):
    """One segment of a panoptic map.

    Keys:
        id: its number in the map, 1 or more.
        semantic_id: its class.
        isthing: whether its class is countable.
        iscrowd: 1 for a region of many objects.
        area: its visible pixels.
    """

    id: int
    semantic_id: int
    isthing: bool
    iscrowd: int
    area: int


def semantic_from_segments(record: Record) -> np.ndarray:
    """The class of every pixel; void, crowds and what is not chosen are ignored.

    Returns:
        (H, W) uint8 semantic ids, `IGNORE_LABEL` where to ignore.

    Raises:
        DatasetError: the PNG is missing, damaged, no RGB image or of another size than the image,
            or it holds segments that its list does not.
    """
    _, which, infos = _read(record)
    classes = [IGNORE_LABEL if info["iscrowd"] else info["semantic_id"] for info in infos]
    return np.array([IGNORE_LABEL, *classes], dtype=np.uint8)[which]


def panoptic_segments(record: Record, categories: Categories) -> tuple[np.ndarray, list[Segment]]:
    """The segments, with crowds among them; what is not chosen is void.

    Returns:
        ids: (H, W) int32 segment ids, 0 for void.
        segments: those with visible pixels.

    Raises:
        DatasetError: see `semantic_from_segments`.
    """
    ids, which, infos = _read(record)
    areas = np.bincount(which.ravel(), minlength=len(infos) + 1).tolist()[1:]
    chosen = [info["semantic_id"] != IGNORE_LABEL for info in infos]
    segments = [
        Segment(
            id=info["id"],
            semantic_id=info["semantic_id"],
            isthing=categories.is_thing(info["semantic_id"]),
            iscrowd=info["iscrowd"],
            area=area,
        )
        for info, area, taken in zip(infos, areas, chosen)
        if taken and area
    ]
    return np.where(np.array([False, *chosen])[which], ids, np.int32(VOID)), segments


def unlisted_segments(record: Record, counts: Mapping[int, int]) -> Problem | None:
    """What to say of segments that a PNG holds and its list does not; None where there are none.

    Args:
        record: of the image.
        counts: segment id -> pixels in the PNG.
    """
    listed = {info["id"] for info in record["segments_info"]} | {VOID}
    stray = {number: pixels for number, pixels in counts.items() if number not in listed}
    if not stray:
        return None
    total = sum(counts.values())
    return Problem(
        *("segments_mismatch", None, record["pan_seg_file_name"], None),
        found=f"{sum(stray.values()) / total:.1%} of its pixels have segment ids that its list"
        f" lacks: {shares_text(stray, total, colours=False)}",
        expected=f"the ids of its {len(listed) - 1} segments (R + 256 G + 65536 B), or 0 for void",
        repair="list them in `segments_info`, or make the pixels 0",
        image=record["image_id"],
    )


def _read(record: Record) -> tuple[np.ndarray, np.ndarray, list[SegmentInfo]]:
    """(H, W) ids, (H, W) number in the list of each pixel's segment (0 for void), the list (S)."""
    path = record["pan_seg_file_name"]
    height, width = record["height"], record["width"]
    # A map is as large as its image, whose size has been checked.
    ids = read_segment_ids(path, max(DEFAULT_MAX_PIXELS, height * width))
    check_size(ids.shape[:2], path, (height, width), record["file_name"])
    infos = sorted(record["segments_info"], key=lambda info: info["id"])
    known = np.array([VOID, *(info["id"] for info in infos)])
    which = np.searchsorted(known, ids).clip(max=len(infos))
    if not np.array_equal(known[which], ids):
        problem = unlisted_segments(record, count_values(ids))
        assert problem is not None, path
        raise problem.error()
    return ids, which, infos
