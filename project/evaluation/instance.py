"""Scores of instance segmentation and detection: COCO's average precision and recall, and more."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from project.data.files import some_of
from project.evaluation.average_precision import precision_scores
from project.evaluation.base import ImageEvaluator, ImageId, check_size
from project.evaluation.coco_backend import (
    DEFAULT_LIMIT,
    NAMES,
    STREAMED,
    check_backend,
    evaluate_coco,
)
from project.evaluation.detections import ImageDetections, from_instances
from project.evaluation.f1 import CONFIDENT, MIN_IOU, f1_score
from project.evaluation.image_matches import image_rows, joined
from project.evaluation.instance_confusion import confusion_counts, image_ious
from project.evaluation.instance_truth import InstanceTruth
from project.evaluation.matches import AREAS, MatchTable
from project.evaluation.table_scores import table_scores

_SIZES = {
    "s": "small objects (up to 32 x 32 pixels)",
    "m": "medium objects (32 x 32 to 96 x 96 pixels)",
    "l": "large objects (from 96 x 96 pixels)",
}
assert _SIZES.keys() == AREAS.keys()


class InstanceEvaluator(ImageEvaluator):
    """Scores `instances` by box, by mask and by the masks' boundaries.

    Of every image only the matches are kept, 20 bytes of a detection and task. A library that is
    to compute, for comparison, makes it keep all masks.

    Detectron2's `COCOEvaluator` keeps the truth in a file that it reads again after the data have
    changed, and answers -1 or NaN.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        backend: str = STREAMED,
        max_detections: int = DEFAULT_LIMIT,
        tasks: Sequence[str] = ("bbox", "segm"),
        confusion_iou: float = MIN_IOU,
        confusion_score: float = CONFIDENT,
    ) -> None:
        """Reads the truth.

        Args:
            dataset_name: a registered data set.
            backend: who computes, see `coco_backend.NAMES`.
            max_detections: the best so many of an image and class are scored.
            tasks: of "bbox", "segm" and "boundary"; boundaries are scored with masks.
            confusion_iou: from which on a pair counts in the confusion matrix.
            confusion_score: from which on a detection counts in it.

        Raises:
            ConfigError: an unknown backend, or a limit below 1.
        """
        check_backend(backend, max_detections, NAMES)
        super().__init__(dataset_name)
        assert "boundary" not in tasks or "segm" in tasks, tasks
        self._confusion_at = {"min_iou": confusion_iou, "min_score": confusion_score}
        self._backend = backend
        self._max_detections = max_detections
        self._tasks = tuple(tasks)
        self._truth = InstanceTruth(self.records.values(), self.info.categories)

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        # Task -> number of the image -> its matches, and all detections for a library.
        self._rows: dict[str, dict[int, np.ndarray]] = {}
        self._detections: dict[int, ImageDetections] = {}
        self._kinds = np.zeros(2, dtype=np.int64)  # detections with masks, and without
        side = len(self.info.categories.things) + 1
        self._confusion = np.zeros((side, side), dtype=np.int64)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Matches a batch.

        Args:
            inputs: dicts with image_id and file_name.
            outputs: dicts with "instances": pred_boxes, scores, pred_classes and, where the model
                makes masks, pred_masks (N, H, W).

        Raises:
            PredictionsError: masks of another size than the image's.
        """
        for item, output in zip(inputs, outputs):
            detections = from_instances(output["instances"])
            self.add(item["image_id"], detections, item.get("file_name", ""))

    def add(self, image_id: ImageId, detections: ImageDetections, source: str) -> None:
        """Matches the detections of one image.

        Args:
            image_id: as in the data set.
            detections: of the image.
            source: file that the prediction belongs to or comes from, for messages.

        Raises:
            PredictionsError: masks of another size than the image's.
        """
        record = self.start_image(image_id, source)
        check_size(detections.size, record, source)
        number = self._truth.image_numbers[image_id]
        has_masks = detections.masks is not None
        self._kinds += np.array([has_masks, not has_masks]) * len(detections)
        if self._backend != STREAMED:
            self._detections[number] = detections
        main = "segm" if self._has_masks and has_masks else "bbox"
        truths = {s: self._truth.coco_of_image(number, s) for s in dict.fromkeys(("bbox", main))}
        overlaps = {s: image_ious(detections, t["annotations"], s) for s, t in truths.items()}
        for task in self._tasks:
            shape = "bbox" if task == "bbox" else "segm"
            if shape in truths:
                self._rows.setdefault(task, {})[number] = image_rows(
                    detections, truths[shape], overlaps[shape], task, self._max_detections
                )
        objects, ious = truths[main]["annotations"], overlaps[main]
        self._confusion += self._confused(detections, objects, ious)
        score = f1_score(detections, objects, ious)
        if score is not None:
            self.image_scores[image_id] = score

    def evaluate(self) -> dict[str, Any]:
        """Scores of all ranks' images.

        Returns:
            On the main rank {task: see `evaluate_coco`, or None, "notes": [...]}; elsewhere {}.
        """
        parts = self.gather((self._rows, self._detections, self._kinds, self._confusion))
        if not parts:
            return {}
        all_rows, detections, kinds, confusions = zip(*parts)
        self._detections = {image: found for part in detections for image, found in part.items()}
        self._kinds = sum(kinds)
        results: dict[str, Any] = {}
        notes: list[str] = []
        for task in self._tasks:
            obstacle = self._obstacle(task)
            results[task] = None
            if not obstacle:
                rows = {n: found for part in all_rows for n, found in part.get(task, {}).items()}
                self._statistics[task] = joined(rows, self._truth, task)
                results[task] = self._score(task)
            found = [obstacle] if obstacle else [*self._remarks(task), *_undefined(results[task])]
            notes += [f"{task}: {note}" for note in found]
        main = next((t for t in ("segm", "bbox") if results.get(t)), None)
        if main:
            matrix = sum(confusions) + self._confused_unseen(main)
            results[main]["confusion"] = self._described(matrix)
        return {**results, "notes": notes}

    def _score(self, task: str) -> dict[str, Any]:
        """COCO's numbers; those of boundaries are known to no library in this form."""
        table = self._statistics[task]
        assert isinstance(table, MatchTable)
        if task == "boundary":
            return precision_scores(table, f"AR{self._max_detections}")
        if self._backend == STREAMED:
            return table_scores(table, self._max_detections)
        found = [
            {**detection, "image_id": number}
            for number, of_image in sorted(self._detections.items())
            for detection in of_image.coco(task)
        ]
        truth = self._truth.coco(task)
        return evaluate_coco(truth, found, task, self._backend, self._max_detections)

    @property
    def _has_masks(self) -> bool:
        return "segm" in self._tasks and self._truth.num_masks > 0

    def _confused(
        self, detections: ImageDetections, objects: Sequence[dict[str, Any]], ious: np.ndarray
    ) -> np.ndarray:
        classes = len(self.info.categories.things)
        return confusion_counts(
            detections, objects, ious, num_classes=classes, **self._confusion_at
        )

    def _confused_unseen(self, task: str) -> np.ndarray:
        """Confusion matrix of the images without predictions: all objects are missed."""
        matrix = np.zeros_like(self._confusion)
        for image_id in self.records.keys() - self._seen:
            objects = self._truth.of_image(self._truth.image_numbers[image_id], task)
            for found in objects:
                matrix[found["category_id"], -1] += not found["iscrowd"]
        return matrix

    def _described(self, matrix: np.ndarray) -> dict[str, Any]:
        """The confusion matrix as results.json holds it."""
        return {
            "classes": list(self.info.categories.things),
            "matrix": matrix.tolist(),
            "iou": self._confusion_at["min_iou"],
            "score": self._confusion_at["min_score"],
        }

    def _obstacle(self, task: str) -> str | None:
        """Why a task cannot be scored."""
        if not self._truth.num_objects:
            return "the truth has no objects, so there is nothing to score"
        by_mask = task in ("segm", "boundary")
        if by_mask and not self._truth.num_masks:
            return "the truth has boxes only, no masks"
        if by_mask and self._kinds[1]:
            return "the predictions have boxes only, no masks"
        return None

    def _remarks(self, task: str) -> list[str]:
        """What a reader of a task's scores must know."""
        notes = []
        if not self._kinds.any():
            notes.append("there are no detections at all, so the scores are 0")
        elif self.num_missing:
            notes.append(
                f"{self.num_missing} of {len(self.records)} images have no predictions;"
                " their objects count as missed"
            )
        num_boxes_only = self._truth.num_objects - self._truth.num_masks
        if task != "bbox" and num_boxes_only:
            notes.append(
                f"{num_boxes_only} of {self._truth.num_objects} true objects have a box only;"
                " they do not count, nor do detections on them"
            )
        if self._max_detections != DEFAULT_LIMIT:
            notes.append(
                f"at most {self._max_detections} detections of an image and class are scored;"
                f" COCO's own numbers are defined with {DEFAULT_LIMIT}"
            )
        return notes


def _undefined(scores: dict[str, Any]) -> list[str]:
    """Why some of a task's scores are None."""
    notes = []
    for suffix, objects in _SIZES.items():
        if scores[f"AP{suffix}"] is None:
            names = [name for name in (f"AP{suffix}", f"AR{suffix}") if name in scores]
            are = "are" if len(names) > 1 else "is"
            notes.append(f"{' and '.join(names)} {are} not defined: the truth has no {objects}")
    absent = [name for name, of in scores["per_class"].items() if of["AP"] is None]
    if absent:
        notes.append(f"not in the truth, so left out of the means: {some_of(absent, 20)}")
    return notes
