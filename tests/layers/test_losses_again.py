"""Losses against a loop over the pixels and other libraries, and what ignored pixels leave."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from project.layers.losses import (
    boundary_loss,
    cross_entropy,
    dice_loss,
    focal_loss,
    lovasz_softmax,
    ohem_cross_entropy,
    tversky_loss,
)

IGNORE = 255
smp_losses = pytest.importorskip("segmentation_models_pytorch.losses")
SMOOTHED = partial(cross_entropy, label_smoothing=0.1)
ALL = {
    "smoothed": SMOOTHED,
    "focal": focal_loss,
    "ohem": ohem_cross_entropy,
    "tversky": tversky_loss,
    "lovasz": lovasz_softmax,
    "boundary": boundary_loss,
}


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (2, 4, 8, 9), targets with holes in which every class occurs, class weights."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(2, 4, 8, 9, generator=generator)
    targets = torch.randint(0, 4, (2, 8, 9), generator=generator)
    targets[torch.rand(2, 8, 9, generator=generator) < 0.3] = IGNORE
    assert all(set(image.unique().tolist()) == {0, 1, 2, 3, IGNORE} for image in targets)
    return logits, targets, torch.tensor([0.5, 1.0, 2.0, 3.0])


def test_a_loop_over_the_pixels_agrees(case):
    """Smoothed and weighted cross entropy, focal and OHEM, pixel by pixel in float64."""
    logits, targets, weights = case
    log_p = logits.double().log_softmax(dim=1).movedim(1, -1)[targets != IGNORE].numpy()  # (P, K)
    labels, w = targets[targets != IGNORE].numpy(), weights.double().numpy()
    own = np.array([row[k] for row, k in zip(log_p, labels)])
    total = sum(w[k] for k in labels)
    smoothed = sum(0.9 * w[k] * -row[k] - 0.1 * (w * row).mean() for row, k in zip(log_p, labels))
    focal = sum(0.4 * w[k] * (1 - math.exp(x)) ** 3 * -x for x, k in zip(own, labels))
    ranks = np.argsort(np.argsort(own))
    hard = (np.exp(own) < 0.2) | (ranks < math.ceil(0.6 * len(own)))
    assert 0.6 <= hard.mean() < 1
    ohem = sum(w[k] * -x for x, k, h in zip(own, labels, hard) if h) / w[labels[hard]].sum()
    common = {"ignore_value": IGNORE, "class_weights": weights}
    assert SMOOTHED(logits, targets, **common).item() == pytest.approx(smoothed / total, rel=1e-5)
    found = focal_loss(logits, targets, **common, alpha=0.4, gamma=3.0)
    assert found.item() == pytest.approx(focal / total, rel=1e-5)
    found = ohem_cross_entropy(logits, targets, **common, threshold=0.2, min_share=0.6)
    assert found.item() == pytest.approx(ohem, rel=1e-5)


def test_focal_loss_of_two_classes_is_torchvisions(case):
    """Softmax of (0, z) is sigmoid of z; torchvision leaves alpha out where it is negative."""
    z, targets = case[0][:, 0], case[1].remainder(2).where(case[1] != IGNORE, IGNORE)
    taught = targets != IGNORE
    expected = sigmoid_focal_loss(z[taught], targets[taught].float(), alpha=-1, gamma=2.0).mean()
    logits = torch.stack([torch.zeros_like(z), z], dim=1)
    found = focal_loss(logits, targets, ignore_value=IGNORE, alpha=1.0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert focal_loss(logits, targets, ignore_value=IGNORE).item() == pytest.approx(found / 4)


def test_edges_of_the_families(case):
    logits, targets, weights = case
    common = {"ignore_value": IGNORE, "class_weights": weights}
    plain = cross_entropy(logits, targets, **common).item()
    focal = focal_loss(logits, targets, **common, alpha=1.0, gamma=0.0)
    assert focal.item() == pytest.approx(plain, rel=1e-6)
    every = ohem_cross_entropy(logits, targets, **common, min_share=1.0)
    assert every.item() == pytest.approx(plain, rel=1e-6)
    one = ohem_cross_entropy(logits, targets, ignore_value=IGNORE, threshold=0.0, min_share=0.0)
    largest = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none").max()
    assert one.item() == pytest.approx(largest.item())
    dice = dice_loss(logits, targets, ignore_value=IGNORE, smooth=3.0)
    halves = tversky_loss(logits, targets, ignore_value=IGNORE, alpha=0.5, beta=0.5, smooth=1.5)
    assert halves.item() == pytest.approx(dice.item(), rel=1e-6)


def test_a_class_that_is_nowhere_is_left_out_as_in_dice(case):
    logits, targets, _ = case
    targets = targets.where(targets != 3, IGNORE)
    theirs = smp_losses.TverskyLoss("multiclass", ignore_index=IGNORE, alpha=0.3, beta=0.7)
    found = tversky_loss(logits, targets, ignore_value=IGNORE, smooth=0.0)
    # The library divides by all four classes.
    assert found.item() == pytest.approx(theirs(logits, targets).item() * 4 / 3, abs=1e-6)


def test_boundary_loss_falls_towards_the_truth():
    """A square moved by 0, 2, 4 pixels: the nearer, the lower; in place it is below 0."""
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[:, 4:14, 4:14] = 1
    values = []
    for shift in (0, 2, 4):
        moved = F.one_hot(target.roll(shift, dims=2), 2).permute(0, 3, 1, 2) * 20.0
        values.append(boundary_loss(moved, target, ignore_value=IGNORE).item())
    assert values[0] < 0 and values == sorted(values) and values[2] > values[0] + 0.5


@pytest.mark.parametrize("name", ALL)
def test_ignored_pixels_are_as_if_removed(case, name):
    """Ignored rows at the bottom against a batch that ends before them, and wild logits there."""
    logits, targets, _ = case
    targets = targets.clone()
    targets[:, 5:] = IGNORE
    wild = logits.clone()
    wild[:, :, 5:] = 50 * torch.randn_like(wild[:, :, 5:])
    wild.requires_grad_()
    value = ALL[name](wild, targets, ignore_value=IGNORE)
    removed = ALL[name](logits[:, :, :5], targets[:, :5], ignore_value=IGNORE)
    assert value.item() == pytest.approx(removed.item(), rel=1e-5)
    value.backward()
    ignored = targets == IGNORE
    gradients = wild.grad.movedim(1, -1)
    assert not gradients[ignored].any() and gradients[~ignored].any()
    assert torch.isfinite(gradients).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("num_classes", [1, 4])
def test_nothing_taught_is_zero_and_differentiable(name, num_classes):
    logits = torch.randn(2, num_classes, 4, 4, requires_grad=True)
    value = ALL[name](logits, torch.full((2, 4, 4), IGNORE), ignore_value=IGNORE)
    assert value.item() == 0 and value.shape == ()
    value.backward()
    assert not logits.grad.any()


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_right_and_finite_for_certain_pixels(case, name):
    logits, targets, _ = case
    logits = logits.clone()
    logits[0, 0, 0, 0] = 200.0  # p is exactly 1 or 0 here
    logits.requires_grad_()
    ALL[name](logits, targets, ignore_value=IGNORE).backward()
    assert torch.isfinite(logits.grad).all()
    index = np.unravel_index(int(logits.grad.abs().argmax()), logits.shape)
    step = torch.zeros_like(logits)
    step[index] = 0.01
    with torch.no_grad():
        up = ALL[name](logits + step, targets, ignore_value=IGNORE)
        down = ALL[name](logits - step, targets, ignore_value=IGNORE)
    assert logits.grad[index].item() == pytest.approx((up - down).item() / 0.02, rel=0.02)
