"""Scores of instance segmentation and detection: COCO's average precision and recall, and more."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from project.data.files import some_of
from project.evaluation.average_precision import precision_scores
from project.evaluation.base import ImageEvaluator, ImageId, check_size
from project.evaluation.boundary import boundary_ious
from project.evaluation.coco_backend import DEFAULT_LIMIT, score_with_ious
from project.evaluation.detections import ImageDetections, coco_results, from_instances
from project.evaluation.f1 import CONFIDENT, MIN_IOU, f1_score
from project.evaluation.image_statistics import TaskStatistics
from project.evaluation.instance_confusion import confusion_counts, image_ious
from project.evaluation.instance_truth import InstanceTruth
from project.evaluation.matches import AREAS, Ious, MatchTable, match_table

_SIZES = {
    "s": "small objects (up to 32 x 32 pixels)",
    "m": "medium objects (32 x 32 to 96 x 96 pixels)",
    "l": "large objects (from 96 x 96 pixels)",
}
assert _SIZES.keys() == AREAS.keys()


class InstanceEvaluator(ImageEvaluator):
    """Scores `instances` by box, by mask and by the masks' boundaries.

    Detectron2's `COCOEvaluator` keeps the truth in a file that it reads again after the data have
    changed, and answers -1 or NaN.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        backend: str = "faster-coco-eval",
        max_detections: int = DEFAULT_LIMIT,
        tasks: Sequence[str] = ("bbox", "segm"),
        confusion_iou: float = MIN_IOU,
        confusion_score: float = CONFIDENT,
    ) -> None:
        """Reads the truth.

        Args:
            dataset_name: a registered data set.
            backend: who computes, see `coco_backend.BACKENDS`.
            max_detections: the best so many of an image and class are scored.
            tasks: of "bbox", "segm" and "boundary"; boundaries are scored with masks.
            confusion_iou: from which on a pair counts in the confusion matrix.
            confusion_score: from which on a detection counts in it.
        """
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
        self._detections: dict[ImageId, ImageDetections] = {}
        self._ious: dict[str, Ious] = {}
        side = len(self.info.categories.things) + 1
        self._confusion = np.zeros((side, side), dtype=np.int64)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Keeps a batch, masks as run-length codes.

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
        """Keeps the detections of one image.

        Args:
            image_id: as in the data set.
            detections: of the image.
            source: file that the prediction belongs to or comes from, for messages.

        Raises:
            PredictionsError: masks of another size than the image's.
        """
        record = self.start_image(image_id, source)
        check_size(detections.size, record, source)
        self._detections[image_id] = detections
        iou_type = "segm" if self._has_masks and detections.masks is not None else "bbox"
        objects = self._truth.of_image(self._truth.image_numbers[image_id], iou_type)
        ious = image_ious(detections, objects, iou_type)
        self._confusion += self._confused(detections, objects, ious)
        score = f1_score(detections, objects, ious)
        if score is not None:
            self.image_scores[image_id] = score

    def evaluate(self) -> dict[str, Any]:
        """Scores of all ranks' images.

        Returns:
            On the main rank {task: see `evaluate_coco`, or None, "notes": [...]}; elsewhere {}.
        """
        parts = self.gather((self._detections, self._confusion))
        if not parts:
            return {}
        self._detections = {image: found for part, _ in parts for image, found in part.items()}
        results: dict[str, Any] = {}
        notes: list[str] = []
        for task in self._tasks:
            obstacle = self._obstacle(task)
            results[task] = None
            if not obstacle:
                score = self._score_boundaries if task == "boundary" else self._score
                results[task] = score(task)
            found = [obstacle] if obstacle else [*self._remarks(task), *_undefined(results[task])]
            notes += [f"{task}: {note}" for note in found]
        main = next((t for t in ("segm", "bbox") if results.get(t)), None)
        if main:
            matrix = sum(part for _, part in parts) + self._confused_unseen(main)
            results[main]["confusion"] = self._described(matrix)
        return {**results, "notes": notes}

    def coco_results(self) -> list[dict[str, Any]]:
        """All detections as a COCO results file holds them, with the data set's category ids."""
        return [
            result
            for image_id, detections in self._detections.items()
            for result in coco_results(image_id, detections, self.info.categories)
        ]

    def image_statistics(self) -> dict[str, TaskStatistics]:
        """Made when it is asked for: scores in the course of a training do without."""
        if not self._statistics:
            self._statistics = {task: self._matches(task) for task in self._ious}
        return self._statistics

    def _score(self, task: str) -> dict[str, Any]:
        """COCO's numbers by box or by mask."""
        scores, self._ious[task] = score_with_ious(
            self._truth.coco(task), self._coco(task), task, self._backend, self._max_detections
        )
        return scores

    def _score_boundaries(self, task: str) -> dict[str, Any]:
        """The same rules with boundary IoU; after the masks were scored."""
        self._ious[task] = boundary_ious(
            self._truth.coco("segm"), self._coco("segm"), self._ious["segm"], self._max_detections
        )
        return precision_scores(self._matches(task), f"AR{self._max_detections}")

    def _matches(self, task: str) -> MatchTable:
        shape = "bbox" if task == "bbox" else "segm"
        truth, found = self._truth.coco(shape), self._coco(shape)
        return match_table(truth, found, self._ious[task], self._max_detections)

    def _coco(self, task: str) -> list[dict[str, Any]]:
        """All detections as `evaluate_coco` takes them."""
        numbers = self._truth.image_numbers
        return [
            {**detection, "image_id": numbers[image_id]}
            for image_id, found in self._detections.items()
            for detection in found.coco(task)
        ]

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
        boxes_only = any(len(found) and found.masks is None for found in self._detections.values())
        if by_mask and boxes_only:
            return "the predictions have boxes only, no masks"
        return None

    def _remarks(self, task: str) -> list[str]:
        """What a reader of a task's scores must know."""
        notes = []
        if not any(len(found) for found in self._detections.values()):
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
