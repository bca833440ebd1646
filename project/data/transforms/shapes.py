"""Changes of an image's shape that wait for each other, to be made in as few passes as they can.

Images are (H, W, 3) uint8. Points are (x, y), where the centre of the first pixel is at 0.5.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T
from PIL import Image

from project.data.transforms import geometry
from project.data.transforms.resizing import grows, resize, resizes_quickly

_RESIZES = (T.ResizeTransform, geometry.Resize)
_FLIPS = {T.HFlipTransform: 1, T.VFlipTransform: 0}  # and the axis that OpenCV knows them by
_STRAIGHT = (
    *(T.ResizeTransform, *_FLIPS, T.RotationTransform, T.CropTransform, T.PadTransform),
    *(T.BlendTransform, T.ColorTransform, T.NoOpTransform),
)
_TURNS = {T.RotationTransform: 0.0, geometry.Rotation: geometry.PAD_GREY}  # and their padding


def pads(transform: T.Transform) -> bool:
    """Whether a transform leaves pixels that are not of the image, whose colour is fixed."""
    return isinstance(transform, (T.RotationTransform, T.PadTransform))


def keep_lines(transforms: T.TransformList) -> bool:
    """Whether each is known to leave lines straight, so that the corners of a polygon suffice."""
    return all(isinstance(transform, _STRAIGHT) for transform in transforms.transforms)


class Shapes:
    """Transforms that wait, in their order.

    Attributes:
        size: (height, width) after them.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._waiting: list[T.Transform] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, transform: T.Transform) -> None:
        """Lets a transform wait."""
        last = self._waiting[-1] if self._waiting else None
        # A flip costs less where there are fewer pixels.
        is_early = type(transform) in _FLIPS and type(last) in _RESIZES and _grows(last)
        self._waiting.insert(len(self._waiting) - is_early, transform)
        self.size = _size_after(transform, self.size)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Changes an image by all of them."""
        steps = self._waiting
        while steps:
            count = _chain(steps)
            image = _warp(image, steps[:count]) if count > 1 else _change(image, steps[0])
            steps = steps[count:]
        return image


def _size_after(transform: T.Transform, size: tuple[int, int]) -> tuple[int, int]:
    if isinstance(transform, T.ResizeTransform):
        return transform.new_h, transform.new_w
    if isinstance(transform, T.RotationTransform):
        return int(transform.bound_h), int(transform.bound_w)
    if isinstance(transform, T.CropTransform):
        return transform.h, transform.w
    if isinstance(transform, T.PadTransform):
        return size[0] + transform.y0 + transform.y1, size[1] + transform.x0 + transform.x1
    return size


def _chain(steps: list[T.Transform]) -> int:
    """How many of the first steps one warp can do; 1 where it gains nothing.

    A rotation, what enlarges or flips before it, and flips and crops after it. A resize that
    shrinks must average; a crop or another rotation before would have to hide what is outside.
    """
    count = 0
    for step in steps:
        if type(step) in _RESIZES and not (_is_bilinear(step) and _grows(step)):
            return 1
        if type(step) not in (*_RESIZES, *_FLIPS):
            break
        count += 1
    if count == len(steps) or type(steps[count]) not in _TURNS:
        return 1
    count += 1
    while count < len(steps) and type(steps[count]) in (*_FLIPS, T.CropTransform):
        count += 1
    return count


def _warp(image: np.ndarray, steps: list[T.Transform]) -> np.ndarray:
    """Several steps, one of which is a rotation, from pixel to pixel at once."""
    size, matrix, padding = image.shape[:2], np.eye(3), 0.0
    for step in steps:
        matrix = _matrix(step, size) @ matrix
        size = _size_after(step, size)
        padding = _TURNS.get(type(step), padding)
    to_centre, from_centre = np.eye(3), np.eye(3)
    to_centre[:2, 2], from_centre[:2, 2] = 0.5, -0.5  # OpenCV's first pixel is at 0
    moved = (from_centre @ matrix @ to_centre)[:2]
    return cv2.warpAffine(
        np.ascontiguousarray(image),
        moved,
        size[::-1],
        flags=cv2.INTER_LINEAR,
        borderValue=(padding,) * 3,
    )


def _matrix(step: T.Transform, size: tuple[int, int]) -> np.ndarray:
    """(3, 3), of the points (x, y, 1)."""
    matrix = np.eye(3)
    if type(step) in _RESIZES:
        matrix[0, 0], matrix[1, 1] = step.new_w / size[1], step.new_h / size[0]
    elif type(step) in _TURNS:
        matrix[:2] = step.rm_coords
    elif type(step) is T.CropTransform:
        matrix[:2, 2] = -step.x0, -step.y0
    else:
        axis = 0 if type(step) is T.HFlipTransform else 1
        matrix[axis, axis], matrix[axis, 2] = -1, size[1 - axis]
    return matrix


def _change(image: np.ndarray, step: T.Transform) -> np.ndarray:
    """One step alone."""
    if type(step) in _FLIPS:
        return cv2.flip(np.ascontiguousarray(image), _FLIPS[type(step)])
    if (
        type(step) in _RESIZES
        and _is_bilinear(step)
        and resizes_quickly(image.shape[:2], _new_size(step))
    ):
        return resize(np.ascontiguousarray(image), _new_size(step))
    return step.apply_image(image)


def _new_size(step: T.ResizeTransform) -> tuple[int, int]:
    return step.new_h, step.new_w


def _grows(step: T.ResizeTransform) -> bool:
    return grows((step.h, step.w), _new_size(step))


def _is_bilinear(step: T.ResizeTransform) -> bool:
    return step.interp == Image.Resampling.BILINEAR
