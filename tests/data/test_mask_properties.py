"""Masks drawn at random, and random text and numbers in the place of masks."""

from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from project.data.masks import decode_mask, encode_mask
from project.errors import DatasetError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
quickly = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sides = st.integers(1, 24)
shapes = st.tuples(sides, sides)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """(H, W) bool: rectangles put in and taken out, so with holes, parts and borders; or noise."""
    height, width = draw(shapes)
    if draw(st.booleans()):
        return draw(arrays.arrays(bool, (height, width)))
    mask = np.full((height, width), draw(st.booleans()))
    for value in draw(st.lists(st.booleans(), max_size=5)):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(sides), left : left + draw(sides)] = value
    return mask


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of 0, 1, 0, ..., column by column."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.r_[0, edges, flat.size]).tolist()
    return [0, *counts] if flat[0] else counts


@quickly
@given(masks())
def test_encoded_masks_come_back(mask):
    height, width = mask.shape
    encoded = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(encoded, height, width), mask)
    np.testing.assert_array_equal(mask_util.decode(encoded), mask)
    assert mask_util.area(encoded) == mask.sum()


@quickly
@given(masks())
def test_every_form_of_run_lengths_says_the_same(mask):
    height, width = mask.shape
    size = [height, width]
    plain = {"size": size, "counts": run_lengths(mask)}
    packed = mask_util.frPyObjects(plain, height, width)
    for rle in (plain, packed, {"size": size, "counts": packed["counts"].decode()}):
        np.testing.assert_array_equal(decode_mask(rle, height, width), mask)


@quickly
@given(masks(), st.integers(0, 60), st.integers(1, 255))
def test_damaged_run_lengths_fill_the_image_or_are_refused(mask, position, flip):
    """One character of a good RLE is changed; what is accepted is what pycocotools reads."""
    text = bytearray(encode_mask(mask)["counts"].encode())
    text[position % len(text)] ^= flip
    assert_whole_or_refused(bytes(text), *mask.shape)


@quickly
@given(st.binary(max_size=40) | st.text("0123456789:;<=>?@PQRS`abopq", max_size=12), shapes)
def test_any_text_is_a_whole_mask_or_refused(counts, shape):
    assert_whole_or_refused(counts, *shape)


numbers = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=2)


@quickly
@given(st.lists(st.integers(-3, 30), max_size=8) | st.lists(numbers, max_size=6), shapes)
def test_any_numbers_are_a_whole_mask_or_refused(counts, shape):
    assert_whole_or_refused(counts, *shape)


def assert_whole_or_refused(counts: Any, height: int, width: int) -> None:
    """Holds that run lengths either are those of a mask of this size or raise `DatasetError`."""
    rle = {"size": [height, width], "counts": counts}
    try:
        mask = decode_mask(rle, height, width)
    except DatasetError:
        return
    assert mask.shape == (height, width) and mask.dtype == bool
    if isinstance(counts, list):
        assert sum(counts) == height * width
        rle = mask_util.frPyObjects(rle, height, width)
    np.testing.assert_array_equal(mask_util.decode(rle), mask)


@pytest.mark.parametrize("total", [23, 24, 25])
def test_only_what_fills_the_image_is_accepted(total):
    """The property above would also hold for a reader that refuses everything."""
    rle = {"size": [4, 6], "counts": [5, 7, total - 12]}
    if total == 24:
        assert decode_mask(rle, 4, 6).sum() == 7
    else:
        with pytest.raises(DatasetError):
            decode_mask(rle, 4, 6)


coordinates = st.floats(-20, 60, width=32)
polygons = st.lists(
    st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8), min_size=1, max_size=3
)


@quickly
@given(polygons, shapes)
def test_polygons_are_drawn_as_pycocotools_draws_them(parts, shape):
    height, width = shape
    outlines = [[float(v) for point in part for v in point] for part in parts]
    largest = max(abs(v) for outline in outlines for v in outline)
    if largest > 10 * max(shape):
        with pytest.raises(DatasetError):
            decode_mask(outlines, height, width)
        return
    drawn = [mask_util.decode(rle) for rle in mask_util.frPyObjects(outlines, height, width)]
    np.testing.assert_array_equal(decode_mask(outlines, height, width), np.any(drawn, axis=0))


anything = st.recursive(
    numbers,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@quickly
@given(anything, shapes)
def test_anything_else_is_refused_by_its_name(segmentation, shape):
    height, width = shape
    try:
        mask = decode_mask(segmentation, height, width)
    except DatasetError:
        return
    assert mask.shape == shape and mask.dtype == bool
