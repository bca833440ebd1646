"""Objects as maps of numbers, there and back."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from dense_scenes import touching_discs
from project.errors import DatasetError
from project.modeling.object_maps import judge_objects, number_objects, to_instances

NUMBERS = torch.from_numpy(touching_discs())


def truth(masks: torch.Tensor) -> Instances:
    instances = Instances(tuple(masks.shape[1:]))
    instances.gt_masks = BitMasks(masks)
    instances.gt_classes = torch.zeros(len(masks), dtype=torch.int64)
    return instances


def test_masks_become_numbers():
    masks = torch.stack([number == NUMBERS for number in (3, 1, 4, 2)])
    found = number_objects(truth(masks))
    assert found.dtype == torch.int64
    for number, mask in enumerate(masks, start=1):
        assert torch.equal(found == number, mask)


def test_the_smaller_object_is_seen():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 2:4, 2:4] = True
    masks[1, 1:5, 1:7] = True
    for order in ([0, 1], [1, 0]):
        found = number_objects(truth(masks[order]))
        assert found[2, 2] == order.index(0) + 1
        assert found[1, 1] == order.index(1) + 1


def test_polygons_as_pixels():
    instances = Instances((10, 12))
    instances.gt_classes = torch.tensor([0])
    square = [2.0, 3.0, 8.0, 3.0, 8.0, 9.0, 2.0, 9.0]
    instances.gt_masks = PolygonMasks([[np.array(square)]])
    expected = torch.zeros(10, 12, dtype=torch.int64)
    expected[3:9, 2:8] = 1
    assert torch.equal(number_objects(instances), expected)


def test_no_object_and_objects_of_boxes_only():
    assert not number_objects(truth(torch.zeros(0, 4, 5, dtype=torch.bool))).any()
    instances = Instances((4, 5))
    instances.gt_classes = torch.tensor([0])
    instances.gt_boxes = Boxes([[0, 0, 2, 2]])
    with pytest.raises(DatasetError, match="boxes only"):
        number_objects(instances)


def test_class_and_score_by_hand():
    """Two stuff classes, two things; object 2 has no pixel."""
    numbers = torch.tensor([[1, 1, 0, 3]])
    probs = torch.tensor(
        [[[0.1, 0.1, 1.0, 0.1]], [[0.0, 0.1, 0.0, 0.1]], [[0.9, 0.2, 0, 0.3]], [[0, 0.6, 0, 0.5]]]
    )
    classes, scores = judge_objects(numbers, 3, probs, num_stuff=2)
    assert classes[[0, 2]].tolist() == [0, 1]
    assert torch.allclose(scores, torch.tensor([(0.9 + 0.2) / 2, 0.0, 0.5]))
    assert judge_objects(torch.zeros_like(numbers), 0, probs, 2)[1].shape == (0,)


def test_instances_by_falling_score_without_those_of_no_pixel():
    scores = torch.tensor([0.2, 0.9, 0.5, 0.7, 0.95])
    classes = torch.tensor([4, 3, 2, 1, 0])
    found = to_instances(NUMBERS, classes, scores, (40, 60), most=3)  # number 5 has no pixel
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.7, 0.5]))
    assert found.pred_classes.tolist() == [3, 1, 2]
    assert torch.equal(found.pred_masks[1], NUMBERS == 4)
    assert found.pred_boxes.tensor[2].tolist() == [41, 25, 52, 36]


def test_instances_at_another_size_stay_disjoint():
    found = to_instances(NUMBERS, torch.arange(4), torch.ones(4), (20, 45), most=9)
    assert found.image_size == (20, 45) and found.pred_masks.shape == (4, 20, 45)
    assert found.pred_masks.sum(dim=0).max() == 1
    small = found.pred_masks.flatten(1).sum(dim=1).float()
    full = NUMBERS.flatten().bincount()[1:].float()
    assert torch.allclose(small, full * (20 / 40) * (45 / 60), rtol=0.15)
