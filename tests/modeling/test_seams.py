"""The rules by which objects of several tiles are joined, on hand-made detections."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from project.modeling.seams import merge_seams
from project.modeling.tiles import Tile

LEFT, RIGHT = Tile(0, 0, 100, 100), Tile(0, 60, 100, 160)  # an overlap of 40 pixels
SIZE = (100, 160)


def found(tile: Tile, *objects: tuple[tuple[int, int, int, int], float, int], masks: bool = True):
    """Detections of a tile: (box x0, y0, x1, y1 in the image, score, class), masks are boxes."""
    height, width = tile.size
    result = Instances((height, width))
    boxes = torch.tensor([box for box, _, _ in objects], dtype=torch.float32).reshape(-1, 4)
    boxes = boxes - torch.tensor([tile.left, tile.top] * 2)
    result.pred_boxes = Boxes(boxes)
    result.scores = torch.tensor([score for _, score, _ in objects])
    result.pred_classes = torch.tensor([label for _, _, label in objects], dtype=torch.long)
    if masks:
        result.pred_masks = torch.zeros(len(objects), height, width, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(result.pred_masks, boxes.int().tolist()):
            mask[y0:y1, x0:x1] = True
    return result


def merged(left, right, masks: bool = True):
    """[(box, score, class)] of what is left of the detections of both tiles."""
    tiles = [found(LEFT, *left, masks=masks), found(RIGHT, *right, masks=masks)]
    result = merge_seams(tiles, [LEFT, RIGHT], SIZE)
    assert result.has("pred_masks") == masks
    if masks:
        areas = torch.tensor([crop.area for crop in result.pred_masks.crops])
        assert torch.equal(areas.float(), result.pred_boxes.area())
    rows = zip(result.pred_boxes.tensor.int().tolist(), result.scores.tolist(), result.pred_classes)
    return [(tuple(box), pytest.approx(score), int(label)) for box, score, label in rows]


@pytest.mark.parametrize("masks", [True, False])
def test_an_object_seen_whole_twice_stays_where_more_of_its_surroundings_is_seen(masks):
    # 22 pixels from the right border of LEFT, 8 from the left border of RIGHT.
    seen = (68, 20, 78, 40)
    assert merged([(seen, 0.7, 1)], [((69, 20, 78, 40), 0.9, 1)], masks) == [(seen, 0.7, 1)]


def test_of_another_class_both_stay():
    seen = (75, 20, 85, 40)
    assert len(merged([(seen, 0.7, 1)], [(seen, 0.9, 0)])) == 2


def test_a_cut_object_goes_where_the_neighbour_has_it_whole():
    whole, part = (70, 20, 120, 40), (70, 20, 100, 40)
    assert merged([(part, 0.9, 0)], [(whole, 0.8, 1)]) == [(whole, 0.8, 1)]
    # Unless that is hardly sure of it: then they are taken for parts of one object.
    kept = merged([(part, 0.9, 0)], [(whole, 0.3, 1)])
    assert kept == [(whole, 0.9 * 600 / 1600, 0)]


def test_parts_of_an_object_that_no_tile_sees_whole_are_joined():
    """Of 2400 and 4000 pixels; the score is the mean by area over the parts of the class."""
    left, right = ((40, 10, 100, 50), 0.8, 1), ((60, 10, 160, 50), 0.6, 1)
    ((box, score, label),) = merged([left], [right])
    assert (box, label) == ((40, 10, 160, 50), 1)
    assert score == pytest.approx((0.8 * 2400 + 0.6 * 4000) / 6400)


def test_parts_of_one_class_find_each_other_first():
    a, b = (30, 10, 100, 50), (60, 10, 130, 50)
    kept = merged([(a, 0.9, 0), (a, 0.2, 1)], [(b, 0.8, 1), (b, 0.3, 0)])
    assert kept == [((30, 10, 130, 50), 0.6, 0), ((30, 10, 130, 50), 0.5, 1)]


def test_parts_of_two_classes_become_the_likelier():
    a, b = (20, 10, 100, 50), (60, 10, 130, 50)  # 3200 and 2800 pixels
    ((box, score, label),) = merged([(a, 0.5, 0)], [(b, 0.9, 1)])
    assert (box, label) == ((20, 10, 130, 50), 1)
    assert score == pytest.approx(0.9 * 2800 / 6000)


def test_neighbours_that_do_not_agree_stay_apart():
    above, below = (30, 10, 100, 30), (60, 32, 130, 52)
    assert len(merged([(above, 0.9, 0)], [(below, 0.9, 0)])) == 2


def test_nothing_found():
    assert merged([], []) == []
    assert merged([((10, 10, 20, 20), 0.5, 0)], []) == [((10, 10, 20, 20), 0.5, 0)]
