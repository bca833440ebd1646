"""Outlines that cross themselves, against a search edge by edge and hand values."""

import numpy as np
import pytest

from project.data.checks.object_shapes import worst_crossing
from project.data.writers.outlines import trace


def crossings(points: list[list[float]]) -> bool:
    """Whether two edges cross, pair by pair."""

    def side(a: list[float], b: list[float], c: list[float]) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    edges = list(zip(points, points[1:] + points[:1]))
    edges = [(a, b) for a, b in edges if (b, a) not in edges]  # without seams
    return any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for a, b in edges
        for c, d in edges
    )


def test_crossings_are_those_of_a_search_edge_by_edge():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        points = rng.integers(0, 12, (rng.integers(4, 8), 2)).astype(float)
        found.append(worst_crossing(points) is not None)
        assert found[-1] == crossings(points.tolist())
    assert 30 < sum(found) < 190


@pytest.mark.parametrize(
    ("points", "share", "where"),
    [
        ([(0, 0), (10, 10), (10, 0), (0, 10)], 1.0, (5, 5)),  # triangles of 25 and 25
        # A square of 11 x 20 below y 0, and one of 9 x 10 above it.
        ([(0, 0), (20, 0), (20, 20), (9, 20), (9, -10), (0, -10)], 90 / 220, (9, 0)),
    ],
)
def test_loops_by_hand(points, share, where):
    found, place = worst_crossing(np.array(points, dtype=float))
    assert found == pytest.approx(share)
    np.testing.assert_allclose(place, where)


def test_seams_cross_nothing_but_the_rest_does():
    """Two holes joined to the border by seams, of which one leads through the other hole."""
    border = [(0, 0), (30, 0), (30, 30), (0, 30), (0, 0)]
    near = [(5, 5), (5, 12), (12, 12), (12, 5), (5, 5), (0, 0)]
    far = [(15, 15), (15, 20), (20, 20), (20, 15), (15, 15), (0, 0)]
    outline = np.array(border + near + far[:-1], dtype=float)
    assert crossings(outline.tolist()) is False
    assert worst_crossing(outline) is None
    far[1], far[2] = far[2], far[1]  # a bow-tie
    share, where = worst_crossing(np.array(border + near + far[:-1], dtype=float)) or (0, None)
    assert share > 0
    np.testing.assert_allclose(where, (17.5, 17.5))


def test_what_the_yolo_writer_traces_does_not_cross():
    """Noise of holes and parts; seams lead through other parts, where the search finds them."""
    rng = np.random.default_rng(1)
    seamed = 0
    for _ in range(40):
        outline, seams = trace(rng.random((12, 14)) < 0.6)
        seamed += seams > 2
        assert worst_crossing(outline) is None
    assert seamed > 20


def test_a_hole_reached_through_a_slit_does_not_cross():
    ring = [(0, 0), (20, 0), (20, 20), (0, 20), (0, 0), (5, 5), (5, 15), (15, 15), (15, 5), (5, 5)]
    assert worst_crossing(np.array(ring, dtype=float)) is None
