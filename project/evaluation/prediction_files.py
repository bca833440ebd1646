"""Scores files of predictions, made anywhere, with the evaluators that score models.

Forms (`--task` of tools/score.py):
    instances   a COCO results json: a list of {image_id, category_id, score, bbox, segmentation}
                with the data set's own category ids; bbox or segmentation may be absent.
    semantic    a folder of label maps, named after the images.
    panoptic    a COCO panoptic json beside a folder of PNG files, see `panoptic_files`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from project.data.categories import IGNORE_LABEL
from project.data.files import files_by_stem, some_of
from project.data.labels import LabelEncoding, read_label_map
from project.data.register import DatasetInfo
from project.data.roots import links_out
from project.errors import PredictionsError, nearest
from project.evaluation.base import ImageEvaluator
from project.evaluation.build import Evaluators, no_pixels, no_things, obstacle_to
from project.evaluation.coco_backend import DEFAULT_LIMIT, STREAMED
from project.evaluation.cross_tasks import (
    INSTANCES_OF_SEMANTICS,
    SEMANTICS_OF_INSTANCES,
    instances_of_semantics,
    semantics_of_instances,
)
from project.evaluation.detections import no_detections
from project.evaluation.f1 import CONFIDENT, MIN_IOU
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.instance_files import image_detections
from project.evaluation.panoptic import PanopticEvaluator
from project.evaluation.panoptic_files import read_panoptic, read_segment_ids
from project.evaluation.per_image import ImageStatistics
from project.evaluation.semantic import SemanticEvaluator


@dataclass(frozen=True)
class ScoreOptions:
    """How predictions are scored.

    Attributes:
        task: "instances", "semantic", "panoptic", or "auto": what the predictions look like.
        backend: who computes COCO's numbers.
        encoding: of label maps: "semantic" ids, or the values of the "dataset"'s own label files.
        boundary: also score the boundaries of masks.
        cross_tasks: also score instances as a label map, and a label map's regions as instances.
        rand_foreground: see `SemanticEvaluator`.
        confusion_iou: see `InstanceEvaluator`.
        confidence: from which score on a detection counts in the confusion matrix and is pasted.
    """

    task: str = "auto"
    backend: str = STREAMED
    encoding: str = "semantic"
    boundary: bool = False
    cross_tasks: bool = False
    rand_foreground: str = ""
    confusion_iou: float = MIN_IOU
    confidence: float = CONFIDENT


def score_predictions(
    dataset_name: str, path: Path, options: ScoreOptions | None = None
) -> dict[str, Any]:
    """Scores a file or folder of predictions.

    Args:
        dataset_name: a registered data set.
        path: of the predictions.
        options: how to score; as `ScoreOptions` has it where left out.

    Returns:
        {task: scores, ..., "notes": [...]} as of `Evaluators.evaluate`.

    Raises:
        ConfigError: an option does not fit the data set.
        PredictionsError: the predictions are missing, of no known form, incomplete or wrong.
    """
    scores, _ = score_with_statistics(dataset_name, path, options or ScoreOptions())
    return scores


def score_with_statistics(
    dataset_name: str, path: Path, options: ScoreOptions
) -> tuple[dict[str, Any], ImageStatistics]:
    """As `score_predictions`, with what is known of each image."""
    _check_exists(path)
    content = None if path.is_dir() else read_json(path)
    form = _form(path, content)
    if options.task not in ("auto", form):
        raise PredictionsError(
            f"{path}: these are {form} predictions, but --task says {options.task}"
        )
    evaluators, notes = _SCORERS[form](dataset_name, path, content, options)
    scores = evaluators.evaluate()
    scores["notes"] += notes
    return scores, evaluators.image_statistics()


def read_json(path: Path) -> Any:
    """The content of a file of predictions.

    Raises:
        PredictionsError: it is missing, or no JSON.
    """
    _check_exists(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PredictionsError(f"{path}: cannot be read as JSON ({error})") from error


def _check_exists(path: Path) -> None:
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise PredictionsError(f"{path}: no such file or folder.{nearest(path.name, beside)}")


def _form(path: Path, content: Any) -> str:
    """The task that the predictions are for."""
    if path.is_dir():
        return "semantic"
    if isinstance(content, list):
        return "instances"
    entries = content.get("annotations") if isinstance(content, dict) else None
    if isinstance(entries, list) and all(
        isinstance(entry, dict) and "segments_info" in entry for entry in entries
    ):
        return "panoptic"
    raise PredictionsError(
        f"{path}: not recognised: expected a COCO results json (a list), a COCO panoptic json (its"
        " `annotations` have `segments_info`), or a folder of label maps"
    )


def _score_instances(
    dataset_name: str, path: Path, content: list[Any], options: ScoreOptions
) -> tuple[Evaluators, list[str]]:
    evaluator = InstanceEvaluator(
        dataset_name,
        backend=options.backend,
        tasks=("bbox", "segm", "boundary") if options.boundary else ("bbox", "segm"),
        confusion_iou=options.confusion_iou,
        confusion_score=options.confidence,
    )
    found, has_boxes = image_detections(content, evaluator.records, evaluator.info, path)
    for image_id, detections in found.items():
        evaluator.add(image_id, detections, str(path))
    boxes_made = "bbox: the predictions have no boxes; those of their masks are scored"
    notes = [] if has_boxes else [boxes_made]
    if not options.cross_tasks:
        return Evaluators([evaluator]), notes
    boxes_only = any(detections.masks is None for detections in found.values())
    obstacle = obstacle_to(dataset_name, (no_things, no_pixels))
    if boxes_only or obstacle:
        why = obstacle or "the predictions have boxes only, no masks"
        return Evaluators([evaluator], {SEMANTICS_OF_INSTANCES: why}), notes
    pasted = semantics_of_instances(dataset_name, options.confidence)
    for image_id, record in pasted.records.items():
        # An image without an entry has no instance, which makes a label map too.
        nothing = no_detections((record["height"], record["width"]))
        pasted.add(image_id, found.get(image_id, nothing), str(path))
    return Evaluators([evaluator, pasted]), notes


def _score_semantic(
    dataset_name: str, path: Path, content: None, options: ScoreOptions
) -> tuple[Evaluators, list[str]]:
    evaluator = SemanticEvaluator(dataset_name, rand_foreground=options.rand_foreground)
    evaluators: list[ImageEvaluator] = [evaluator]
    impossible: dict[str, str] = {}
    if options.cross_tasks:
        obstacle = obstacle_to(dataset_name, (no_things,))
        if obstacle:
            impossible[INSTANCES_OF_SEMANTICS] = obstacle
        else:
            regions = instances_of_semantics(dataset_name, options.backend, DEFAULT_LIMIT)
            evaluators.append(regions)
    files = _files_of_images(evaluator, path)
    meaning = _encoding(evaluator.info, options.encoding)
    for image_id, file in tqdm(files.items(), "label maps", disable=None):
        labels = read_label_map(file, meaning)
        for each in evaluators:
            each.add(image_id, labels, str(file))
    return Evaluators(evaluators, impossible), []


def _files_of_images(evaluator: SemanticEvaluator, folder: Path) -> dict[int | str, Path]:
    """Image id -> label map of the same name but for the suffix, below `folder`."""
    outside = links_out([folder], [folder.resolve()])
    if outside:
        raise PredictionsError(
            f"{outside[0]}: it is a symbolic link to {outside[0].resolve()}, outside of {folder};"
            " copy the label maps into the folder"
        )
    files = files_by_stem(folder)
    matched: dict[int | str, Path] = {}
    missing: list[str] = []
    for image_id, record in evaluator.records.items():
        parts = Path(record["file_name"]).with_suffix("").parts
        # Images in subfolders: the longest path that there is a label map for.
        names = ["/".join(parts[start:]) for start in range(len(parts))]
        file = next((files[name] for name in names if name in files), None)
        if file is None:
            missing.append(f"{parts[-1]}.png")
        else:
            matched[image_id] = file
    if missing:
        raise PredictionsError(
            f"{folder}: {len(missing)} of {len(evaluator.records)} images of"
            f" {evaluator.info.name} have no label map: {some_of(missing)}; predict all images"
        )
    if len(set(matched.values())) < len(matched):
        raise PredictionsError(
            f"{folder}: several images of {evaluator.info.name} have one name; put the label maps"
            " into subfolders as the images are"
        )
    return matched


def _encoding(info: DatasetInfo, encoding: str) -> LabelEncoding:
    if encoding == "semantic":
        meaning = {i: i for i in range(len(info.categories.semantic))}
        own = info.encoding.meaning if info.encoding and not info.encoding.colours else {}
        # Where 255 is a class in the data set's own files, it is hardly "no class" in predictions.
        if own.get(IGNORE_LABEL, IGNORE_LABEL) == IGNORE_LABEL:
            meaning[IGNORE_LABEL] = IGNORE_LABEL
        return LabelEncoding(
            colours=False,
            meaning=meaning,
            names=info.categories.semantic,
            where=f"--encoding semantic (semantic ids of {info.name})",
        )
    if info.encoding is None:
        ids_and_names = [f"{i} {name}" for i, name in enumerate(info.categories.semantic)]
        raise PredictionsError(
            f"{info.name} has no label maps, so no encoding of them; leave out --encoding and write"
            f" semantic ids: {', '.join(ids_and_names)}"
        )
    return info.encoding


def _score_panoptic(
    dataset_name: str, path: Path, content: dict[str, Any], options: ScoreOptions
) -> tuple[Evaluators, list[str]]:
    evaluator = PanopticEvaluator(dataset_name)
    images = read_panoptic(content, evaluator.records, evaluator.info, path)
    for image_id, (file, classes) in tqdm(images.items(), "segments", disable=None):
        evaluator.add(image_id, read_segment_ids(file), classes, str(file))
    return Evaluators([evaluator]), []


_SCORERS: Mapping[str, Any] = {
    "instances": _score_instances,
    "semantic": _score_semantic,
    "panoptic": _score_panoptic,
}
