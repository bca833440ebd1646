"""Targets and cuts of the watershed, by hand and against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from dense_scenes import disc, same_objects, touching_discs
from project.modeling.watershed import border_target, cut_objects, depth_target


def ideal(numbers: np.ndarray, width: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Foreground, depth and border as a perfect network gives them."""
    foreground = (numbers > 0).astype(np.float32)
    return foreground, depth_target(numbers), border_target(numbers, width).astype(np.float32)


def test_border_is_where_two_objects_are_near():
    numbers = np.array([[1, 1, 1, 0, 2, 2, 2, 0, 0, 0, 0]])
    assert border_target(numbers, 1).tolist() == [[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]
    assert border_target(numbers, 2).tolist() == [[0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    assert not border_target(np.array([[1, 1, 1, 0, 0]]), 2).any()


def test_border_against_every_pair_of_pixels():
    numbers = touching_discs()
    expected = np.zeros(numbers.shape, dtype=bool)
    for row, column in np.ndindex(*numbers.shape):
        window = numbers[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        expected[row, column] = len(set(window.ravel().tolist()) - {0}) > 1
    assert 20 < expected.sum() < 200
    assert np.array_equal(border_target(numbers, 2), expected)


def test_depth_against_scipy():
    """Distances to the nearest pixel that is not the object's; ours may differ by a pixel."""
    numbers = touching_discs()
    depth = depth_target(numbers)
    assert depth.dtype == np.float32 and not depth[numbers == 0].any()
    for number in range(1, 5):
        own = numbers == number
        exact = ndimage.distance_transform_edt(np.pad(own, 1, mode="edge"))[1:-1, 1:-1]
        assert exact.max() > 4
        assert depth[own].max() == 1
        assert np.abs(depth - exact / exact.max())[own].max() < 1 / exact.max()


def test_depth_of_small_and_of_boundless_objects():
    assert depth_target(np.array([[0, 1, 0, 2, 2, 0]])).tolist() == [[0, 1, 0, 1, 1, 0]]
    assert (depth_target(np.ones((5, 7), dtype=np.int64)) == 1).all()
    assert not depth_target(np.zeros((5, 7), dtype=np.int64)).any()


@pytest.mark.parametrize("helped_by", ["depth", "border"])
def test_touching_discs_are_split_where_they_touch(helped_by):
    numbers = touching_discs()
    foreground, depth, border = ideal(numbers)
    assert ndimage.label(foreground)[1] == 3  # two are one without help
    if helped_by == "depth":
        border[:] = 0
    else:
        depth[:] = 1
    found = cut_objects(foreground, depth, border, smoothing=0)
    assert found.max() == 4
    for number in range(1, 5):  # to a column of pixels at the seam
        own = numbers == number
        likely = np.bincount(found[own]).argmax()
        overlap = np.sum(own & (found == likely))
        assert overlap / np.sum(own | (found == likely)) > 0.95


def test_a_hole_stays():
    ring = disc((30, 30), 15, 15, 12) & ~disc((30, 30), 15, 15, 5)
    numbers = ring.astype(np.int64)
    found = cut_objects(*ideal(numbers), seed_threshold=0.3)
    assert same_objects(found, numbers)


def test_an_empty_map_gives_no_object():
    nothing = np.zeros((12, 9), dtype=np.float32)
    found = cut_objects(nothing, nothing, nothing)
    assert found.shape == (12, 9) and not found.any()


def test_foreground_without_a_seed_is_an_object_unless_it_is_small():
    numbers = touching_discs()
    foreground, depth, border = ideal(numbers)
    depth[numbers == 3] = 0.2
    assert cut_objects(foreground, depth, border).max() == 4
    area = int((numbers == 3).sum())
    assert cut_objects(foreground, depth, border, min_area=area).max() == 4
    found = cut_objects(foreground, depth, border, min_area=area + 1)
    assert sorted(set(found.ravel())) == [0, 1, 2, 3]
    assert not found[numbers == 3].any()


def test_smoothing_joins_seeds_of_one_object():
    numbers = disc((40, 40), 20, 20, 15).astype(np.int64)
    foreground, depth, border = ideal(numbers)
    depth[20, :] = 0  # a scratch through the middle
    assert cut_objects(foreground, depth, border, smoothing=0).max() == 2
    assert cut_objects(foreground, depth, border, smoothing=2).max() == 1
