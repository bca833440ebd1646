"""What INPUT.AUGMENTATIONS may name: docs/augmentations.md says the same in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from detectron2.data import transforms as T

from project.data.transforms.elastic import RandomElastic
from project.data.transforms.geometry import (
    FixedSizeCrop,
    RandomRotation,
    RandomScale,
    ResizeScale,
    ResizeShortestEdge,
)
from project.data.transforms.photometric import (
    RandomBlur,
    RandomBrightness,
    RandomContrast,
    RandomHue,
    RandomLighting,
    RandomNoise,
    RandomSaturation,
)
from project.entries import Argument, interval, number, one_of, size, sizes, whole

COPY_PASTE = "copy_paste"
CROPS = ("random_resized_crop", "lsj")
Augmentations = list[T.Augmentation]


@dataclass(frozen=True)
class Kind:
    """One kind of augmentation.

    Attributes:
        build: from keyword arguments to what is applied in turn.
        arguments: name -> how it is read; "prob" is that all of it happens to an image.
        bitmask: why objects must be held as pixels; empty where polygons do.
        colour_arguments: those that need three channels where they are not 0; with any, `build`
            also takes `image_format`.
    """

    build: Callable[..., Augmentations]
    arguments: Mapping[str, Argument]
    bitmask: str = ""
    colour_arguments: tuple[str, ...] = ()


def colour_jitter(
    brightness: float, contrast: float, saturation: float, hue: float, image_format: str
) -> Augmentations:
    """Those that are not 0, in this order; 0.2 draws a factor from 0.8 to 1.2."""
    return [
        *([RandomBrightness(1 - brightness, 1 + brightness)] if brightness else []),
        *([RandomContrast(1 - contrast, 1 + contrast)] if contrast else []),
        *([RandomSaturation(1 - saturation, 1 + saturation, image_format)] if saturation else []),
        *([RandomHue(hue, image_format)] if hue else []),
    ]


def large_scale_jitter(scale: tuple[float, float], size: tuple[int, int]) -> Augmentations:
    """Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3."""
    return [ResizeScale(*scale, *size), FixedSizeCrop(size)]


def flip(direction: str, prob: float = 1.0) -> Augmentations:
    """One flip."""
    horizontal = direction == "horizontal"
    return [T.RandomFlip(prob, horizontal=horizontal, vertical=not horizontal)]


def _resize_shortest_edge(sizes: tuple[int, ...], max_size: int, style: str) -> Augmentations:
    chosen = (min(sizes), max(sizes)) if style == "range" else sizes
    return [ResizeShortestEdge(chosen, max_size, style)]


_SHARE = number(0, 0.99)
_ALWAYS, _HALF = Argument(number(0, 1), 1.0), Argument(number(0, 1), 0.5)

AUGMENTATIONS: dict[str, Kind] = {
    "resize_shortest_edge": Kind(
        _resize_shortest_edge,
        {
            "sizes": Argument(sizes),
            "max_size": Argument(whole(1), 1333),
            "style": Argument(one_of("choice", "range"), "choice"),
        },
    ),
    "random_resized_crop": Kind(
        lambda scale, size: [RandomScale(*scale), FixedSizeCrop(size)],
        {"scale": Argument(interval(0.01, 100), (0.5, 2.0)), "size": Argument(size, (512, 512))},
    ),
    "lsj": Kind(
        large_scale_jitter,
        {"scale": Argument(interval(0.01, 100), (0.1, 2.0)), "size": Argument(size, (1024, 1024))},
    ),
    "flip": Kind(
        flip,
        {"direction": Argument(one_of("horizontal", "vertical"), "horizontal"), "prob": _HALF},
    ),
    "rotation": Kind(
        lambda degrees: [RandomRotation(*degrees)],
        {"degrees": Argument(interval(-180, 180), (-10.0, 10.0)), "prob": _ALWAYS},
    ),
    "elastic": Kind(
        lambda std, grid: [RandomElastic(std, grid)],
        {
            "std": Argument(number(0), 10.0),
            "grid": Argument(whole(2, 32), 3),
            "prob": _HALF,
        },
        bitmask="it bends the lines between the points of a polygon",
    ),
    "colour_jitter": Kind(
        colour_jitter,
        {
            "brightness": Argument(_SHARE, 0.2),
            "contrast": Argument(_SHARE, 0.2),
            "saturation": Argument(_SHARE, 0.0),
            "hue": Argument(number(0, 0.5), 0.0),
            "prob": _ALWAYS,
        },
        colour_arguments=("saturation", "hue"),
    ),
    "lighting": Kind(
        lambda std, image_format: [RandomLighting(std, image_format)],
        {"std": Argument(number(0), 0.1), "prob": _ALWAYS},
        colour_arguments=("std",),
    ),
    "blur": Kind(
        lambda sigma: [RandomBlur(*sigma)],
        {"sigma": Argument(interval(0.01, 100), (0.1, 2.0)), "prob": _HALF},
    ),
    "noise": Kind(
        lambda std: [RandomNoise(*std)],
        {"std": Argument(interval(0, 255), (0.0, 10.0)), "prob": _HALF},
    ),
    # Joins two images after all others; see `project.data.copy_paste`.
    COPY_PASTE: Kind(
        lambda **_: [],
        {"prob": _HALF, "object_prob": _HALF},
        bitmask="what is pasted covers parts of other objects",
    ),
}
