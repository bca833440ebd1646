import numpy as np
import pytest

from project.data.masks import decode_mask
from project.data.writers.outlines import trace


def filled(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What pycocotools makes of it."""
    return decode_mask([outline.ravel().tolist()], *shape)


def test_square_is_its_pixels_edges():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2:5, 3:7] = True
    outline, seams = trace(mask)
    assert seams == 0
    assert {tuple(p) for p in outline.tolist()} == {(3, 2), (7, 2), (7, 5), (3, 5)}
    assert len(outline) == 4


def test_ring_becomes_one_outline_with_a_seam():
    mask = np.ones((9, 9), dtype=bool)
    mask[3:6, 3:6] = False
    outline, seams = trace(mask)
    assert seams == 1
    assert len(outline) == 4 + 4 + 2  # two squares, and the seam's two ends once more
    np.testing.assert_array_equal(filled(outline, mask.shape), mask)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_noise_survives_exactly(density: float):
    """Parts, holes, holes in parts in holes, touching corners, pixels on all borders."""
    rng = np.random.default_rng(3)
    seams_seen = 0
    for _ in range(60):
        mask = rng.random(rng.integers(1, 24, 2)) < density
        if mask.any():
            outline, seams = trace(mask)
            seams_seen += seams
            np.testing.assert_array_equal(filled(outline, mask.shape), mask)
    assert seams_seen > 20


def test_many_parts_take_no_long_time():
    mask = np.random.default_rng(0).random((200, 300)) < 0.4
    outline, seams = trace(mask)
    assert seams > 2000
    np.testing.assert_array_equal(filled(outline, mask.shape), mask)
