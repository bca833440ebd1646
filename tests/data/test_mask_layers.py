"""Masks changed together are the masks changed one at a time."""

import numpy as np
import pytest

from project.data.categories import IGNORE_LABEL
from project.data.mask_layers import change_masks, pack_masks
from project.data.transforms.geometry import Resize, Rotation


def discs(count: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """Discs at random places, many of which overlap."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    centres = rng.uniform(0, size, (count, 2))
    radii = rng.uniform(2, size / 6, count)
    return [(rows - y) ** 2 + (columns - x) ** 2 < r**2 for (y, x), r in zip(centres, radii)]


@pytest.mark.parametrize(
    "transform", [Resize(48, 48, 77, 31, 2), Rotation(48, 48, 30.0, expand=False)], ids=str
)
def test_as_if_each_was_changed_alone(transform):
    masks = discs(40, 48)
    assert np.sum(masks, axis=0).max() > 3  # a pixel of four objects
    shape = transform.apply_segmentation(masks[0].view(np.uint8)).shape
    expected = [transform.apply_segmentation(mask.view(np.uint8)) == 1 for mask in masks]
    found = change_masks(masks, transform.apply_segmentation, shape)
    assert found.dtype == bool
    assert np.array_equal(found, expected)


def test_objects_apart_share_a_layer_up_to_254():
    masks = [np.arange(400).reshape(20, 20) == i for i in range(300)]
    layers, places = pack_masks(masks)
    assert len(layers) == 2
    assert places[0] == (0, 1) and places[253] == (0, 254) and places[254] == (1, 1)
    assert max(layer.max() for layer in layers) < IGNORE_LABEL


def test_no_object_and_objects_without_pixels():
    assert change_masks([], lambda layer: layer, (3, 4)).shape == (0, 3, 4)
    found = change_masks([np.zeros((3, 4), bool)] * 2, lambda layer: layer, (3, 4))
    assert found.shape == (2, 3, 4) and not found.any()
