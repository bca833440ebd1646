"""Masks in windows are Detectron2's masks, pixel by pixel, and what is made of them is the same."""

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.layers import paste_masks_in_image
from detectron2.modeling import build_model
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torch.nn.functional import interpolate

from model_cases import CASES, make_input, tiny_config
from project.data.mask_windows import MaskWindows
from project.modeling import mask_paste
from project.modeling.mask_paste import WindowedMasks, paste_masks, windowed_masks


def boxes(number: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    corners = torch.rand(number, 2, 2, generator=generator).sort(dim=1).values
    return (corners * torch.tensor(size[::-1])).reshape(number, 4)


def assert_same(masks: Tensor, box: Tensor, size: tuple[int, int]) -> int:
    """Pixels of the masks."""
    expected = paste_masks_in_image(masks, box, size)
    found = paste_masks(masks, box, size)
    assert isinstance(found, MaskWindows)
    assert torch.equal(found.dense(), expected)
    pixels = np.asfortranarray(expected.numpy().transpose(1, 2, 0), dtype=np.uint8)
    assert found.counts() == [rle["counts"] for rle in mask_util.encode(pixels)]
    return int(expected.sum())


@pytest.mark.parametrize("cells", [7, 14, 28, 112])
def test_masks_are_detectron2s_to_the_last_bit(cells):
    generator = torch.Generator().manual_seed(cells)
    pixels = 0
    for number in range(60):
        size = tuple(torch.randint(3, 200, (2,), generator=generator).tolist())
        coarse = torch.rand(4, 1, *([cells] if number % 2 else [3]) * 2, generator=generator)
        masks = interpolate(coarse, size=(cells, cells), mode="bicubic")[:, 0]
        box = boxes(4, size, generator)
        box[0, :2], box[0, 2:] = 0, torch.tensor(size[::-1])
        pixels += assert_same(masks, box, size)
    assert pixels > 50_000


@pytest.mark.parametrize("spread", [0, 1e-7, 1e-5, 1e-3])
def test_likelihoods_about_the_threshold(spread):
    """Where a product and the sampler may differ in their last bits."""
    generator = torch.Generator().manual_seed(0)
    masks = 0.5 + spread * (torch.rand(5, 28, 28, generator=generator) - 0.5)
    size = (90, 120)
    box = boxes(5, size, generator).round()
    box[1] = torch.tensor([10.0, 10, 40, 40])  # a cell's centre lies on a pixel's edge
    assert_same(masks, box, size)


def test_extremes():
    """Values that are no likelihoods, boxes of less than a pixel, of all of it and beyond it."""
    size = (40, 50)
    box = torch.tensor(
        [[0.0, 0, 50, 40], [3.2, 4.1, 3.3, 4.2], [49.5, 39.5, 50, 40], [-30, -30, 90, 90]]
    )
    masks = 1e3 * torch.randn(4, 28, 28, generator=torch.Generator().manual_seed(0))
    assert assert_same(masks, box, size) > 500
    assert_same(torch.zeros(4, 28, 28), box, size)
    assert_same(torch.ones(4, 28, 28), box, size)


def test_in_groups_as_all_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    masks, box = torch.rand(20, 28, 28, generator=generator), boxes(20, (60, 70), generator)
    monkeypatch.setattr(mask_paste, "_CELLS", 900)
    assert assert_same(masks, box, (60, 70)) > 1000


def test_none():
    found = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (9, 8))
    assert len(found) == 0 and found.counts() == [] and found.dense().shape == (0, 9, 8)


@pytest.mark.parametrize("change", ["nan", "double"])
def test_what_is_left_to_detectron2(change):
    masks = torch.rand(2, 28, 28, generator=torch.Generator().manual_seed(0))
    box = torch.tensor([[1.0, 2, 20, 30], [5, 5, 9, 9]])
    masks = masks.double() if change == "double" else masks
    masks[0, 3, 3] = float("nan") if change == "nan" else 0.1
    found = paste_masks(masks, box, (40, 50))
    assert torch.equal(found, paste_masks_in_image(masks, box, (40, 50)))


def test_through_the_postprocessing():
    """Of a smaller image, with a box that is empty there."""
    generator = torch.Generator().manual_seed(0)
    box = boxes(6, (100, 150), generator)
    box[2, 2] = box[2, 0]
    cells = torch.rand(6, 28, 28, generator=generator)
    found = []
    for masks in (cells[:, None], WindowedMasks(cells)):
        given = Instances((100, 150), pred_boxes=Boxes(box.clone()), pred_masks=masks)
        found.append(detector_postprocess(given, 200, 300))
    assert len(found[0]) == len(found[1]) == 5
    assert torch.equal(found[0].pred_masks, found[1].pred_masks.dense())
    kept = torch.tensor([True, False, True, False, True])
    assert found[1].pred_masks[kept].counts() == found[1].pred_masks.counts()[::2]
    assert found[1][1:3].pred_masks.counts() == found[1].pred_masks.counts()[1:3]


def test_a_model_yields_windows_only_where_they_are_asked_for():
    torch.manual_seed(0)
    model = build_model(tiny_config(*CASES["joint"])).eval()
    inputs = [make_input(61, 75), make_input(56, 64)]
    with torch.no_grad():
        plain = model(inputs)
        with windowed_masks(model):
            windowed = model(inputs)
        again = model(inputs)
    assert sum(len(output["instances"]) for output in plain) > 0
    for a, b, c in zip(plain, windowed, again):
        assert isinstance(b["instances"].pred_masks, MaskWindows)
        assert torch.equal(a["instances"].pred_masks, b["instances"].pred_masks.dense())
        assert torch.equal(a["instances"].pred_masks, c["instances"].pred_masks)
        assert torch.equal(a["panoptic_seg"][0], b["panoptic_seg"][0])
        assert a["panoptic_seg"][1] == b["panoptic_seg"][1]
