"""Rand scores against scikit-image, a sum over all pairs of pixels, and hand values."""

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error

from project.evaluation.rand import image_rand_scores, rand_scores, segments


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, 4, (4, 4)), np.ones((3, 3), dtype=int))
    wrong = rng.random(truth.shape) < 0.3
    return truth, np.where(wrong, rng.integers(0, 4, truth.shape), truth)


def test_error_is_scikit_images(maps):
    truth, prediction = maps
    expected, _, _ = adapted_rand_error(truth, prediction, ignore_labels=(0,))
    assert 0.1 < expected < 0.9
    assert rand_scores(truth, prediction)[1] == pytest.approx(100 * expected, abs=1e-9)


def test_v_rand_is_the_sum_over_pairs_of_pixels(maps):
    """V = 2 P(same in both) / (P(same in truth) + P(same in prediction)) of two pixels drawn."""
    truth, prediction = (m[maps[0] > 0].ravel() for m in maps)
    # Pixels of no predicted segment are segments of their own.
    prediction = np.where(prediction > 0, prediction, -1 - np.arange(len(prediction)))
    same = [m[:, None] == m for m in (truth, prediction)]
    expected = 2 * (same[0] & same[1]).sum() / (same[0].sum() + same[1].sum())
    assert 0.1 < expected < 0.9
    assert rand_scores(*maps)[0] == pytest.approx(100 * expected, abs=1e-9)


def test_merged_and_split_segments_by_hand():
    """Two cells of 2 and 1 pixels; found as one: 2 * (4 + 1) / (4 + 1 + 9)."""
    truth, joined = np.array([[1, 1, 2]]), np.array([[1, 1, 1]])
    assert rand_scores(truth, joined)[0] == pytest.approx(100 * 10 / 14)
    assert rand_scores(joined, truth)[0] == pytest.approx(100 * 10 / 14)
    assert rand_scores(truth, truth) == (100, 0)
    # Nothing found: each pixel for itself, 2 * 3 / (5 + 3).
    assert rand_scores(truth, np.zeros_like(truth))[0] == pytest.approx(100 * 6 / 8)


def test_without_foreground_there_is_no_score():
    assert np.isnan(rand_scores(np.zeros((2, 2), int), np.ones((2, 2), int))).all()


def test_segments_are_parted_by_a_diagonal_line_of_one_pixel():
    labels = np.ones((6, 6), dtype=np.uint8)
    np.fill_diagonal(labels, 0)
    assert segments(labels, 1).max() == 2
    labels[0, 0] = 255  # ignored: neither foreground nor anything else
    merged = np.ones((6, 6), dtype=np.uint8)
    score, error = image_rand_scores(labels, merged, 1)
    assert score == pytest.approx(100 * 2 * 2 * 15**2 / (2 * 15**2 + 30**2))
    assert error > 0
