"""Centres, heatmaps and offsets against loops and scipy."""

import numpy as np
import torch
from scipy import ndimage

from dense_scenes import same_objects, touching_discs
from project.modeling.centres import (
    assign_pixels,
    centres_of_mass,
    find_centres,
    heatmap_target,
    offset_targets,
)

NUMBERS = torch.from_numpy(touching_discs())


def test_centres_against_scipy():
    expected = ndimage.center_of_mass(NUMBERS.numpy() > 0, NUMBERS.numpy(), range(1, 5))
    assert np.allclose(centres_of_mass(NUMBERS)[1:], expected, atol=1e-4)


def test_offsets_lead_to_the_centre():
    centres = centres_of_mass(NUMBERS)
    ways = offset_targets(NUMBERS, centres)
    for row, column in [(14, 15), (15, 36), (30, 44), (0, 0)]:
        number = int(NUMBERS[row, column])
        expected = centres[number] - torch.tensor([row, column]) if number else torch.zeros(2)
        assert torch.allclose(ways[:, row, column], expected)
    assert (ways[:, NUMBERS == 0] == 0).all()


def test_heatmap_against_the_formula_everywhere():
    """The largest over objects of exp(-d^2 / 2 sigma^2), d to the centre; 0 beyond 3 sigma."""
    sigma, centres = 2.0, centres_of_mass(NUMBERS)
    found = heatmap_target(NUMBERS, centres, sigma)
    rows, columns = np.mgrid[:40, :60]
    expected = np.zeros((40, 60))
    for row, column in centres[1:].round().tolist():
        near = (abs(rows - row) <= 6) & (abs(columns - column) <= 6)
        fall = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
        expected = np.maximum(expected, fall * near)
    assert expected[39].max() > 0.1  # an object at the edge
    assert np.allclose(found, expected, atol=1e-6)


def test_numbers_without_pixels_leave_no_trace():
    gaps = torch.where(NUMBERS == 2, 0, NUMBERS)
    heat = heatmap_target(gaps, centres_of_mass(gaps), 2.0)
    assert (heat == 1).sum() == 3
    nothing = torch.zeros(5, 6, dtype=torch.int64)
    assert not heatmap_target(nothing, centres_of_mass(nothing), 2.0).any()
    assert not offset_targets(nothing, centres_of_mass(nothing)).any()


def test_peaks_by_hand():
    heat = torch.zeros(9, 12)
    heat[2, 2], heat[2, 4], heat[7, 10], heat[0, 11] = 0.9, 0.8, 0.5, 0.05
    places, heights = find_centres(heat, threshold=0.1, window=3, most=10)
    assert places.tolist() == [[2, 2], [2, 4], [7, 10]]
    assert torch.allclose(heights, torch.tensor([0.9, 0.8, 0.5]))
    assert find_centres(heat, threshold=0.1, window=5, most=10)[0].tolist() == [[2, 2], [7, 10]]
    assert find_centres(heat, threshold=0.1, window=3, most=1)[0].tolist() == [[2, 2]]
    assert not len(find_centres(torch.zeros(9, 12), threshold=0.0, window=3, most=9)[0])


def test_pixels_go_to_the_nearest_centre():
    """Without offsets a Voronoi diagram, inside only; against all distances in NumPy."""
    centres = torch.tensor([[5, 5], [30, 50], [20, 10]])
    inside = torch.rand(40, 60, generator=torch.Generator().manual_seed(0)) < 0.7
    found = assign_pixels(centres, torch.zeros(2, 40, 60), inside).numpy()
    places = np.stack(np.mgrid[:40, :60], axis=-1)[:, :, None]
    distances = ((places - centres.numpy()) ** 2).sum(axis=-1)
    nearest = np.sort(distances, axis=2)
    clear = (nearest[..., 0] < nearest[..., 1]) & inside.numpy()
    assert np.array_equal(found[clear], distances.argmin(axis=2)[clear] + 1)
    assert not found[~inside.numpy()].any()
    nowhere = assign_pixels(centres[:0], torch.zeros(2, 40, 60), inside)
    assert nowhere.shape == (40, 60) and not nowhere.any()


def test_perfect_maps_give_the_objects_back():
    centres = centres_of_mass(NUMBERS)
    heat = heatmap_target(NUMBERS, centres, 2.0)
    places, heights = find_centres(heat, threshold=0.5, window=7, most=100)
    assert heights.tolist() == [1.0] * 4
    found = assign_pixels(places, offset_targets(NUMBERS, centres), NUMBERS > 0)
    assert same_objects(found.numpy(), NUMBERS.numpy())
