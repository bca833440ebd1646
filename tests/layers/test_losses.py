"""Losses against hand values, torch and an independent implementation in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from project.layers.losses import cross_entropy, dice_loss

IGNORE = 255


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (2, 5, 7, 9), targets with holes in which class 3 never occurs, class weights."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 5, 7, 9, generator=generator)
    targets = torch.randint(0, 3, (2, 7, 9), generator=generator)
    targets[0, :3] = 4
    targets[torch.rand(2, 7, 9, generator=generator) < 0.3] = IGNORE
    assert sorted(targets.unique().tolist()) == [0, 1, 2, 4, IGNORE]
    return logits, targets, torch.tensor([0.5, 1.0, 2.0, 3.0, 0.0])


def dice_in_numpy(logits: torch.Tensor, targets: torch.Tensor, smooth: float) -> float:
    """The formula of the docstring, class by class, in float64."""
    z = logits.double().numpy()
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    t = targets.numpy()
    losses = []
    for k in range(z.shape[1]):
        taught, y = t != IGNORE, t == k
        if y.any():
            p_k = p[:, k][taught]
            both = p[:, k][y].sum()
            losses.append(1 - (2 * both + smooth) / (p_k.sum() + y.sum() + smooth))
    return float(np.mean(losses))


def test_cross_entropy_by_hand():
    """Two pixels, K = 2, logits (ln 3, 0) and (0, 0), both of class 0, weights 2 and 1 of classes.

    p = 3/4 and 1/2; loss = (ln 4/3 + ln 2) / 2; an ignored third pixel changes nothing.
    """
    logits = torch.tensor([[[math.log(3), 0.0, 9.0]], [[0.0, 0.0, -9.0]]])[None]  # (1, 2, 1, 3)
    targets = torch.tensor([[[0, 0, IGNORE]]])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    weights = torch.tensor([2.0, 1.0])
    for class_weights in (None, weights):
        loss = cross_entropy(logits, targets, ignore_value=IGNORE, class_weights=class_weights)
        assert loss.item() == pytest.approx(expected, abs=1e-6)
    # With classes 0 and 1: (2 ln 4/3 + 1 ln 2) / 3.
    loss = cross_entropy(
        logits, torch.tensor([[[0, 1, IGNORE]]]), ignore_value=IGNORE, class_weights=weights
    )
    assert loss.item() == pytest.approx((2 * math.log(4 / 3) + math.log(2)) / 3, abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_torchs(case, weighted):
    logits, targets, weights = case
    expected = F.cross_entropy(
        logits, targets, weight=weights if weighted else None, ignore_index=IGNORE
    )
    found = cross_entropy(
        logits, targets, ignore_value=IGNORE, class_weights=weights if weighted else None
    )
    assert expected > 0.5
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_dice_by_hand():
    """Three pixels of classes 0, 0, 1 with p_0 = 3/4, 1/2, 1/2, and s = 1.

    dice_0 = (2 * 1.25 + 1) / (1.75 + 2 + 1) = 3.5 / 4.75
    dice_1 = (2 * 0.5 + 1) / (1.25 + 1 + 1) = 2 / 3.25
    Class 2, which is nowhere and has p = 0, is left out.
    """
    p = torch.tensor([[0.75, 0.5, 0.5], [0.25, 0.5, 0.5], [0.0, 0.0, 0.0]])
    logits = p.clamp(min=1e-30).log()[None, :, None]  # (1, 3, 1, 3)
    loss = dice_loss(logits, torch.tensor([[[0, 0, 1]]]), ignore_value=IGNORE)
    assert loss.item() == pytest.approx(1 - (3.5 / 4.75 + 2 / 3.25) / 2, abs=1e-6)


@pytest.mark.parametrize("smooth", [0.0, 1.0, 10.0])
def test_dice_is_the_independent_one(case, smooth):
    logits, targets, _ = case
    expected = dice_in_numpy(logits, targets, smooth)
    found = dice_loss(logits, targets, ignore_value=IGNORE, smooth=smooth).item()
    assert 0.3 < expected < 0.9
    assert found == pytest.approx(expected, abs=1e-6)


def test_perfect_and_opposite_predictions():
    targets = torch.tensor([[[0, 1], [1, 2]]])
    right = 50.0 * F.one_hot(targets, 3).permute(0, 3, 1, 2)
    assert dice_loss(right, targets, ignore_value=IGNORE).item() == pytest.approx(0, abs=1e-6)
    assert cross_entropy(right, targets, ignore_value=IGNORE).item() == pytest.approx(0, abs=1e-6)
    wrong = right.roll(1, dims=1)
    assert dice_loss(wrong, targets, ignore_value=IGNORE, smooth=0.0).item() > 0.999
    assert cross_entropy(wrong, targets, ignore_value=IGNORE).item() == pytest.approx(50)


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss])
def test_gradients_are_right_and_spare_ignored_pixels(case, loss):
    logits, targets, _ = case
    logits = logits[:1, :, :3, :3].clone().requires_grad_()
    targets = targets[:1, 2:5, :3].clone()
    targets[0, 0, 0] = IGNORE
    value = loss(logits, targets, ignore_value=IGNORE)
    value.backward()
    ignored = targets == IGNORE
    assert ignored.any() and not ignored.all()
    assert not logits.grad.permute(0, 2, 3, 1)[ignored].any()
    # Central differences, in float32 as the losses are.
    for index in ((0, 0, 1, 1), (0, 4, 2, 0), (0, 2, 1, 2)):
        step = torch.zeros_like(logits)
        step[index] = 0.01
        with torch.no_grad():
            up = loss(logits + step, targets, ignore_value=IGNORE)
            down = loss(logits - step, targets, ignore_value=IGNORE)
        assert logits.grad[index].item() == pytest.approx((up - down).item() / 0.02, abs=1e-4)


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss])
@pytest.mark.parametrize("num_classes", [1, 4])
def test_nothing_taught_is_zero_and_differentiable(loss, num_classes):
    logits = torch.randn(2, num_classes, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), IGNORE), ignore_value=IGNORE)
    assert value.item() == 0 and value.grad_fn is not None
    value.backward()
    assert not logits.grad.any()


def test_classes_of_weight_zero_alone_give_zero(case):
    logits, targets, _ = case
    value = cross_entropy(
        logits, torch.zeros_like(targets), ignore_value=IGNORE, class_weights=torch.zeros(5)
    )
    assert value.item() == 0


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss])
def test_half_precision_logits_are_judged_in_float32(case, loss):
    logits, targets, _ = case
    logits = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, targets, ignore_value=IGNORE)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(logits.float(), targets, ignore_value=IGNORE))
