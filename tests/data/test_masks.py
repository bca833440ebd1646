"""Masks in and out, against pycocotools, matplotlib and hand values; hostile numbers."""

import numpy as np
import pycocotools.mask as mask_util
import pytest
from matplotlib.path import Path as Outline

from project.data.masks import clip_polygon, compress, decode_mask, encode_mask, visible_part
from project.errors import DatasetError

# numpy 2.4 warns of how pycocotools makes arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DONUT = np.array(
    [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
    dtype=bool,
)


def random_mask(seed: int, height: int, width: int, density: float) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < density


@pytest.mark.parametrize(
    ("height", "width", "density"),
    [(7, 5, 0.5), (64, 48, 0.02), (33, 70, 0.98), (1, 90, 0.3), (64, 64, 0.5)],
)
def test_compressed_rle_equals_pycocotools(height, width, density):
    for seed in range(5):
        mask = random_mask(seed, height, width, density)
        reference = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert 0 < mask.sum() < mask.size
        assert encode_mask(mask)["counts"] == reference["counts"].decode()
        for counts in (reference["counts"], reference["counts"].decode()):
            decoded = decode_mask({"size": [height, width], "counts": counts}, height, width)
            assert decoded.dtype == bool
            np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks(value):
    mask = np.full((3, 4), value)
    np.testing.assert_array_equal(decode_mask(encode_mask(mask), 3, 4), mask)


def test_long_runs_need_many_characters():
    mask = np.zeros((1000, 1200), dtype=bool)
    mask[999, 1199] = mask[0, 0] = True
    np.testing.assert_array_equal(decode_mask(encode_mask(mask), 1000, 1200), mask)


def test_uncompressed_rle_runs_down_the_columns():
    # 2 x 3 pixels; runs of 1 zero, 2 ones, 3 zeros: pixels (1, 0) and (0, 1).
    decoded = decode_mask({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3)
    np.testing.assert_array_equal(decoded, [[0, 1, 0], [1, 0, 0]])


def test_rle_keeps_a_hole():
    assert DONUT.sum() == 8
    np.testing.assert_array_equal(decode_mask(encode_mask(DONUT), 5, 5), DONUT)


def test_polygons_are_joined():
    left, right = [0, 0, 4, 0, 4, 4, 0, 4], [6, 0, 9, 0, 9, 4, 6, 4]
    mask = decode_mask([left, right], 6, 10)
    np.testing.assert_array_equal(mask, decode_mask([left], 6, 10) | decode_mask([right], 6, 10))
    assert mask.sum() == 16 + 12


def test_compress_turns_counts_into_text():
    rle = {"size": [2, 3], "counts": [1, 2, 3]}
    compressed = compress(rle, 2, 3)
    assert isinstance(compressed["counts"], str)
    np.testing.assert_array_equal(mask_util.decode(compressed), decode_mask(rle, 2, 3))
    polygons = [[0, 0, 2, 0, 2, 2]]
    assert compress(polygons, 2, 3) is polygons


def test_compress_removes_empty_runs():
    """To pycocotools, the empty mask of the runs 8, 0, 4 has a box of four billion pixels."""
    padded = {"size": [3, 4], "counts": "804"}
    assert mask_util.toBbox({**padded, "counts": b"804"}).max() > 12
    compressed = compress(padded, 3, 4)
    assert compressed["counts"] == "<"  # one run of 12
    assert mask_util.toBbox({**compressed, "counts": b"<"}).max() == 0


GOOD = encode_mask(random_mask(0, 8, 8, 0.5))["counts"]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [8, 8], "counts": [60]}, "sum to 60"),
        ({"size": [8, 8], "counts": [10, 100]}, "longer than the image"),
        ({"size": [8, 8], "counts": [70, -6]}, "negative"),
        ({"size": [8, 8], "counts": [2**62, 2**62]}, "longer than the image"),
        ({"size": [8, 8], "counts": [10**30]}, "RLE has the counts"),
        ({"size": [8, 8], "counts": [32.0, 32.0]}, "RLE has the counts"),
        ({"size": [8, 8], "counts": [[64]]}, "RLE has the counts"),
        ({"size": [8, 8], "counts": None}, "RLE has the counts None"),
        ({"size": [8, 8]}, "RLE has the counts None"),
        ({"size": [8, 8], "counts": []}, "sum to 0"),
        ({"size": [8, 8], "counts": ""}, "sum to 0"),
        ({"size": [8, 8], "counts": "\x00\x01"}, "RLE has the counts"),
        ({"size": [8, 8], "counts": "é"}, "RLE has the counts"),
        ({"size": [8, 8], "counts": "o" * 40}, "RLE has the counts"),
        ({"size": [8, 8], "counts": "o" * 40 + "0"}, "RLE has the counts"),
        ({"size": [8, 8], "counts": GOOD[:-3]}, "sum to|RLE has the counts|longer"),
        ({"size": [8, 9], "counts": GOOD}, r"size \[8, 9\]"),
        ({"counts": GOOD}, "size None"),
        ({"size": 8, "counts": GOOD}, "size 8"),
        ({"size": [8, 8], "counts": [True] * 64}, "RLE has the counts"),
        ({"size": [8, 8], "counts": ["64"]}, "RLE has the counts"),
        ({"size": [8, 8], "counts": "P" + "P" * 6 + "0"}, "RLE has the counts"),
        ({"size": [8.0, 8], "counts": GOOD}, r"size \[8.0, 8\]"),
        ({"size": ["8", 8], "counts": GOOD}, "size \\['8', 8"),
        ({"size": [2**20, 2**20], "counts": [2**40]}, "size"),
        ([[0, 0, 5, 0, float("nan"), 5]], "nan"),
        ([[0, 0, 5, 0, 10**400, 5]], "inf"),
        ([[0, 0, 5, 0, True, 5]], "at least three points"),
        ([[0, 0, 5, 0, float("inf"), 5]], "inf"),
        ([[0, 0, 5, 0, 1e9, 5]], "far outside"),
        ([[0, 0, 5, 0, 5]], "at least three points"),
        ([[0, 0, 5, 5]], "at least three points"),
        ([[]], "at least three points"),
        ([0, 0, 5, 0, 5, 5], "at least three points"),
        ([["0", "0", "5", "0", "5", "5"]], "at least three points"),
        ([[[0, 0], [5, 0], [5, 5]]], "at least three points"),
        ("0 0 5 0 5 5", r"segmentation is .* \(str\)"),
        (None, r"segmentation is None \(NoneType\)"),
    ],
)
def test_hostile_segmentations_are_refused(segmentation, message):
    with pytest.raises(DatasetError, match=message):
        decode_mask(segmentation, 8, 8)


def area(points: np.ndarray) -> float:
    """Shoelace formula."""
    x, y = points.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_clipped_polygon_has_the_area_of_what_is_inside():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(0.05, 10, 0.1), np.arange(0.05, 6, 0.1)), -1).reshape(
        -1, 2
    )
    cut = 0
    for _ in range(30):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        star = rng.uniform(1, 7, (9, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1) + [5, 3]
        clipped = clip_polygon(star, 10, 6)
        inside = Outline(star).contains_points(grid).mean() * 60
        assert clipped.min() >= 0 and (clipped <= [10, 6]).all()
        assert area(clipped) == pytest.approx(inside, abs=0.6)
        cut += area(clipped) < area(star) - 1
    assert cut > 10


def test_clipping_leaves_tight_boxes():
    """The triangle of Detectron2's comment: the rest of the box would be too high."""
    triangle = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    clipped = clip_polygon(triangle - [1, 0], 1, 2)
    np.testing.assert_allclose([clipped.min(0), clipped.max(0)], [[0, 0], [1, 1]])


def test_clipping_what_is_inside_or_outside():
    square = np.array([[1.0, 1.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]])
    assert clip_polygon(square, 3, 3) is square
    assert clip_polygon(square + 5, 3, 3).shape == (0, 2)
    assert clip_polygon(np.zeros((0, 2)), 3, 3).shape == (0, 2)


def test_visible_box_ignores_bridges_of_no_width():
    """A C whose upper arm's edge lies on the border: clipping leaves a line along it."""
    c = np.array([[10, 0], [80, 0], [80, 60], [10, 60], [10, 50], [70, 50], [70, 20], [10, 20]])
    shifted = c - np.array([20.0, 20.0])
    assert clip_polygon(shifted, 60, 40).min() == 0
    points, box = visible_part(shifted, 60, 40)
    np.testing.assert_array_equal(box, [0, 0, 60, 40])  # the right bar reaches the top
    points, box = visible_part(shifted, 40, 40)
    assert points[:, 1].min() == 0
    np.testing.assert_array_equal(box, [0, 30, 40, 40])


def test_visible_box_is_exact_where_nothing_is_clipped():
    triangle = np.array([[1.25, 2.5], [4.75, 2.5], [3.0, 5.125]])
    points, box = visible_part(triangle, 6, 6)
    assert points is triangle
    np.testing.assert_array_equal(box, [1.25, 2.5, 4.75, 5.125])


@pytest.mark.parametrize(
    "shift", [(6, 0), (0, 6), (-4, 0), (0, -4), (6, 6), (9, 0)], ids=lambda shift: f"{shift}"
)
def test_what_only_touches_the_border_is_not_visible(shift):
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    assert visible_part(square, 6, 6) is not None
    assert visible_part(square + shift, 6, 6) is None
