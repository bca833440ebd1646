"""Objects filled within their boxes are those that Detectron2 fills in the frame."""

import numpy as np
from detectron2.structures.masks import polygons_to_bitmask

from project.data.raster import raster_polygons


def tight_box(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [0, 0, 0, 0]
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def random_polygons(rng, height: int, width: int) -> list[np.ndarray]:
    """One to three, convex or not, large or small, with points on the border; few of 0 digits."""
    polygons = []
    for _ in range(rng.integers(1, 4)):
        centre, size = rng.uniform(-0.1, 1.1, 2), rng.choice([0.02, 0.2, 1])
        points = centre + size * (rng.random((rng.integers(3, 9), 2)) - 0.5)
        # Fifths of a pixel lie where pycocotools rounds.
        digits = rng.choice([0, 1, 2, 9])
        polygons.append(np.round(points * (width, height), digits).clip(0, (width, height)))
    return polygons


def test_masks_are_those_of_detectron2_to_the_last_bit():
    rng = np.random.default_rng(0)
    filled = empty = 0
    for _ in range(300):
        height, width = (int(side) for side in rng.integers(1, 90, 2))
        objects = [random_polygons(rng, height, width) for _ in range(rng.integers(1, 6))]
        masks, boxes = raster_polygons(objects, height, width)
        assert masks.shape == (len(objects), height, width) and masks.dtype == bool
        for polygons, mask, box in zip(objects, masks, boxes):
            expected = polygons_to_bitmask([p.ravel() for p in polygons], height, width)
            np.testing.assert_array_equal(mask, expected)
            assert box.tolist() == tight_box(expected)
            filled += expected.any()
            empty += not expected.any()
    assert filled > 500 and empty > 50


def test_a_large_frame_and_none():
    rng = np.random.default_rng(1)
    objects = [random_polygons(rng, 800, 1067) for _ in range(7)]
    masks, _ = raster_polygons(objects, 800, 1067)
    for polygons, mask in zip(objects, masks):
        expected = polygons_to_bitmask([p.ravel() for p in polygons], 800, 1067)
        np.testing.assert_array_equal(mask, expected)
    masks, boxes = raster_polygons([], 30, 40)
    assert masks.shape == (0, 30, 40) and boxes.shape == (0, 4)
    masks, boxes = raster_polygons([[]], 30, 40)
    assert not masks.any() and not boxes.any()
