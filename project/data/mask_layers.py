"""Many object masks in few label maps, so that they are resized, turned and cropped together.

A microscopy image holds hundreds of objects that hardly overlap. Changing each mask alone costs
more than the rest of a small model's training step.

N objects, H x W pixels before the change, h x w after it.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from project.data.categories import IGNORE_LABEL

Layer = np.ndarray  # (H, W) uint8: 0 for no object, `IGNORE_LABEL` for padding
_MOST = IGNORE_LABEL - 1  # objects that one layer can number


def change_masks(
    masks: Sequence[np.ndarray], change: Callable[[Layer], Layer], shape: tuple[int, int]
) -> np.ndarray:
    """Applies a change of label maps to masks.

    Args:
        masks: N masks (H, W) bool.
        change: takes pixels from where they are, blending none, as nearest-neighbour resizing.
        shape: (h, w) of its results.

    Returns:
        (N, h, w) bool, as if each mask had been changed alone.
    """
    layers, places = pack_masks(masks)
    changed = [change(layer) for layer in layers]
    stack = np.empty((len(masks), *shape), dtype=bool)
    for index, (layer, number) in enumerate(places):
        np.equal(changed[layer], number, out=stack[index])
    return stack


def pack_masks(masks: Sequence[np.ndarray]) -> tuple[list[Layer], list[tuple[int, int]]]:
    """Puts each mask into the first layer where it covers no other.

    Args:
        masks: N masks (H, W) bool.

    Returns:
        The layers, and for each mask its layer and its number there, 1 to 254.
    """
    layers: list[Layer] = []
    used: list[int] = []
    places: list[tuple[int, int]] = []
    for mask in masks:
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        window = slice(y, y + height), slice(x, x + width)
        pixels = mask[window]
        free = (
            i
            for i, layer in enumerate(layers)
            if used[i] < _MOST and not layer[window][pixels].any()
        )
        index = next(free, len(layers))
        if index == len(layers):
            layers.append(np.zeros(mask.shape, dtype=np.uint8))
            used.append(0)
        used[index] += 1
        layers[index][window][pixels] = used[index]
        places.append((index, used[index]))
    return layers, places
