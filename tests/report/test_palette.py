"""Class colours: stable, distinct, also for colour-blind eyes."""

import cv2
import numpy as np

from project.data.categories import Categories
from project.report.palette import BACKGROUND, class_colours, palette

# Vienot, Brettel & Mollon (1999), deuteranopia on linear RGB: another model than the palette's own.
DEUTERANOPIA = np.array(
    [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
)


def smallest_distance(colours: np.ndarray) -> float:
    """Smallest CIELAB distance between two of (n, 3) RGB colours in 0..1."""
    lab = cv2.cvtColor(colours.astype(np.float32)[None], cv2.COLOR_RGB2Lab)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return distances[~np.eye(len(lab), dtype=bool)].min()


def test_a_colour_does_not_depend_on_how_many_there_are():
    assert palette(3).shape == (3, 3) and palette(3).dtype == np.uint8
    np.testing.assert_array_equal(palette(3), palette(255)[:3])
    assert len(palette(0)) == 0


def test_all_colours_differ_and_repeat_only_beyond_255():
    assert len(np.unique(palette(255), axis=0)) == 255
    np.testing.assert_array_equal(palette(256)[255], palette(1)[0])


def test_first_colours_are_apart_for_all_eyes():
    colours = palette(10) / 255
    assert smallest_distance(colours) > 20
    seen = np.clip((colours**2.2) @ DEUTERANOPIA.T, 0, 1) ** (1 / 2.2)
    assert smallest_distance(seen) > 8


def test_background_is_grey_and_takes_no_colour():
    colours = class_colours(Categories(things=("a", "b"), stuff=("Background", "sky")))
    np.testing.assert_array_equal(colours[0], BACKGROUND)
    np.testing.assert_array_equal(colours[1:], palette(3))
