"""What the evaluators share: the truth's records by image, a score an image, and several ranks."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from project.data.records import Record
from project.data.register import dataset_info, dataset_records
from project.errors import PredictionsError, nearest
from project.evaluation.image_statistics import TaskStatistics

ImageId = int | str


class ImageEvaluator(DatasetEvaluator):
    """An evaluator that meets the truth of a registered data set image by image.

    Attributes:
        info: classes and label encoding of the data set.
        records: the data set's records by image id.
        image_scores: 0 to 100 for each image that had something to score, to choose pictures by;
            of all ranks after `evaluate()` on the main rank.
    """

    def __init__(self, dataset_name: str) -> None:
        self.info = dataset_info(dataset_name)
        self.records: dict[ImageId, Record] = {
            record["image_id"]: record for record in dataset_records(dataset_name)
        }
        self.reset()

    def reset(self) -> None:
        """Forgets all predictions; subclasses add their own accumulators."""
        self.image_scores: dict[ImageId, float] = {}
        self._statistics: dict[str, TaskStatistics] = {}
        self._seen: set[ImageId] = set()

    def start_image(self, image_id: ImageId, source: str) -> Record:
        """Notes that an image was predicted and returns its record.

        Args:
            image_id: as in the data set.
            source: file that the prediction belongs to or comes from, for messages.

        Raises:
            PredictionsError: the data set has no such image.
        """
        if image_id not in self.records:
            raise PredictionsError(
                f"{source}: a prediction is for image {image_id!r}, which {self.info.name} does not"
                f" have.{nearest(str(image_id), map(str, self.records))}"
            )
        self._seen.add(image_id)
        return self.records[image_id]

    def gather(self, accumulated: Any) -> list[Any]:
        """What every rank has accumulated, on the main rank; elsewhere an empty list."""
        comm.synchronize()
        parts = comm.gather((accumulated, self.image_scores, self._seen))
        if parts:
            self.image_scores = dict(_items(scores for _, scores, _ in parts))
            self._seen = set(chain.from_iterable(seen for _, _, seen in parts))
        return [part for part, _, _ in parts]

    def image_statistics(self) -> dict[str, TaskStatistics]:
        """For each task that was scored what the images contribute, in the order of `image_order`.

        On the main rank after `evaluate()`.
        """
        return self._statistics

    @property
    def num_missing(self) -> int:
        """Images of the data set without a prediction; of all ranks after `gather`."""
        return len(self.records) - len(self._seen)

    def missing_notes(self) -> list[str]:
        """A note where images were not predicted and thus could not be counted."""
        if not self.num_missing:
            return []
        return [
            f"{self.num_missing} of {len(self.records)} images were not predicted and do not count"
        ]


def _items(dicts: Iterable[dict[ImageId, float]]) -> Iterable[tuple[ImageId, float]]:
    return chain.from_iterable(d.items() for d in dicts)


def image_order(image_ids: Iterable[ImageId]) -> list[ImageId]:
    """The order of images in all that is kept of each: numbers rising, then names."""
    return sorted(image_ids, key=lambda image_id: (isinstance(image_id, str), image_id))


def check_size(found: tuple[int, ...], record: Record, source: str) -> None:
    """Checks that a predicted map has its image's size.

    Args:
        found: shape of the map.
        record: of the image.
        source: file that the prediction belongs to or comes from, for messages.

    Raises:
        PredictionsError: another shape.
    """
    expected = (record["height"], record["width"])
    if tuple(found) != expected:
        raise PredictionsError(
            f"{source}: the prediction has the shape {' x '.join(map(str, found))}, its image is"
            f" {expected[0]} x {expected[1]} (height x width); predict at the image's own size"
        )
