"""Reads a COCO results json (https://cocodataset.org/#format-results)."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from project.data.files import some_of
from project.data.masks import to_rle
from project.data.records import Record
from project.data.register import DatasetInfo
from project.errors import DatasetError, PredictionsError
from project.evaluation.base import ImageId
from project.evaluation.detections import ImageDetections


def image_detections(
    entries: Sequence[Any],
    records: Mapping[ImageId, Record],
    info: DatasetInfo,
    path: Path,
) -> tuple[dict[ImageId, ImageDetections], bool]:
    """Sorts the entries of a results file by image; masks are checked, boxes made from them.

    Args:
        entries: of the file.
        records: of the data set, by image id.
        info: of the data set.
        path: of the file, for messages.

    Returns:
        Detections by image id, and whether they have boxes of their own.

    Raises:
        PredictionsError: an entry is incomplete or wrong, or only some have boxes or masks.
    """
    for number, entry in enumerate(entries, start=1):
        _check_entry(entry, f"{path}: prediction {number}")
    _check_known("image_id", entries, records, info, path)
    _check_known("category_id", entries, info.categories.dataset_to_thing, info, path)
    has = {key: _all_or_none(entries, key, path) for key in ("bbox", "segmentation")}
    if entries and not any(has.values()):
        raise PredictionsError(f"{path}: the predictions have neither bbox nor segmentation")
    of_image: dict[ImageId, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for number, entry in enumerate(entries, start=1):
        of_image[entry["image_id"]].append((number, entry))
    found = {
        image_id: _detections(numbered, records[image_id], info, path, has)
        for image_id, numbered in of_image.items()
    }
    return found, has["bbox"] or not entries


def _detections(
    numbered: Sequence[tuple[int, dict[str, Any]]],
    record: Record,
    info: DatasetInfo,
    path: Path,
    has: Mapping[str, bool],
) -> ImageDetections:
    height, width = record["height"], record["width"]
    rles = []
    for number, entry in numbered if has["segmentation"] else ():
        try:
            rles.append(to_rle(entry["segmentation"], height, width))
        except DatasetError as error:
            raise PredictionsError(f"{path}: prediction {number}: {error}") from error
    entries = [entry for _, entry in numbered]
    boxes = [e["bbox"] for e in entries] if has["bbox"] else mask_util.toBbox(rles)
    thing_ids = info.categories.dataset_to_thing
    return ImageDetections(
        size=(height, width),
        boxes=np.array(boxes, dtype=np.float64),
        scores=np.array([e["score"] for e in entries], dtype=np.float64),
        classes=np.array([thing_ids[e["category_id"]] for e in entries]),
        masks=[rle["counts"] for rle in rles] if has["segmentation"] else None,
    )


def _check_entry(entry: Any, where: str) -> None:
    keys = entry.keys() if isinstance(entry, dict) else set()
    lacking = {"image_id", "category_id", "score"} - keys
    if lacking:
        raise PredictionsError(
            f"{where} lacks {', '.join(sorted(lacking))}; expected"
            " {image_id, category_id, score, bbox and/or segmentation}"
        )
    if not _is_number(entry["score"]):
        raise PredictionsError(f"{where}: score must be a number, found {entry['score']!r}")
    box = entry.get("bbox", [0, 0, 0, 0])
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(map(_is_number, box))
        or min(box[2:]) < 0
    ):
        raise PredictionsError(
            f"{where}: bbox must be [x, y, width, height] in pixels, found {box!r}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_known(
    key: str,
    entries: Sequence[dict[str, Any]],
    known: Mapping[Any, Any],
    info: DatasetInfo,
    path: Path,
) -> None:
    unknown = [e[key] for e in entries if type(e[key]) not in (int, str) or e[key] not in known]
    if unknown:
        first = list(dict.fromkeys(map(repr, unknown)))
        raise PredictionsError(
            f"{path}: the {key} of {len(unknown)} of {len(entries)} predictions is unknown to"
            f" {info.name}: {some_of(first)}; it has {some_of([repr(k) for k in known], 10)}."
            " tools/predict.py with --dataset and --split predicts the images of one split, with"
            " their ids"
        )


def _all_or_none(entries: Sequence[dict[str, Any]], key: str, path: Path) -> bool:
    count = sum(key in entry for entry in entries)
    if count not in (0, len(entries)):
        raise PredictionsError(
            f"{path}: {count} of {len(entries)} predictions have a {key}; give it to all or to none"
        )
    return bool(entries) and count == len(entries)
