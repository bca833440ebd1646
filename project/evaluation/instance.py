"""Scores of instance segmentation and detection: COCO's average precision and recall."""

from collections.abc import Sequence
from typing import Any

from project.data.files import some_of
from project.evaluation.base import ImageEvaluator, ImageId, check_size
from project.evaluation.coco_backend import AREAS, DEFAULT_LIMIT, evaluate_coco
from project.evaluation.detections import ImageDetections, coco_results, from_instances
from project.evaluation.f1 import f1_score
from project.evaluation.instance_truth import InstanceTruth

_SIZES = {
    "s": "small objects (up to 32 x 32 pixels)",
    "m": "medium objects (32 x 32 to 96 x 96 pixels)",
    "l": "large objects (from 96 x 96 pixels)",
}
assert _SIZES.keys() == AREAS.keys()


class InstanceEvaluator(ImageEvaluator):
    """Scores `instances` by box and by mask.

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
    ) -> None:
        """Reads the truth.

        Args:
            dataset_name: a registered data set.
            backend: who computes, see `coco_backend.BACKENDS`.
            max_detections: the best so many of an image and class are scored.
            tasks: "bbox", "segm" or both.
        """
        super().__init__(dataset_name)
        self._backend = backend
        self._max_detections = max_detections
        self._tasks = tuple(tasks)
        self._truth = InstanceTruth(self.records.values(), self.info.categories)

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        self._detections: dict[ImageId, ImageDetections] = {}

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
        iou_type = "bbox" if detections.masks is None or "segm" not in self._tasks else "segm"
        objects = self._truth.of_image(self._truth.image_numbers[image_id], iou_type)
        score = f1_score(detections, objects, iou_type)
        if score is not None:
            self.image_scores[image_id] = score

    def evaluate(self) -> dict[str, Any]:
        """Scores of all ranks' images.

        Returns:
            On the main rank {task: see `evaluate_coco`, or None, "notes": [...]}; elsewhere {}.
        """
        parts = self.gather(self._detections)
        if not parts:
            return {}
        self._detections = {image: found for part in parts for image, found in part.items()}
        results: dict[str, Any] = {}
        notes: list[str] = []
        for task in self._tasks:
            obstacle = self._obstacle(task)
            results[task] = None if obstacle else self._score(task)
            found = [obstacle] if obstacle else [*self._remarks(task), *_undefined(results[task])]
            notes += [f"{task}: {note}" for note in found]
        return {**results, "notes": notes}

    def coco_results(self) -> list[dict[str, Any]]:
        """All detections as a COCO results file holds them, with the data set's category ids."""
        return [
            result
            for image_id, detections in self._detections.items()
            for result in coco_results(image_id, detections, self.info.categories)
        ]

    def _score(self, task: str) -> dict[str, Any]:
        numbers = self._truth.image_numbers
        detections = [
            {**detection, "image_id": numbers[image_id]}
            for image_id, found in self._detections.items()
            for detection in found.coco(task)
        ]
        truth = self._truth.coco(task)
        return evaluate_coco(truth, detections, task, self._backend, self._max_detections)

    def _obstacle(self, task: str) -> str | None:
        """Why a task cannot be scored."""
        if not self._truth.num_objects:
            return "the truth has no objects, so there is nothing to score"
        if task == "segm" and not self._truth.num_masks:
            return "the truth has boxes only, no masks"
        boxes_only = any(len(found) and found.masks is None for found in self._detections.values())
        if task == "segm" and boxes_only:
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
        if task == "segm" and num_boxes_only:
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
    notes = [
        f"AP{suffix} and AR{suffix} are not defined: the truth has no {objects}"
        for suffix, objects in _SIZES.items()
        if scores[f"AP{suffix}"] is None
    ]
    absent = [name for name, of in scores["per_class"].items() if of["AP"] is None]
    if absent:
        notes.append(f"not in the truth, so left out of the means: {some_of(absent, 20)}")
    return notes
