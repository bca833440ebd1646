"""Scores of panoptic segmentation, from four counts of each image and class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from project.data.files import some_of
from project.data.labels import panoptic_truth
from project.errors import PredictionsError
from project.evaluation.base import ImageEvaluator, ImageId, check_size, image_order
from project.evaluation.image_statistics import SegmentCounts
from project.evaluation.panoptic_quality import (
    VOID,
    count_segments,
    overlaps,
    panoptic_scores,
)


class PanopticEvaluator(ImageEvaluator):
    """Scores `panoptic_seg` without panopticapi, temporary files or a list of predictions."""

    def reset(self) -> None:
        """Forgets all predictions."""
        super().reset()
        num_classes = len(self.info.categories.semantic)
        self._rows = {image_id: n for n, image_id in enumerate(image_order(self.records))}
        self._counts = np.zeros((len(self.records), num_classes, 4), dtype=np.int64)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Counts a batch.

        Args:
            inputs: dicts with image_id and file_name.
            outputs: dicts with "panoptic_seg": ((H, W) segment ids, list of dicts with id, isthing
                and category_id, which is a thing id or, for stuff, a semantic id).

        Raises:
            PredictionsError: another size than the image's, or segments that disagree with the ids.
        """
        for item, output in zip(inputs, outputs):
            ids, segments = output["panoptic_seg"]
            classes = {s["id"]: self.info.categories.semantic_of_segment(s) for s in segments}
            self.add(item["image_id"], ids.cpu().numpy(), classes, item.get("file_name", ""))

    def add(
        self, image_id: ImageId, ids: np.ndarray, classes: Mapping[int, int], source: str
    ) -> None:
        """Counts one image.

        Args:
            image_id: as in the data set.
            ids: (H, W) segment ids, 0 is void.
            classes: the semantic id of each segment.
            source: file that the prediction belongs to or comes from, for messages.

        Raises:
            PredictionsError: another size than the image's, or segments that disagree with the ids.
        """
        record = self.start_image(image_id, source)
        check_size(ids.shape, record, source)
        truth_ids, truth = panoptic_truth(record, self.info)
        overlap = overlaps(truth_ids, ids)
        _check_segments({p for _, p in overlap}, classes, source)
        counts = count_segments(overlap, truth, classes, self._counts.shape[1])
        self._counts[self._rows[image_id]] += counts
        quality = panoptic_scores(counts, self.info.categories)["PQ"]
        if quality is not None:
            self.image_scores[image_id] = quality

    def evaluate(self) -> dict[str, Any]:
        """Scores of all ranks' images.

        Returns:
            On the main rank {"panoptic_seg": see `panoptic_scores`, "notes": [...]}; elsewhere {}.
        """
        parts = self.gather(self._counts)
        if not parts:
            return {}
        counts = np.sum(parts, axis=0)
        categories = self.info.categories
        self._statistics = {
            "panoptic_seg": SegmentCounts(categories.semantic, len(categories.stuff), counts)
        }
        scores = panoptic_scores(counts.sum(axis=0), categories)
        return {"panoptic_seg": scores, "notes": self._notes(scores)}

    def _notes(self, scores: dict[str, Any]) -> list[str]:
        notes = self.missing_notes()
        for suffix, kind in {"": "segments", "_th": "things", "_st": "stuff"}.items():
            if scores["PQ" + suffix] is None:
                names = ", ".join(metric + suffix for metric in ("PQ", "SQ", "RQ"))
                notes.append(
                    f"{names} are not defined: no {kind} in the truth nor in the predictions"
                )
        absent = [name for name, of in scores["per_class"].items() if of["PQ"] is None]
        if absent:
            notes.append(
                "neither in the truth nor in the predictions, so left out of the means:"
                f" {some_of(absent, 20)}"
            )
        return [f"panoptic_seg: {note}" for note in notes]


def _check_segments(drawn: set[int], classes: Mapping[int, int], source: str) -> None:
    """Checks that every id has a segment and every segment has pixels."""
    drawn = drawn - {VOID}
    for found, where, lacking in (
        (drawn - classes.keys(), "its map", "the list of its segments"),
        (classes.keys() - drawn, "the list of its segments", "its map"),
    ):
        if found:
            raise PredictionsError(
                f"{source}: the segment ids {sorted(found)[:5]} are in {where}, but not in"
                f" {lacking}; write every segment into both, and 0 where there is none"
            )
