"""Scores of semantic segmentation, from one confusion matrix however many images there are."""

from typing import Any

import numpy as np
import torch

from project.data.categories import IGNORE_LABEL
from project.data.files import some_of
from project.data.labels import read_semantic
from project.errors import PredictionsError
from project.evaluation.base import ImageEvaluator, ImageId, check_size
from project.evaluation.confusion import confusion_matrix, semantic_scores


class SemanticEvaluator(ImageEvaluator):
    """Scores `sem_seg` against the data set's label maps, or those derived from its masks.

    Detectron2's `SemSegEvaluator` reads label files in another way than the trainer, keeps an RLE
    of every image and lets ids out of range fall into other classes' cells.
    """

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        num_classes = len(self.info.categories.semantic)
        self._matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

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
        wrong = (prediction < 0) | ((prediction >= len(names)) & (prediction != IGNORE_LABEL))
        if wrong.any():
            raise PredictionsError(
                f"{source}: {self.info.name} has the semantic ids 0 to {len(names) - 1}; the"
                f" prediction holds {np.unique(prediction[wrong])[:5].tolist()} in"
                f" {wrong.mean():.1%} of its pixels"
            )
        truth = read_semantic(record, self.info)
        matrix = confusion_matrix(truth, prediction.astype(np.uint8), len(names))
        self._matrix += matrix
        score = semantic_scores(matrix, names)["mIoU"]
        if score is not None:
            self.image_scores[image_id] = score

    def evaluate(self) -> dict[str, Any]:
        """Scores of all ranks' images.

        Returns:
            On the main rank {"sem_seg": see `semantic_scores`, "notes": [...]}; elsewhere {}.
        """
        matrices = self.gather(self._matrix)
        if not matrices:
            return {}
        matrix = sum(matrices)
        scores = semantic_scores(matrix, self.info.categories.semantic)
        unclassified = matrix[:, -1].sum() / max(matrix.sum(), 1)
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
        if untrue:
            notes.append(f"predicted, but not in the truth, so without ACC: {some_of(untrue, 20)}")
        return [f"sem_seg: {note}" for note in notes]


def _argmax(logits: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(K, H, W) logits to (H, W) uint8 ids, on the logits' own device."""
    assert logits.shape[0] == num_classes, (tuple(logits.shape), num_classes)
    # max() finds the same indices as argmax(), on CPUs several times as fast.
    return logits.max(dim=0).indices.to(torch.uint8)
