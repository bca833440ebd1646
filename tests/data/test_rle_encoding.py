"""Codes of many masks at once are pycocotools' codes, byte by byte."""

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest

from project.data.rle_encoding import encode_masks, encode_windows


def expected(masks: np.ndarray) -> list[bytes]:
    pixels = np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)
    return [rle["counts"] for rle in mask_util.encode(pixels)]


def test_random_masks():
    """Of all densities, with and without empty ones, and some of one row or column."""
    rng, runs = np.random.default_rng(0), 0
    for _ in range(300):
        number, height, width = rng.integers(1, [7, 40, 40])
        masks = rng.random((number, height, width)) < rng.choice([0.01, 0.5, 0.99])
        masks[:, : rng.integers(0, height + 1)] &= rng.random() < 0.5
        masks[rng.random(number) < 0.1] = False
        masks[rng.random(number) < 0.1] = True
        codes = expected(masks)
        assert encode_masks(masks) == codes
        runs += sum(map(len, codes))
    assert runs > 50_000


@pytest.mark.parametrize("pixels", [[], [(0, 0)], [(-1, -1)], [(0, -1), (-1, 0)], [(3, 5), (4, 5)]])
def test_single_pixels_of_a_large_image(pixels):
    """Runs of more than 2**20 pixels, which take five characters."""
    masks = np.zeros((2, 1500, 1400), dtype=bool)
    for pixel in pixels:
        masks[1][pixel] = True
    assert encode_masks(masks) == expected(masks)


def test_smooth_masks():
    """Whole columns, which run on into the next, among them."""
    masks = np.zeros((40, 60, 80), dtype=bool)
    rng = np.random.default_rng(0)
    for mask in masks:
        centre, axes = rng.integers(0, 80, 2).tolist(), rng.integers(1, 80, 2).tolist()
        mask[:] = cv2.ellipse(mask.astype(np.uint8), centre, axes, 0, 0, 360, 1, -1)
    assert masks.all(axis=1).any(), "no whole column"
    assert encode_masks(masks) == expected(masks)


def test_no_masks_and_no_pixels():
    assert encode_masks(np.zeros((0, 5, 6), dtype=bool)) == []
    assert encode_windows([], [], (5, 6)) == []
    empty = np.zeros((3, 5, 6), dtype=bool)
    assert encode_masks(empty) == expected(empty)


def test_windows_with_empty_borders():
    masks = np.zeros((2, 20, 30), dtype=bool)
    masks[0, 4:7, 9:12] = masks[1, 2:20, 3:5] = True
    windows = [masks[0, 2:9, 8:15].T, masks[1, 1:20, 3:6].T]
    assert encode_windows(windows, [(2, 8), (1, 3)], (20, 30)) == expected(masks)
