"""Panoptic maps against the lists of their segments."""

from collections.abc import Iterable

from project.data.dataset import DatasetInfo
from project.data.images import check_size
from project.data.label_values import count_values
from project.data.panoptic_png import read_segment_ids
from project.data.problems import Problems
from project.data.records import Record
from project.data.segment_maps import unlisted_segments
from project.errors import DatasetError


def check_segments(info: DatasetInfo, records: Iterable[Record], problems: Problems) -> None:
    """Checks that every panoptic map and its list name the same segments; decodes every map.

    Args:
        info: of the split.
        records: of the split; those without a panoptic map are passed over.
        problems: takes what is wrong.
    """
    with problems.in_split(info.split):
        for record in records:
            if "pan_seg_file_name" in record:
                _check(info, record, problems)


def _check(info: DatasetInfo, record: Record, problems: Problems) -> None:
    path = record["pan_seg_file_name"]
    try:
        size = (record["height"], record["width"])
        ids = read_segment_ids(path, info.spec.max_pixels)
        check_size(ids.shape[:2], path, size, info.truth_file(record))
    except DatasetError as error:
        problems.keep_error(error, "image_unreadable", path)
        return
    counts = count_values(ids)
    stray = unlisted_segments(record, counts)
    if stray:
        problems.keep_error(stray.error(), stray.rule, path)
    for segment in record["segments_info"]:
        if segment["id"] in counts:
            continue
        problems.add(
            "segments_mismatch",
            path,
            f"no pixel of it is in the map, though {info.truth_file(record).name} lists it",
            "at least one pixel of each listed segment",
            "draw it, or take it out of `segments_info`",
            annotation=segment["id"],
            image=record["image_id"],
        )
