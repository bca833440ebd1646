"""Both families of models scored on both tasks: label maps from instances, and the reverse.

Mask R-CNN gets a mean IoU and a U-Net an average precision, so that one table holds both.

K semantic classes, T things, H x W pixels, N instances.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch

from project.data.categories import IGNORE_LABEL, Categories
from project.evaluation.base import ImageEvaluator, ImageId
from project.evaluation.detections import ImageDetections, from_instances
from project.evaluation.image_statistics import TaskStatistics
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.semantic import SemanticEvaluator

SEMANTICS_OF_INSTANCES = "sem_seg_from_instances"
INSTANCES_OF_SEMANTICS = "segm_from_sem_seg"


def semantics_of_instances(dataset_name: str, min_score: float) -> "CrossEvaluator":
    """Scores a model's instances as a label map; see `label_map_of`."""
    return CrossEvaluator(
        SemanticEvaluator(dataset_name),
        name=SEMANTICS_OF_INSTANCES,
        source="instances",
        convert=partial(label_map_of, min_score=min_score),
    )


def instances_of_semantics(
    dataset_name: str, backend: str, max_detections: int
) -> "CrossEvaluator":
    """Scores the regions of a model's label map as instances; see `instances_of`."""
    return CrossEvaluator(
        InstanceEvaluator(
            dataset_name, backend=backend, max_detections=max_detections, tasks=("segm",)
        ),
        name=INSTANCES_OF_SEMANTICS,
        source="sem_seg",
        convert=instances_of,
    )


class CrossEvaluator(ImageEvaluator):
    """Scores what one task's output says of another task, under a name of its own."""

    def __init__(
        self,
        inner: ImageEvaluator,
        *,
        name: str,
        source: str,
        convert: Callable[[Any, Categories], Any],
    ) -> None:
        """Wraps an evaluator.

        Args:
            inner: scores the other task; has `add(image_id, converted, file)`.
            name: of the task in results.json.
            source: key of the model's output.
            convert: makes of that output what `inner` takes.
        """
        self._inner, self._name, self._source, self._convert = inner, name, source, convert
        self.info, self.records = inner.info, inner.records
        self.reset()

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        self._inner.reset()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Scores a batch; see the evaluators of `inputs` and `outputs` for both tasks."""
        for item, output in zip(inputs, outputs):
            self.add(item["image_id"], output[self._source], item.get("file_name", ""))

    def add(self, image_id: ImageId, found: Any, source: str) -> None:
        """Scores one image.

        Args:
            image_id: as in the data set.
            found: what `convert` takes.
            source: file that the prediction belongs to or comes from, for messages.
        """
        self._inner.add(image_id, self._convert(found, self.info.categories), source)

    def evaluate(self) -> dict[str, Any]:
        """The inner evaluator's scores and notes under this task's name."""
        results = self._inner.evaluate()
        if not results:
            return {}
        ((task, scores),) = ((k, v) for k, v in results.items() if k != "notes")
        notes = [note.replace(f"{task}:", f"{self._name}:", 1) for note in results["notes"]]
        return {self._name: scores, "notes": notes}

    def image_statistics(self) -> dict[str, TaskStatistics]:
        """The inner evaluator's under this task's name."""
        return dict(zip([self._name], self._inner.image_statistics().values()))


def label_map_of(instances: Any, categories: Categories, *, min_score: float) -> np.ndarray:
    """Pastes the confident instances of an image into a label map, the most confident on top.

    Where no instance is, the class is the stuff of a data set that has one stuff class or one
    called background; otherwise which stuff it is cannot be said, and the pixel has no class.

    Args:
        instances: Detectron2's, with masks, or `ImageDetections`.
        categories: of the data set.
        min_score: from which on an instance is pasted.

    Returns:
        (H, W) uint8 semantic ids, `IGNORE_LABEL` for no class.
    """
    found = instances if isinstance(instances, ImageDetections) else from_instances(instances)
    labels = np.full(found.size, _ground(categories), dtype=np.uint8)
    if not len(found):
        return labels
    rles = found.rles
    order = np.argsort(found.scores, kind="stable")
    for index in order[found.scores[order] >= min_score].tolist():
        thing = int(found.classes[index])
        labels[mask_util.decode(rles[index]).astype(bool)] = categories.semantic_of_thing(thing)
    return labels


def _ground(categories: Categories) -> int:
    if "background" in categories.stuff:
        return categories.stuff.index("background")
    return 0 if len(categories.stuff) == 1 else IGNORE_LABEL


def instances_of(semantic: Any, categories: Categories) -> ImageDetections:
    """Makes an instance of every 8-connected region of a countable class.

    Its score is the mean probability of its class over its pixels where there are logits, else 1.
    The largest come first, so that of equal scores the small ones rank last.

    Args:
        semantic: (K, H, W) logits or (H, W) semantic ids, tensor or array.
        categories: of the data set.
    """
    labels, probabilities = _labels_and_probabilities(semantic)
    boxes: list[list[float]] = []
    scores: list[float] = []
    classes: list[int] = []
    masks: list[bytes] = []
    sizes: list[int] = []
    for thing in range(len(categories.things)):
        semantic_id = categories.semantic_of_thing(thing)
        of_class = (labels == semantic_id).astype(np.uint8)
        count, regions, statistics, _ = cv2.connectedComponentsWithStats(of_class, connectivity=8)
        if count == 1:
            continue
        areas = statistics[:, cv2.CC_STAT_AREA]
        means = np.ones(count)
        if probabilities is not None:
            of_pixels = probabilities[semantic_id].ravel()
            means = np.bincount(regions.ravel(), of_pixels, minlength=count) / areas
        for region in range(1, count):
            x, y, w, h, area = statistics[region].tolist()
            mask = np.zeros(labels.shape, dtype=np.uint8, order="F")
            mask[y : y + h, x : x + w] = regions[y : y + h, x : x + w] == region
            masks.append(mask_util.encode(mask)["counts"])
            boxes.append([x, y, w, h])
            scores.append(float(means[region]))
            classes.append(thing)
            sizes.append(area)
    order = np.argsort(-np.array(sizes), kind="stable") if sizes else np.zeros(0, dtype=int)
    return ImageDetections(
        size=(labels.shape[0], labels.shape[1]),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4)[order],
        scores=np.array(scores, dtype=np.float64)[order],
        classes=np.array(classes, dtype=np.int64)[order],
        masks=[masks[i] for i in order],
    )


def _labels_and_probabilities(semantic: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if isinstance(semantic, torch.Tensor) and semantic.dim() == 3:
        probabilities = semantic.float().softmax(dim=0).cpu().numpy()
        return semantic.max(dim=0).indices.cpu().numpy(), probabilities
    return (semantic.cpu().numpy() if isinstance(semantic, torch.Tensor) else semantic), None
