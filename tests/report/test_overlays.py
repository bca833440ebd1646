"""Pixels of overlays against values worked out by hand."""

import numpy as np
import pytest

from project.report.captions import Caption, draw_captions
from project.report.overlays import draw_instances, draw_panoptic, draw_semantic, edge

RED, BLUE = (200, 0, 0), (0, 0, 100)
COLOURS = np.array([RED, BLUE], np.uint8)


def blended(pixel: tuple[int, int, int], colour: tuple[int, int, int]) -> list[int]:
    """0.4 of the pixel's grey and 0.6 of the colour."""
    return [round(0.4 * sum(pixel) / 3 + 0.6 * c) for c in colour]


@pytest.fixture
def image() -> np.ndarray:
    return np.full((200, 200, 3), (30, 60, 90), np.uint8)


@pytest.fixture
def ring() -> np.ndarray:
    """A square of 60 x 60 pixels with a hole of 20 x 20."""
    mask = np.zeros((200, 200), bool)
    mask[70:130, 70:130] = True
    mask[90:110, 90:110] = False
    return mask


def test_edge_of_a_mask_lies_inside_it_and_around_its_hole(ring):
    found = edge(ring, 1)
    assert not (found & ~ring).any()
    assert found[70, 100] and found[89, 100] and not found[80, 80]
    # Outer border of 60 x 60, and the border of 22 x 22 around the hole.
    assert found.sum() == 4 * 59 + 4 * 21


def test_edge_where_the_image_cuts_an_object():
    assert edge(np.ones((9, 9), bool), 1).sum() == 4 * 8


def test_masked_pixels_are_blended_and_holes_stay(image, ring):
    picture = draw_instances(image, ring[None], np.array([0]), np.array([0.9]), ["ring"], COLOURS)
    assert picture[80, 80].tolist() == blended((30, 60, 90), RED)
    assert picture[100, 100].tolist() == [30, 60, 90]
    assert picture[70, 100].tolist() == [round(0.55 * c + 0.45 * 255) for c in RED]
    assert (image == (30, 60, 90)).all(), "the image itself stays as it is"


def test_small_objects_lie_over_large_ones(image):
    large, small = np.zeros((2, 200, 200), bool)
    large[20:180, 20:180] = True
    small[80:120, 80:120] = True
    for order in ([large, small], [small, large]):
        classes = np.array([0 if mask is large else 1 for mask in order])
        picture = draw_instances(image, np.array(order), classes, None, ["large", "small"], COLOURS)
        over = blended(tuple(blended((30, 60, 90), RED)), BLUE)
        assert picture[100, 100].tolist() == over


def test_a_name_stands_beside_its_object(image, ring):
    picture = draw_instances(image, ring[None], np.array([0]), None, ["ring"], COLOURS)
    changed = (picture != image).any(axis=2)
    assert (changed & ~ring).any(), "no name was written"
    np.testing.assert_array_equal(
        picture[ring & ~edge(ring, 1)],
        np.broadcast_to(blended((30, 60, 90), RED), (np.sum(ring & ~edge(ring, 1)), 3)),
    )


def test_no_objects_leave_the_image(image):
    none = np.zeros((0, 200, 200), bool)
    picture = draw_instances(image, none, np.zeros(0, int), np.zeros(0), [], COLOURS)
    np.testing.assert_array_equal(picture, image)


def test_boxes_are_framed(image, ring):
    boxes = np.array([[70.0, 70.0, 130.0, 130.0]])
    picture = draw_instances(image, ring[None], np.array([1]), None, ["a", "ring"], COLOURS, boxes)
    assert picture[70, 70].tolist() == list(BLUE) and picture[129, 129].tolist() == list(BLUE)


def test_names_never_cover_each_other():
    boxes = [(10, 40, 30, 60), (12, 40, 32, 60), (14, 40, 34, 60)]
    image = np.zeros((100, 300, 3), np.uint8)
    captions = [Caption("a long name", (0, 255, 0), box) for box in boxes]
    one_by_one = [draw_captions(image, [c], np.zeros((100, 300), bool)) for c in captions]
    plate = (one_by_one[0] != image).any(axis=2).sum()
    together = draw_captions(image, captions, np.zeros((100, 300), bool))
    assert plate > 0
    assert (together != image).any(axis=2).sum() == pytest.approx(3 * plate, rel=0.05)


def test_a_crowded_picture_has_no_names():
    image = np.zeros((100, 100, 3), np.uint8)
    captions = [Caption("x", (0, 255, 0), (5, 5, 9, 9))] * 31
    np.testing.assert_array_equal(draw_captions(image, captions, np.zeros((100, 100), bool)), image)


def test_an_empty_name_is_not_written(image, ring):
    named = draw_instances(image, ring[None], np.array([0]), None, ["ring"], COLOURS)
    unnamed = draw_instances(image, ring[None], np.array([0]), None, [""], COLOURS)
    assert (named != image)[~ring].any()
    np.testing.assert_array_equal(unnamed[~ring], image[~ring])


def test_semantic_map_has_class_colours_and_stripes_where_ignored(image):
    ids = np.zeros((200, 200), np.uint8)
    ids[:, 100:] = 1
    ids[150:] = 255
    picture = draw_semantic(image, ids, COLOURS, ignore=255)
    assert picture[10, 10].tolist() == blended((30, 60, 90), RED)
    assert picture[10, 150].tolist() == blended((30, 60, 90), BLUE)
    ignored = np.unique(picture[150:].reshape(-1, 3), axis=0).tolist()
    assert ignored == [[30, 60, 90], [128, 128, 128]]  # 0.25 * 60 + 0.75 * 150 = 127.5, to even


def test_panoptic_segments_have_class_colours_and_void_is_striped(image, ring):
    ids = np.where(ring, 2, 1)
    ids[:20] = 0
    segments = [
        {"id": 1, "semantic_id": 1, "isthing": False, "iscrowd": 0, "area": 1},
        {"id": 2, "semantic_id": 0, "isthing": True, "iscrowd": 0, "area": 1},
    ]
    picture = draw_panoptic(image, ids, segments, ["ring", "ground"], COLOURS)
    assert picture[190, 190].tolist() == blended((30, 60, 90), BLUE)
    assert picture[80, 80].tolist() == blended((30, 60, 90), RED)
    assert picture[100, 100].tolist() == blended((30, 60, 90), BLUE), "the hole is ground"
    assert [30, 60, 90] in picture[:20].reshape(-1, 3).tolist()
