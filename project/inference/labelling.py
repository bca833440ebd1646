"""Boxes and points of a data set become masks: what Segment Anything answers, as a new data set."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from detectron2.structures import BoxMode
from tqdm import tqdm

from project.data.dataset import DatasetInfo
from project.data.depth import picture
from project.data.labels import encode_mask
from project.data.masks import measure_mask
from project.data.pixels import errors_of_sample, read_pixels
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.data.writers import WRITERS, ImageMode
from project.errors import ConfigError, DatasetError, PredictionsError
from project.evaluation.detections import ImageDetections, from_instances
from project.evaluation.instance_files import image_detections
from project.evaluation.prediction_files import read_json
from project.inference.predictor import Predictor
from project.inference.sam import clean_mask

Prompt = Literal["box", "point", "both"]
# (H, W, 3) RGB, boxes and points as `project.inference.sam.Sam` takes them -> masks and scores.
Segmenter = Callable[..., tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Labelling:
    """How prompts become masks.

    Attributes:
        prompt: "box"; "point": the visible `keypoints` of an object, or else its box's centre; or
            "both".
        hole_area: holes of fewer pixels are filled.
        island_area: parts of fewer pixels are taken away, but never the largest.
    """

    prompt: Prompt = "box"
    hole_area: int = 0
    island_area: int = 0


@dataclass
class Counts:
    """What became of the prompts.

    Attributes:
        masks: objects with a mask.
        empty: objects for which nothing was found; they are left out.
        scores: expected IoU of each mask.
    """

    masks: int
    empty: int
    scores: list[float]


def label_records(
    records: Sequence[Record], info: DatasetInfo, segment: Segmenter, how: Labelling
) -> tuple[list[Record], Counts]:
    """Gives every object a mask; crowds stay as they are.

    Args:
        records: of the data set; not changed.
        info: of the data set.
        segment: answers prompts.
        how: what is asked.

    Returns:
        The records with new `segmentation`, `bbox`, `area` and `mask_score`, without the objects of
        which no pixel was found; and their counts.
    """
    counts = Counts(0, 0, [])
    labelled = []
    for record in tqdm(records, "images", unit="image", disable=None):
        annotations = record.get("annotations", [])
        prompted = [a for a in annotations if not a["iscrowd"]]
        with errors_of_sample(record):
            answers = _answers(record, info, prompted, segment, how)
            new = [_with_mask(a, mask, score) for a, (mask, score) in zip(prompted, answers)]
        found = [annotation for annotation in new if annotation is not None]
        counts.masks += len(found)
        counts.empty += len(new) - len(found)
        counts.scores += [annotation["mask_score"] for annotation in found]
        crowds = [a for a in annotations if a["iscrowd"] and "segmentation" in a]
        labelled.append(Record(**{**record, "annotations": [*found, *crowds]}))
    return labelled, counts


def _answers(
    record: Record,
    info: DatasetInfo,
    annotations: Sequence[Annotation],
    segment: Segmenter,
    how: Labelling,
) -> Iterator[tuple[np.ndarray, float]]:
    """An (H, W) bool mask and its score for each annotation of an image."""
    if not annotations:
        return iter(())
    image = picture(read_pixels(record, info, "RGB", channels=3), "RGB")
    prompts: dict[str, Any] = {}
    if how.prompt != "point":
        prompts["boxes"] = np.array([_corners(a) for a in annotations])
    if how.prompt != "box":
        prompts["points"] = [_points(a) for a in annotations]
    masks, scores = segment(image, **prompts)
    cleaned = (
        clean_mask(mask, hole_area=how.hole_area, island_area=how.island_area) for mask in masks
    )
    return zip(cleaned, scores.tolist())


def _corners(annotation: Annotation) -> list[float]:
    """XYXY."""
    return BoxMode.convert(annotation["bbox"], BoxMode(annotation["bbox_mode"]), BoxMode.XYXY_ABS)


def _points(annotation: Annotation) -> np.ndarray:
    """(P, 2) x and y."""
    keypoints = np.array(annotation.get("keypoints", []), dtype=np.float64).reshape(-1, 3)
    visible = keypoints[keypoints[:, 2] > 0, :2]
    if len(visible):
        return visible
    left, top, right, bottom = _corners(annotation)
    return np.array([[(left + right) / 2, (top + bottom) / 2]])


def _with_mask(annotation: Annotation, mask: np.ndarray, score: float) -> Annotation | None:
    if not mask.any():
        return None
    box, area = measure_mask(mask)
    changes: dict[str, Any] = {
        "segmentation": encode_mask(mask),
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "area": area,
        "mask_score": score,
    }
    return cast(Annotation, {**annotation, **changes})


def read_detections(
    path: Path, info: DatasetInfo, records: Sequence[Record]
) -> list[ImageDetections | None]:
    """The boxes of a COCO results file, by record.

    Raises:
        PredictionsError: it cannot be read, or is not of this data set.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise PredictionsError(
            f"{path}: expected a COCO results json, a list of entries with image_id, category_id,"
            " score and bbox"
        )
    by_id = {record["image_id"]: record for record in records}
    found, _ = image_detections(entries, by_id, info, path)
    return [found.get(record["image_id"]) for record in records]


def detect(predictor: Predictor, records: Sequence[Record]) -> list[ImageDetections | None]:
    """What a trained model finds in each image.

    Raises:
        ConfigError: the model finds no objects.
    """
    found: list[ImageDetections | None] = []
    for record in tqdm(records, "detecting", unit="image", disable=None):
        image = predictor.read(record["file_name"], record)
        output = predictor(image, "RGB")
        if "instances" not in output:
            raise ConfigError(
                "the model of --config-file finds no objects: it labels pixels alone; name one of"
                " instances"
            )
        found.append(from_instances(output["instances"]))
    return found


def predicted_records(
    records: Iterable[Record], found: Iterable[ImageDetections | None], confidence: float
) -> list[Record]:
    """The records with what a detector found in place of their annotations.

    Args:
        records: of the data set.
        found: for each record its detections; None for none.
        confidence: those with a lower score are left out.
    """
    predicted = []
    next_id = 1
    for record, detections in zip(records, found, strict=True):
        annotations = []
        for box, score, thing in _confident(detections, confidence):
            annotation = Annotation(
                id=next_id,
                bbox=box,
                bbox_mode=BoxMode.XYWH_ABS,
                category_id=thing,
                iscrowd=0,
                score=score,
            )
            annotations.append(annotation)
            next_id += 1
        predicted.append(Record(**{**record, "annotations": annotations}))
    return predicted


def _confident(
    detections: ImageDetections | None, confidence: float
) -> list[tuple[list[float], float, int]]:
    """Boxes, scores and thing ids; boxes of no size aside."""
    if detections is None:
        return []
    rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist())
    return [row for row in rows if row[1] >= confidence and min(row[0][2:]) > 0]


def coco_predictions(records: Sequence[Record], info: DatasetInfo) -> list[dict[str, Any]]:
    """Labelled predictions as entries of a COCO results file, with the detector's scores."""
    numbers = info.categories.thing_dataset_ids
    return [
        {
            "image_id": record["image_id"],
            "category_id": numbers[annotation["category_id"]],
            "bbox": annotation["bbox"],
            "score": annotation["score"],
            "mask_score": annotation["mask_score"],
            "segmentation": annotation["segmentation"],
        }
        for record in records
        for annotation in record["annotations"]
    ]


def write_predictions(folder: Path, entries: list[dict[str, Any]]) -> Path:
    """Writes the entries of a COCO results file."""
    path = folder / "predictions.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def check_images(records: Sequence[Record], info: DatasetInfo) -> None:
    """Looks whether the images are there, before a model is read.

    Raises:
        DatasetError: some are not.
    """
    missing = [r["file_name"] for r in records if not Path(r["file_name"]).is_file()]
    if missing:
        raise DatasetError(
            f"{info.name}: {len(missing)} of {len(records)} images do not exist, e.g. {missing[0]};"
            " mend `images:` in the specification"
        )


def check_prompts(records: Sequence[Record], info: DatasetInfo) -> None:
    """Looks whether there is something to label, before a model is read.

    Raises:
        DatasetError: there are no objects.
    """
    if not any(not a["iscrowd"] for r in records for a in r.get("annotations", [])):
        raise DatasetError(
            f"{info.name}: it has no object to make a mask of; draw boxes, or give the boxes of a"
            " detector (--predictions, or --config-file and --weights), with a lower --confidence"
            " where it found none"
        )


def write_labelled(
    records: Sequence[Record], info: DatasetInfo, out: Path, name: str, images: ImageMode
) -> tuple[Path, Problems]:
    """Writes the records as a COCO data set of one split.

    Returns:
        Its specification, and what could not be written.
    """
    problems = Problems()
    path = WRITERS["coco"]({info.split: (info, list(records))}, out, name, images, problems)
    return path, problems
