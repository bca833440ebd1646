"""Losses of instance masks against hand values and independent implementations."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from project.layers.mask_losses import boundary_targets, mask_bce, mask_dice, mask_ious


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4, 6, 6) and targets: a blob, a full mask, an empty one and a random one."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 6, 6, generator=generator)
    targets = torch.zeros(4, 6, 6)
    targets[0, 1:5, 2:6] = 1
    targets[1] = 1
    targets[3] = (torch.rand(6, 6, generator=generator) < 0.5).float()
    return logits, targets


def test_bce_by_hand():
    """Of p = 3/4 for a true and a false cell: (ln 4/3 + ln 4) / 2."""
    loss = mask_bce(torch.full((1, 1, 2), math.log(3)), torch.tensor([[[1.0, 0.0]]]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, abs=1e-6)


def test_dice_by_hand():
    """Of p = (1/2, 1/2), y = (1, 0): dice = (2 * 1/2 + 1) / (1/4 + 1/4 + 1 + 1) = 0.8."""
    loss = mask_dice(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]))
    assert loss.item() == pytest.approx(1 - 0.8, abs=1e-6)


def test_dice_is_the_formula_of_each_mask(case):
    logits, targets = case
    losses = []
    for z, y in zip(logits.double().numpy(), targets.double().numpy()):
        p = 1 / (1 + np.exp(-z))
        losses.append(1 - (2 * (p * y).sum() + 1) / ((p**2).sum() + (y**2).sum() + 1))
    assert np.std(losses) > 0.1  # the masks differ
    assert mask_dice(logits, targets).item() == pytest.approx(np.mean(losses), abs=1e-6)


@pytest.mark.parametrize("loss", [mask_bce, mask_dice])
def test_no_masks_give_zero_with_a_gradient(loss):
    logits = torch.zeros(0, 6, 6, requires_grad=True)
    value = loss(logits * 1, torch.zeros(0, 6, 6))
    value.backward()
    assert value.item() == 0 and logits.grad is not None


@pytest.mark.parametrize("loss", [mask_bce, mask_dice])
def test_half_precision_is_computed_in_float32(loss, case):
    logits, targets = case
    rounded = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(rounded, targets)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(rounded.float(), targets).item(), abs=1e-6)


def test_boundaries_are_what_erosion_takes_away(case):
    _, targets = case
    masks = targets.numpy() > 0
    square = np.ones((3, 3))
    expected = [m & ~ndimage.binary_erosion(m, square, border_value=0) for m in masks]
    assert 0 < np.sum(expected) < masks.sum()
    assert np.array_equal(boundary_targets(targets).numpy() > 0, expected)


def test_iou_counts_what_lies_outside_the_box():
    """An object of 8 cells, 4 of them in the box; 4 predicted, 2 rightly: 2 / (4 + 8 - 2)."""
    masks, targets = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    masks[0, 0] = masks[1, 0] = True
    targets[0, 0:2, 0:2] = targets[1, 0] = True
    ious = mask_ious(masks, targets, torch.tensor([8.0, 3.5]))
    assert ious.tolist() == pytest.approx([0.2, 1.0])  # the second: 4 cells of 3.5 are all there is
    assert mask_ious(masks[:0], targets[:0], torch.zeros(0)).shape == (0,)
