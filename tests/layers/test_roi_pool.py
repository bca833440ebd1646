"""RoIPool against a loop over bins, and what it does to edges."""

import math

import pytest
import torch

from project.layers.roi_align import RoIAlign
from project.layers.roi_pool import RoIPool


def pool_one(feature: torch.Tensor, box: list[float], bins: int, scale: float) -> torch.Tensor:
    """The largest value in each bin of one box, cell by cell, as in Fast R-CNN."""
    left, top, right, bottom = (math.floor(v * scale + 0.5) for v in box)
    height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
    pooled = torch.zeros(bins, bins)
    for i in range(bins):
        for j in range(bins):
            rows = top + math.floor(i * height / bins), top + math.ceil((i + 1) * height / bins)
            columns = left + math.floor(j * width / bins), left + math.ceil((j + 1) * width / bins)
            cells = feature[slice(*rows), slice(*columns)]
            pooled[i, j] = cells.max() if cells.numel() else 0
    return pooled


def test_is_the_largest_value_of_each_bin():
    feature = torch.randn(12, 15, generator=torch.Generator().manual_seed(0))
    boxes = [[3.0, 5.0, 31.0, 42.0], [10.3, 8.9, 55.2, 30.1]]
    rois = torch.tensor([[0.0, *box] for box in boxes])
    found = RoIPool((3, 3), 0.25)(feature[None, None], rois)[:, 0]
    expected = torch.stack([pool_one(feature, box, 3, 0.25) for box in boxes])
    assert expected.unique().numel() > 10
    assert torch.equal(found, expected)


def test_does_not_see_a_shift_that_roi_align_sees():
    feature = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0.0, 8.0, 8.0, 32.0, 32.0], [0.0, 9.5, 9.5, 33.5, 33.5]])
    a, b = RoIPool((3, 3), 0.25)(feature, rois)
    assert torch.equal(a, b)
    a, b = RoIAlign((3, 3), 0.25, 2)(feature, rois)
    assert (a - b).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_keeps_the_type_of_features(dtype):
    features = torch.randn(1, 2, 8, 8).to(dtype).requires_grad_()
    rois = torch.tensor([[0.0, 1.0, 1.0, 20.0, 20.0]])
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        pooled = RoIPool((3, 3), 0.25)(features, rois)
    pooled.float().sum().backward()
    assert pooled.dtype == dtype and features.grad.abs().sum() > 0
