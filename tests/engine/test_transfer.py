import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from project.engine.transfer import to_device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


def test_a_batch_arrives_whole_and_the_original_stays():
    truth = Instances((8, 9))
    truth.gt_boxes = Boxes(torch.tensor([[1.0, 2, 3, 4]]))
    truth.gt_classes = torch.tensor([3])
    truth.gt_masks = PolygonMasks([[[1.0, 1, 5, 1, 5, 5]]])
    pixels = Instances((8, 9), gt_masks=BitMasks(torch.ones(1, 8, 9, dtype=torch.bool)))
    image = {"image": torch.rand(3, 8, 9).pin_memory(), "instances": truth, "file_name": "a.png"}
    batch = [image, {**image, "instances": pixels}]
    moved, other = to_device(batch, torch.device("cuda"))
    assert moved["file_name"] == "a.png" and moved["image"].is_cuda
    assert torch.equal(moved["image"].cpu(), image["image"])
    own = moved["instances"]
    assert own.image_size == (8, 9) and own.gt_boxes.tensor.is_cuda and own.gt_classes.is_cuda
    assert own.gt_boxes.tensor.tolist() == [[1, 2, 3, 4]] and own.gt_classes.tolist() == [3]
    assert own.gt_masks is truth.gt_masks
    assert other["instances"].gt_masks.tensor.is_cuda
    assert not truth.gt_boxes.tensor.is_cuda and not image["image"].is_cuda
