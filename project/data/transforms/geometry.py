"""Detectron2's changes of shape, for any number of channels and with padding that teaches nothing.

Images are (H, W, C), uint8 or float32 from 0 to 255. Padding is grey in images and `IGNORE_LABEL`
in label maps and masks.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T
from PIL import Image

from project.data.categories import IGNORE_LABEL
from project.data.transforms import draws
from project.data.transforms.channels import by_groups

PAD_GREY = 128.0


class Resize(T.ResizeTransform):
    """Detectron2's takes one or three channels of bytes; of floats it thins out the pixels."""

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """(new_h, new_w, C) of the same type."""
        if img.dtype == np.uint8 and (img.ndim == 2 or img.shape[2] in (1, 3)):
            # Pillow's pixels are read-only, of which torch warns in the transforms that follow.
            return np.array(super().apply_image(img, interp))
        resample = self.interp if interp is None else interp
        size = self.new_w, self.new_h
        planes = np.moveaxis(img, 2, 0)
        resized = [np.asarray(Image.fromarray(p).resize(size, resample)) for p in planes]
        return np.stack(resized, axis=2)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(new_h, new_w) uint8, of each the nearest label, as Pillow chooses it."""
        size = self.new_w, self.new_h
        return cv2.resize(segmentation, size, interpolation=cv2.INTER_NEAREST_EXACT)


class _Resizing(T.Augmentation):
    """Mixed into an augmentation that resizes; no side becomes 0."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        found = super().get_transform(image)
        if not isinstance(found, T.ResizeTransform):
            return found
        new_h, new_w = max(1, found.new_h), max(1, found.new_w)
        return Resize(found.h, found.w, new_h, new_w, found.interp)


class ResizeShortestEdge(_Resizing, T.ResizeShortestEdge):
    """See Detectron2's."""


class ResizeScale(_Resizing, T.ResizeScale):
    """See Detectron2's."""


class RandomScale(T.Augmentation):
    """Resizes by a random factor of the image's own size."""

    def __init__(self, smallest: float, largest: float) -> None:
        super().__init__()
        self.smallest, self.largest = smallest, largest

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws a factor; both sides are rounded."""
        factor = draws.uniform(self.smallest, self.largest)
        height, width = image.shape[:2]
        return Resize(height, width, max(1, round(height * factor)), max(1, round(width * factor)))


class FixedSizeCrop(T.Augmentation):
    """Crops at random, or pads at the right and below, to one size.

    Detectron2's of the same name draws one number for both offsets, so that all its crops lie on
    the image's diagonal.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """Keeps (height, width), pixels."""
        super().__init__()
        self.size = size
        self.crop = T.RandomCrop("absolute", size)

    def get_transform(self, image: np.ndarray) -> T.TransformList:
        """Draws where to crop."""
        crop = self.crop.get_transform(image)
        below, right = self.size[0] - crop.h, self.size[1] - crop.w
        if not (below or right):
            return T.TransformList([crop])
        pad = T.PadTransform(0, 0, right, below, crop.w, crop.h, PAD_GREY, IGNORE_LABEL)
        return T.TransformList([crop, pad])


class Rotation(T.RotationTransform):
    """Detectron2's leaves black corners that are taught as class 0."""

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """(bound_h, bound_w, C) of the same type, grey outside of the image."""
        return self._warp(img, self.interp if interp is None else interp, PAD_GREY)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(bound_h, bound_w) uint8, `IGNORE_LABEL` outside of the image."""
        return self._warp(segmentation, cv2.INTER_NEAREST, IGNORE_LABEL)

    def _warp(self, image: np.ndarray, interp: int, border: float) -> np.ndarray:
        size, borders = (self.bound_w, self.bound_h), (border,) * 4
        return by_groups(
            image,
            lambda part: cv2.warpAffine(
                part, self.rm_image, size, flags=interp, borderValue=borders
            ),
        )


class RandomRotation(T.RandomRotation):
    """Detectron2's, about the centre of an image that keeps its size."""

    def __init__(self, smallest: float, largest: float) -> None:
        """Keeps the limits of the angle, degrees counter-clockwise."""
        super().__init__([smallest, largest], expand=False)

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws an angle."""
        found = super().get_transform(image)
        if not isinstance(found, T.RotationTransform):
            return found
        return Rotation(found.h, found.w, found.angle, expand=False)
