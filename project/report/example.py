"""What a picture shows: one image with its truth and its prediction, in plain arrays.

H x W pixels, N objects.
"""

from dataclasses import dataclass, replace

import numpy as np

from project.data.categories import Categories
from project.data.labels import Segment
from project.data.mask_crops import SampledMasks
from project.report.canvas import scale_image, scale_labels

CONFIDENCE = 0.5  # score from which a predicted object is drawn


@dataclass(frozen=True)
class Objects:
    """Countable objects.

    Attributes:
        masks: (N, H, W) bool; the predicted ones of a large image are made when they are asked for.
        classes: (N,) thing ids.
        scores: (N,) in 0..1, falling; None for the truth.
        crowd: (N,) bool, regions of many objects; None for none.
        boxes: (N, 4) x0, y0, x1, y1 in pixels, to be drawn; None draws none.
    """

    masks: np.ndarray | SampledMasks
    classes: np.ndarray
    scores: np.ndarray | None = None
    crowd: np.ndarray | None = None
    boxes: np.ndarray | None = None

    def scaled(self, scale: float) -> "Objects":
        """The same at another size."""
        if scale == 1:
            return self
        masks = scale_labels(np.asarray(self.masks).transpose(1, 2, 0), scale).transpose(2, 0, 1)
        boxes = None if self.boxes is None else self.boxes * scale
        return replace(self, masks=masks, boxes=boxes)


@dataclass(frozen=True)
class Panoptic:
    """Segments that share out the pixels: `ids` (H, W) int, 0 = void, and a `Segment` for each."""

    ids: np.ndarray
    segments: list[Segment]

    def scaled(self, scale: float) -> "Panoptic":
        """The same at another size; areas stay those of the original."""
        return replace(self, ids=scale_labels(self.ids, scale))


@dataclass(frozen=True)
class Scene:
    """What is known of one image, as truth or as prediction; None for what was not asked.

    Attributes:
        semantic: (H, W) uint8 semantic ids, 255 = ignore.
    """

    semantic: np.ndarray | None = None
    objects: Objects | None = None
    panoptic: Panoptic | None = None

    def scaled(self, scale: float) -> "Scene":
        """The same at another size."""
        return Scene(
            None if self.semantic is None else scale_labels(self.semantic, scale),
            None if self.objects is None else self.objects.scaled(scale),
            None if self.panoptic is None else self.panoptic.scaled(scale),
        )


@dataclass(frozen=True)
class Example:
    """One image of the report.

    Attributes:
        rank: "worst", "median" or "best" of its data set.
        score: the image's own score, 0 to 100, by which it was chosen.
        dataset: registered name.
        file_name: for the caption.
        image: (H, W, 3) uint8 RGB.
    """

    rank: str
    score: float
    dataset: str
    file_name: str
    categories: Categories
    image: np.ndarray
    truth: Scene
    prediction: Scene

    def scaled(self, scale: float) -> "Example":
        """The same at another size."""
        return replace(
            self,
            image=scale_image(self.image, scale),
            truth=self.truth.scaled(scale),
            prediction=self.prediction.scaled(scale),
        )
