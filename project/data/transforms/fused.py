"""Augmentations applied as few: one warp for a chain of shapes, one matrix for a chain of colours.

Detectron2 makes each step a pass over the pixels, of floats where colours change. Here a step only
says what it will do, until something needs the pixels. That is for uint8 images of three channels
and for the steps named below; whatever else a list holds is applied as it is. Random numbers are
drawn as ever, in the same order.

H x W pixels of an image.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from detectron2.data import transforms as T

from project.data.transforms import draws, geometry, photometric
from project.data.transforms.shapes import Shapes, pads

# They ask for nothing of an image but its size.
_SHAPES = (
    *(T.RandomFlip, T.RandomCrop, T.Resize, T.ResizeShortestEdge, T.ResizeScale, T.RandomRotation),
    *(T.FixedSizeCrop, geometry.FixedSizeCrop, geometry.RandomScale, geometry.RandomRotation),
    *(geometry.ResizeShortestEdge, geometry.ResizeScale),
)
_COLOURS = (
    *(T.RandomBrightness, T.RandomContrast, T.RandomSaturation, T.RandomLighting),
    *(photometric.RandomBrightness, photometric.RandomContrast, photometric.RandomSaturation),
    photometric.RandomLighting,
)
_CONTRASTS = (T.RandomContrast, photometric.RandomContrast)
_CHANNELS = 3


class Augmenter:
    """A list of augmentations, applied in order."""

    def __init__(
        self, augmentations: Sequence[T.Augmentation | T.Transform], *, exact: bool = False
    ) -> None:
        """Keeps what it is given.

        Args:
            augmentations: of Detectron2, of ours, or a user's own.
            exact: applies each on its own, in the arithmetic of Detectron2.
        """
        self.augmentations = T.AugmentationList(augmentations)
        self.exact = exact

    def __call__(
        self, image: np.ndarray, semantic: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None, T.TransformList]:
        """Draws the changes and applies them.

        Args:
            image: (H, W, C) of 0 to 255, uint8 or float32; not changed.
            semantic: (H, W) uint8.

        Returns:
            The image and semantic labels after the changes, and these; changes of colour, which
            move nothing, may lack among them.
        """
        if self.exact:
            data = T.AugInput(image, sem_seg=semantic)
            transforms = self.augmentations(data)
            return data.image, data.sem_seg, transforms
        run = _Run(image, semantic)
        run.apply(self.augmentations)
        return run.pixels(), run.semantic, T.TransformList(run.done)


class _Run:
    """One image on its way through a list.

    Attributes:
        semantic: (H, W) labels, up to date.
        done: the transforms so far.
    """

    def __init__(self, image: np.ndarray, semantic: np.ndarray | None) -> None:
        self._image = image
        self._shapes = Shapes(image.shape[:2])  # what is still to be done with the image,
        self._colours: np.ndarray | None = None  # and then (3, 4), of the colours and 1
        self.semantic = semantic
        self.done: list[T.Transform] = []

    def apply(self, step: T.Augmentation) -> None:
        """Draws what a step does, and does it or keeps it in mind."""
        if type(step) is T.AugmentationList:
            for part in step.augs:
                self.apply(part)
        elif type(step) is T.RandomApply:
            if draws.happens(step.prob):
                self.apply(step.aug)
        elif self._fuses and type(step) in _SHAPES:
            self._change_shape(_parts(step.get_transform(self._blank())))
        elif self._fuses and type(step) in _COLOURS:
            self._change_colours(step)
        else:
            data = T.AugInput(self.pixels(), sem_seg=self.semantic)
            self.done.append(step(data))
            self._image, self.semantic = data.image, data.sem_seg
            self._shapes = Shapes(self._image.shape[:2])

    def pixels(self) -> np.ndarray:
        """The image as it is now."""
        if self._shapes:
            self._image = self._shapes.apply(self._image)
            self._shapes = Shapes(self._image.shape[:2])
        if self._colours is not None:
            self._image = cv2.transform(np.ascontiguousarray(self._image), self._colours)
            self._colours = None
        return self._image

    @property
    def _fuses(self) -> bool:
        """Whether the pixels are what the quick ways are for."""
        image = self._image
        return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == _CHANNELS

    def _blank(self) -> np.ndarray:
        """(H, W, 3) for steps that ask for the size alone."""
        return np.broadcast_to(np.zeros((), np.uint8), (*self._shapes.size, _CHANNELS))

    def _change_shape(self, transforms: Iterable[T.Transform]) -> None:
        for transform in transforms:
            if self._colours is not None and pads(transform):
                self.pixels()  # colours that wait are changed after all shapes
            self._shapes.add(transform)
            if self.semantic is not None:
                self.semantic = transform.apply_segmentation(self.semantic)
            self.done.append(transform)

    def _change_colours(self, step: T.Augmentation) -> None:
        """Notes a step; what it is blended with says how the colours depend on themselves."""
        colours = self._colours
        if colours is None:
            colours = np.eye(_CHANNELS, _CHANNELS + 1)
        mean = np.zeros((1, 1, _CHANNELS))
        if type(step) in _CONTRASTS:
            self._colours = None  # the shapes must be there, the colours need not
            mean[0, 0] = colours @ [*cv2.mean(self.pixels())[:_CHANNELS], 1]
        matrix = photometric.colour_matrix(step, step.get_transform(mean))
        self._colours = matrix @ np.vstack([colours, [0, 0, 0, 1]])


def _parts(transform: T.Transform) -> list[T.Transform]:
    """The transforms of a list, or the one there is, without those that do nothing."""
    parts = transform.transforms if isinstance(transform, T.TransformList) else [transform]
    return [part for part in parts if not isinstance(part, T.NoOpTransform)]
