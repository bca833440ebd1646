"""Changes of light and sharpness that leave every label where it is.

Images are (H, W, C), uint8 or float32 from 0 to 255, and stay so.
"""

from functools import partial

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from torchvision.transforms.v2 import functional

from project.data.transforms import draws
from project.data.transforms.channels import by_groups

COLOURS = 3  # channels that have saturation and hue
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue, as Detectron2's saturation has it


class Blend(T.BlendTransform):
    """Detectron2's lets floats leave their range."""

    def apply_image(self, img: np.ndarray, interp: str | None = None) -> np.ndarray:
        """Of the same type, 0 to 255."""
        return super().apply_image(img).clip(0, 255).astype(img.dtype, copy=False)


class _Blending(T.Augmentation):
    """Mixed into an augmentation that blends."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        found = super().get_transform(image)
        return Blend(found.src_image, found.src_weight, found.dst_weight)


class RandomBrightness(_Blending, T.RandomBrightness):
    """See Detectron2's."""


class RandomContrast(_Blending, T.RandomContrast):
    """See Detectron2's."""


class RandomSaturation(_Blending, T.RandomSaturation):
    """Detectron2's takes the first channel for red, which in BGR is blue.

    Images of other than three channels stay as they are.
    """

    def __init__(self, smallest: float, largest: float, image_format: str) -> None:
        super().__init__(smallest, largest)
        self.image_format = image_format

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws how much of the image is blended with its grey."""
        if image.shape[2] != COLOURS:
            return T.NoOpTransform()
        return super().get_transform(_as_rgb(image, self.image_format))


class RandomLighting(_Blending, T.RandomLighting):
    """Detectron2's takes the first channel for red, and its deviations for parts of one.

    Colours of all pixels move along the main directions in which ImageNet's differ (Krizhevsky et
    al. 2012). Images of other than three channels stay as they are.
    """

    def __init__(self, std: float, image_format: str) -> None:
        """Keeps its arguments.

        Args:
            std: of the weights of the directions; the paper has 0.1.
            image_format: "BGR" or "RGB".
        """
        super().__init__(std * 255)
        self.image_format = image_format

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws the weights."""
        if image.shape[2] != COLOURS:
            return T.NoOpTransform()
        found = super().get_transform(image)
        if self.image_format == "BGR":
            found.src_image = found.src_image[::-1]
        return found


class RandomHue(T.Augmentation):
    """Turns all colours by a random part of the colour circle, with torchvision.

    Images of other than three channels stay as they are.
    """

    def __init__(self, largest: float, image_format: str) -> None:
        """Keeps its arguments.

        Args:
            largest: part of the circle, 0 to 0.5, in either direction.
            image_format: "BGR" or "RGB".
        """
        super().__init__()
        self.largest, self.image_format = largest, image_format

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws an angle."""
        if image.shape[2] != COLOURS:
            return T.NoOpTransform()
        turn = draws.uniform(-self.largest, self.largest)
        return T.ColorTransform(partial(_turn_hue, turn=turn, image_format=self.image_format))


class RandomBlur(T.Augmentation):
    """Gaussian blur."""

    def __init__(self, smallest: float, largest: float) -> None:
        """Keeps the limits of its standard deviation, pixels."""
        super().__init__()
        self.smallest, self.largest = smallest, largest

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws a deviation."""
        sigma = draws.uniform(self.smallest, self.largest)
        return T.ColorTransform(partial(_blur, sigma=sigma))


class RandomNoise(T.Augmentation):
    """Adds normal noise, independent in every pixel and channel."""

    def __init__(self, smallest: float, largest: float) -> None:
        """Keeps the limits of its standard deviation, grey levels of 255."""
        super().__init__()
        self.smallest, self.largest = smallest, largest

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws a deviation and the noise."""
        std = draws.uniform(self.smallest, self.largest)
        noise = draws.normal(std, image.shape)
        return T.ColorTransform(partial(_add, noise=noise))


def colour_matrix(step: T.Augmentation, blend: T.BlendTransform) -> np.ndarray:
    """What a blend does to the colours of a pixel, but for leaving their range.

    Args:
        step: one that changes brightness, contrast, saturation or light.
        blend: what it has drawn for an image of any one colour.

    Returns:
        (3, 4) matrix of the three channels and 1.
    """
    matrix = blend.dst_weight * np.eye(COLOURS, COLOURS + 1)
    if isinstance(step, T.RandomSaturation):
        grey = np.array(_GREY)
        turned = isinstance(step, RandomSaturation) and step.image_format == "BGR"
        matrix[:, :COLOURS] += blend.src_weight * (grey[::-1] if turned else grey)
    else:
        matrix[:, COLOURS] = blend.src_weight * np.asarray(blend.src_image)
    return matrix


def _as_rgb(image: np.ndarray, image_format: str) -> np.ndarray:
    """The channels of BGR turned round, which is its own inverse; RGB as it is."""
    return image[:, :, ::-1] if image_format == "BGR" else image


def _turn_hue(image: np.ndarray, turn: float, image_format: str) -> np.ndarray:
    pixels = np.ascontiguousarray(_as_rgb(image, image_format).transpose(2, 0, 1))
    # torchvision takes floats from 0 to 1.
    scale = 1 if image.dtype == np.uint8 else 255
    tensor = torch.from_numpy(pixels if scale == 1 else (pixels / scale).clip(0, 1))
    turned = functional.adjust_hue(tensor, turn).numpy().transpose(1, 2, 0)
    return _as_rgb(turned * np.asarray(scale, image.dtype), image_format)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return by_groups(image, lambda part: cv2.GaussianBlur(part, (0, 0), sigma))


def _add(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    noisy = (image + noise).clip(0, 255)
    return np.rint(noisy).astype(np.uint8) if image.dtype == np.uint8 else noisy
