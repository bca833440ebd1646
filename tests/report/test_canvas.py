"""Sizes of pictures and what enlarging and reducing does to them."""

import cv2
import numpy as np
import pytest

from project.report.canvas import (
    display_scale,
    encode,
    scale_image,
    scale_labels,
    side_by_side,
    stack,
)


@pytest.mark.parametrize(
    ("size", "scale"),
    [((64, 64), 6.0), ((100, 30), 4.0), ((360, 200), 1.0), ((720, 500), 1.0), ((500, 1440), 0.5)],
)
def test_scale_makes_a_picture_legible(size, scale):
    assert display_scale(size) == scale


def test_large_pictures_stay_where_no_limit_is_set():
    assert display_scale((3000, 2000), largest=None) == 1.0


def test_enlarged_pixels_are_squares():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = scale_image(image, 3.0)
    np.testing.assert_array_equal(large, image.repeat(3, axis=0).repeat(3, axis=1))


def test_labels_are_never_mixed():
    labels = np.random.default_rng(0).choice([0, 7, 255], (90, 70)).astype(np.uint8)
    small = scale_labels(labels, 0.4)
    assert small.shape == (36, 28)
    assert set(np.unique(small)) == {0, 7, 255}


def test_rows_and_columns_of_pictures():
    a, b = np.zeros((4, 3, 3), np.uint8), np.ones((2, 5, 3), np.uint8)
    row = side_by_side([a, b], gap=2)
    assert row.shape == (4, 10, 3)
    assert (row[:, :3] == 0).all() and (row[:2, 5:] == 1).all() and (row[2:, 5:] == 255).all()
    assert stack([a, b], gap=1).shape == (7, 5, 3)


def test_png_keeps_every_pixel_in_rgb():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode(image, ".png"), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[:, :, ::-1], image)
