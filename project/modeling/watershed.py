"""Touching objects held apart by a watershed: what teaches the maps, and how they are cut.

Plain NumPy: each step goes over one image with a library's routine for CPUs.

Legend: M objects, numbered from 1 in maps (0 is none); H x W pixels.
"""

from importlib.util import find_spec

import cv2
import numpy as np

from project.errors import ConfigError

_WINDOW = np.ones((3, 3), np.uint8)


def check_installed() -> None:
    """Raises a ConfigError where scikit-image is missing, before a training that ends in it."""
    if find_spec("skimage") is None:
        raise ConfigError(
            "MODEL.META_ARCHITECTURE WatershedUNet needs scikit-image, which is not installed;"
            " install it with: pip install -e '.[zoo]'"
        )


def border_target(numbers: np.ndarray, width: int) -> np.ndarray:
    """Where two objects are near each other.

    Args:
        numbers: (H, W) whole numbers, 0 to M.
        width: pixels; every pixel with two different objects within this distance (of rows and of
            columns) is border, inside the objects and in the gap between them.

    Returns:
        (H, W) bool.
    """
    values = numbers.astype(np.float32)  # holds whole numbers up to 2**24
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    largest = cv2.dilate(values, window)
    smallest = cv2.erode(np.where(values > 0, values, np.float32(np.inf)), window)
    return (largest > 0) & (smallest < largest)


def depth_target(numbers: np.ndarray) -> np.ndarray:
    """How deep each pixel lies in its object.

    The distance to the object's edge as a share of the largest such distance in the object, as the
    object probability of StarDist (Schmidt et al. 2018, arXiv:1806.03535): so small and large
    objects all reach 1, and one threshold finds the middle of both. An object that the image's
    edge cuts is deepest there.

    Args:
        numbers: (H, W) whole numbers, 0 to M.

    Returns:
        (H, W) float32, 0 outside, above 0 to 1 in objects.
    """
    values = numbers.astype(np.float32)
    owned = values > 0
    inner = owned & (cv2.dilate(values, _WINDOW) == cv2.erode(values, _WINDOW))
    depth = (
        cv2.distanceTransform(inner.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 1
    ) * owned
    if inner.all():  # no edge is near
        return owned.astype(np.float32)
    deepest = np.ones(int(numbers.max()) + 1, np.float32)
    np.maximum.at(deepest, numbers[owned], depth[owned])
    return depth / deepest[numbers]


def cut_objects(
    foreground: np.ndarray,
    depth: np.ndarray,
    border: np.ndarray,
    *,
    seed_threshold: float = 0.5,
    foreground_threshold: float = 0.5,
    smoothing: float = 1.0,
    min_area: int = 1,
) -> np.ndarray:
    """Cuts the foreground into objects by a watershed from seeds.

    A seed is a connected region of foreground that is deep and no border. Foreground that holds no
    seed is an object as it is: most are small.

    Args:
        foreground: (H, W) probability of any object.
        depth: (H, W) of `depth_target`, predicted.
        border: (H, W) probability of `border_target`.
        seed_threshold: of depth * (1 - border) in seeds, 0 to 1.
        foreground_threshold: of `foreground` in objects, 0 to 1.
        smoothing: deviation of a Gaussian on depth * (1 - border), pixels, against double seeds;
            0 for none.
        min_area: pixels; smaller objects are dropped.

    Returns:
        (H, W) int32 numbers, 0 to M.
    """
    from skimage.segmentation import watershed  # heavy: only where it is used

    objects = foreground > foreground_threshold
    height_map = depth * (1 - border)
    if smoothing > 0:
        height_map = cv2.GaussianBlur(height_map, (0, 0), smoothing)
    seeds = _seeds(objects, height_map > seed_threshold)
    numbers = watershed(-height_map, seeds, mask=objects)
    return _without_small(numbers, min_area)


def _seeds(objects: np.ndarray, deep: np.ndarray) -> np.ndarray:
    """(H, W) int32 seeds: connected deep regions, and whole regions of objects without any."""
    num_seeds, seeds = cv2.connectedComponents((objects & deep).view(np.uint8))  # 0 counts too
    num_regions, regions = cv2.connectedComponents(objects.view(np.uint8))
    seedless = np.ones(num_regions, bool)
    seedless[regions[seeds > 0]] = False
    seedless[0] = False
    numbers = np.zeros(num_regions, np.int32)
    numbers[seedless] = num_seeds + np.arange(np.count_nonzero(seedless))
    return np.where(seeds > 0, seeds, numbers[regions])


def _without_small(numbers: np.ndarray, min_area: int) -> np.ndarray:
    """The objects of at least `min_area` pixels, numbered anew without gaps."""
    areas = np.bincount(numbers.ravel(), minlength=1)
    kept = np.flatnonzero(areas[1:] >= max(min_area, 1)) + 1
    new = np.zeros(len(areas), np.int32)
    new[kept] = 1 + np.arange(len(kept))
    return new[numbers]
