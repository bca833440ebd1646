"""Elastic deformation: Simard et al. 2003, in the form of Ronneberger et al. 2015, section 3.1.

Displacements are drawn at the points of a coarse grid and made smooth between them. Positions are
(x, y) in pixels, where the centre of the first pixel is at 0.5.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T

from project.data.categories import IGNORE_LABEL
from project.data.transforms import draws
from project.data.transforms.channels import by_groups
from project.data.transforms.geometry import PAD_GREY

# Largest displacement in spacings of the grid. Cubic interpolation of values up to 1 has slopes up
# to 3 a spacing, so that none is above 0.5: the field never folds, and its inversion converges.
_LIMIT = 1 / 6
_STEPS = 30  # of the inversion


class ElasticTransform(T.Transform):
    """Fetches each pixel from where the field says: output(p) = input(p + field(p))."""

    def __init__(self, field: np.ndarray) -> None:
        """Keeps the field.

        Args:
            field: (H, W, 2) float32 displacements of x and y, pixels.
        """
        super().__init__()
        self.field = field

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Between pixels linearly; grey outside of the image."""
        return self._warp(img, cv2.INTER_LINEAR, PAD_GREY)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """The nearest pixel's label; `IGNORE_LABEL` outside of the image."""
        return self._warp(segmentation, cv2.INTER_NEAREST, IGNORE_LABEL)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Where the points (N, 2) come to lie: p with p + field(p) = point, by iteration."""
        moved = coords.astype(np.float32)
        for _ in range(_STEPS if len(coords) else 0):
            moved = coords - self._field_at(moved)
        return moved

    def _field_at(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) displacements at points; those outside of the image have that of its border."""
        at = (points - 0.5).astype(np.float32)
        found = cv2.remap(
            self.field, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return found[:, 0]

    def _warp(self, image: np.ndarray, interp: int, border: float) -> np.ndarray:
        height, width = self.field.shape[:2]
        x = self.field[:, :, 0] + np.arange(width, dtype=np.float32)
        y = self.field[:, :, 1] + np.arange(height, dtype=np.float32)[:, None]
        borders = (border,) * 4
        return by_groups(
            image,
            lambda part: cv2.remap(
                part, x, y, interp, borderMode=cv2.BORDER_CONSTANT, borderValue=borders
            ),
        )


class RandomElastic(T.Augmentation):
    """Draws normal displacements at the points of a grid."""

    def __init__(self, std: float, grid: int) -> None:
        """Keeps its arguments.

        Args:
            std: deviation of the displacements, pixels; at most a sixth of a spacing is taken.
            grid: points a side.
        """
        super().__init__()
        self.std, self.grid = std, grid

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws a field."""
        height, width = image.shape[:2]
        limits = _LIMIT * np.array([width, height]) / self.grid
        coarse = draws.normal(self.std, (self.grid, self.grid, 2)).clip(-limits, limits)
        field = cv2.resize(
            coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        return ElasticTransform(field)
