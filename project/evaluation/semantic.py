"""Scores of semantic segmentation, from a few counts of each image and class."""

from typing import Any

import numpy as np
import torch

from project.data.categories import IGNORE_LABEL
from project.data.files import some_of
from project.data.labels import read_semantic
from project.errors import ConfigError, PredictionsError, nearest
from project.evaluation.base import ImageEvaluator, ImageId, check_size, image_order
from project.evaluation.confusion import (
    TRUE,
    mean_iou,
    semantic_scores,
    statistics,
)
from project.evaluation.image_statistics import PixelCounts
from project.evaluation.label_counts import label_counts
from project.evaluation.rand import image_rand_scores
from project.layers.best_class import best_class

RAND_SCORES = ("VRand", "ARE")


class SemanticEvaluator(ImageEvaluator):
    """Scores `sem_seg` against the data set's label maps, or those derived from its masks.

    Detectron2's `SemSegEvaluator` reads label files in another way than the trainer, keeps an RLE
    of every image and lets ids out of range fall into other classes' cells.
    """

    def __init__(self, dataset_name: str, *, rand_foreground: str = "") -> None:
        """Reads the truth.

        Args:
            dataset_name: a registered data set.
            rand_foreground: the class whose segments are scored by `rand`; "" for none.

        Raises:
            ConfigError: the data set has no such class.
        """
        self._foreground = rand_foreground
        super().__init__(dataset_name)
        check_foreground(rand_foreground, self.info.categories.semantic, dataset_name)

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        num_images, num_classes = len(self.records), len(self.info.categories.semantic)
        self._rows = {image_id: n for n, image_id in enumerate(image_order(self.records))}
        self._counts = np.zeros((num_images, num_classes, 5), dtype=np.int32)
        self._values = np.full((num_images if self._foreground else 0, 2), np.nan)
        self._unclassified = 0

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Counts a batch.

        Args:
            inputs: dicts with image_id and file_name.
            outputs: dicts with "sem_seg": (K, H, W) logits, or (H, W) whole-numbered semantic ids.

        Raises:
            PredictionsError: another size than the image's, or an id that is no class.
        """
        for item, output in zip(inputs, outputs):
            prediction = output["sem_seg"]
            if prediction.dim() == 3:
                prediction = _argmax(prediction, len(self.info.categories.semantic))
            self.add(item["image_id"], prediction.cpu().numpy(), item.get("file_name", ""))

    def add(self, image_id: ImageId, prediction: np.ndarray, source: str) -> None:
        """Counts one image.

        Args:
            image_id: as in the data set.
            prediction: (H, W) semantic ids; `IGNORE_LABEL` is no class, and misses.
            source: file that the prediction belongs to or comes from, for messages.

        Raises:
            PredictionsError: another size than the image's, or an id that is no class.
        """
        record = self.start_image(image_id, source)
        names = self.info.categories.semantic
        check_size(prediction.shape, record, source)
        wrong = _wrong_ids(prediction, len(names))
        if wrong is not None:
            raise PredictionsError(
                f"{source}: {self.info.name} has the semantic ids 0 to {len(names) - 1}; the"
                f" prediction holds {np.unique(prediction[wrong])[:5].tolist()} in"
                f" {wrong.mean():.1%} of its pixels"
            )
        truth = read_semantic(record, self.info)
        prediction = prediction.astype(np.uint8, copy=False)
        matrix, boundary = label_counts(truth, prediction, len(names))
        row, counts = self._rows[image_id], statistics(matrix)
        self._counts[row] += np.concatenate([counts, boundary], axis=1).astype(np.int32)
        self._unclassified += int(matrix[:, -1].sum())
        if self._foreground:
            foreground = names.index(self._foreground)
            self._values[row] = image_rand_scores(truth, prediction, foreground)
        score = mean_iou(counts)
        if not np.isnan(score):
            self.image_scores[image_id] = 100 * score

    def evaluate(self) -> dict[str, Any]:
        """Scores of all ranks' images.

        Returns:
            On the main rank {"sem_seg": see `semantic_scores`, "notes": [...]}; elsewhere {}.
        """
        parts = self.gather((self._counts, self._values, self._unclassified))
        if not parts:
            return {}
        names = self.info.categories.semantic
        counts = np.sum([part for part, _, _ in parts], axis=0)
        total = counts.sum(axis=0, dtype=np.int64)
        scores = semantic_scores(total, names)
        values = {}
        if self._foreground:
            of_images = np.fmax.reduce([part for _, part, _ in parts])
            values = dict(zip(RAND_SCORES, of_images.T))
            scores |= {name: _mean(column) for name, column in values.items()}
        self._statistics = {"sem_seg": PixelCounts(names, counts, values)}
        unclassified = sum(part for _, _, part in parts) / max(total[:, TRUE].sum(), 1)
        return {"sem_seg": scores, "notes": self._notes(scores, unclassified)}

    def _notes(self, scores: dict[str, Any], unclassified: float) -> list[str]:
        notes = self.missing_notes()
        if unclassified:
            notes.append(
                f"{unclassified:.1%} of the labelled pixels are predicted as {IGNORE_LABEL}, no"
                " class, and count as missed"
            )
        per_class = scores["per_class"].items()
        absent = [name for name, of in per_class if of["IoU"] is None]
        untrue = [n for n, of in per_class if of["ACC"] is None and n not in absent]
        if scores["pACC"] is None:
            notes.append("the truth has no labelled pixel, so there is nothing to score")
        elif absent:
            notes.append(
                "neither in the truth nor in the predictions, so left out of the means:"
                f" {some_of(absent, 20)}"
            )
        if self._foreground and scores[RAND_SCORES[0]] is None:
            notes.append(
                f"VRand and ARE are not defined: no image has pixels of '{self._foreground}'"
            )
        if untrue:
            notes.append(f"predicted, but not in the truth, so without ACC: {some_of(untrue, 20)}")
        return [f"sem_seg: {note}" for note in notes]


def check_foreground(name: str, classes: tuple[str, ...], where: str) -> None:
    """Checks TEST.RAND_FOREGROUND.

    Raises:
        ConfigError: it is no class of the data set.
    """
    if name and name not in classes:
        raise ConfigError(
            f"TEST.RAND_FOREGROUND is '{name}', which is no class of {where}."
            f"{nearest(name, classes)}"
        )


def _wrong_ids(prediction: np.ndarray, num_classes: int) -> np.ndarray | None:
    """(H, W) bool: ids that are neither a class nor `IGNORE_LABEL`; None where there is none."""
    lowest, highest = prediction.min(initial=0), prediction.max(initial=0)
    if lowest >= 0 and highest < num_classes:
        return None
    wrong = (prediction < 0) | ((prediction >= num_classes) & (prediction != IGNORE_LABEL))
    return wrong if wrong.any() else None


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def _argmax(logits: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(K, H, W) logits to (H, W) uint8 ids, on the logits' own device."""
    assert logits.shape[0] == num_classes, (tuple(logits.shape), num_classes)
    return best_class(logits)
