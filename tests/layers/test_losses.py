"""Losses against hand values, torch and an independent implementation in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from project.layers.losses import (
    boundary_loss,
    cross_entropy,
    dice_loss,
    focal_loss,
    lovasz_softmax,
    ohem_cross_entropy,
    signed_distances,
    tversky_loss,
)

IGNORE = 255
ALL = [
    *(cross_entropy, focal_loss, ohem_cross_entropy),
    *(dice_loss, tversky_loss, lovasz_softmax, boundary_loss),
]


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


@pytest.mark.parametrize("loss", ALL)
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
        # Of Lovasz the step changes the order of the errors, and with it the slope.
        tolerance = 2e-3 if loss is lovasz_softmax else 1e-4
        assert logits.grad[index].item() == pytest.approx((up - down).item() / 0.02, abs=tolerance)


@pytest.mark.parametrize("loss", ALL)
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


@pytest.mark.parametrize("loss", ALL)
def test_half_precision_logits_are_judged_in_float32(case, loss):
    logits, targets, _ = case
    logits = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, targets, ignore_value=IGNORE)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(logits.float(), targets, ignore_value=IGNORE))


# Two pixels of class 0 with p = 3/4 and 1/2, as in `test_cross_entropy_by_hand`.
TWO = torch.tensor([[[math.log(3), 0.0]], [[0.0, 0.0]]])[None]  # (1, 2, 1, 2)
BOTH_0 = torch.tensor([[[0, 0]]])


def judged(loss, logits=TWO, targets=BOTH_0, **arguments) -> float:
    return loss(logits, targets, ignore_value=IGNORE, **arguments).item()


def test_label_smoothing_by_hand_and_by_torch(case):
    """E = 0.1: 0.9 of the true class, 0.05 of each; classes at ln 4/3, ln 4 and ln 2, ln 2."""
    first = 0.9 * math.log(4 / 3) + 0.05 * (math.log(4 / 3) + math.log(4))
    second = 0.9 * math.log(2) + 0.05 * 2 * math.log(2)
    found = judged(cross_entropy, label_smoothing=0.1)
    assert found == pytest.approx((first + second) / 2, abs=1e-6)
    logits, targets, weights = case
    expected = F.cross_entropy(
        logits, targets, weight=weights, ignore_index=IGNORE, label_smoothing=0.3
    ).item()
    arguments = {"class_weights": weights, "label_smoothing": 0.3}
    assert judged(cross_entropy, logits, targets, **arguments) == pytest.approx(expected, rel=1e-6)
    assert abs(expected - judged(cross_entropy, logits, targets, class_weights=weights)) > 0.01


def test_focal_by_hand():
    """0.25 * (1/4)^2 * ln 4/3 and 0.25 * (1/2)^2 * ln 2."""
    expected = 0.25 * (math.log(4 / 3) / 16 + math.log(2) / 4) / 2
    assert judged(focal_loss) == pytest.approx(expected, abs=1e-7)
    weights = torch.tensor([2.0, 1.0])
    mixed = torch.tensor([[[0, 1]]])
    expected = 0.25 * (2 * math.log(4 / 3) / 16 + math.log(2) / 4) / 3
    found = judged(focal_loss, targets=mixed, class_weights=weights)
    assert found == pytest.approx(expected, abs=1e-7)


def test_focal_without_focus_is_cross_entropy(case):
    logits, targets, weights = case
    arguments = {"class_weights": weights}
    expected = judged(cross_entropy, logits, targets, **arguments)
    found = judged(focal_loss, logits, targets, alpha=1.0, gamma=0.0, **arguments)
    assert found == pytest.approx(expected, rel=1e-6)


def test_hard_pixels_by_hand():
    """P = 3/4, 1/2: below 0.7 is the second alone; below 0.8 both; the worst half the second."""
    both = (math.log(4 / 3) + math.log(2)) / 2
    few = {"min_share": 0.0}
    assert judged(ohem_cross_entropy, threshold=0.7, **few) == pytest.approx(math.log(2))
    assert judged(ohem_cross_entropy, threshold=0.8, **few) == pytest.approx(both)
    assert judged(ohem_cross_entropy, threshold=0.0, min_share=0.5) == pytest.approx(math.log(2))
    assert judged(ohem_cross_entropy, threshold=0.0, min_share=1.0) == pytest.approx(both)
    assert judged(ohem_cross_entropy, threshold=0.1, **few) == pytest.approx(math.log(2))


def test_hard_pixels_are_detectron2s(case):
    """Its DeepLabCE takes the hardest share of all pixels, ignored ones (at 0) among them."""
    from detectron2.projects.deeplab.loss import DeepLabCE

    logits, targets, _ = case
    taught = int((targets != IGNORE).sum())
    count = taught // 4
    theirs = DeepLabCE(IGNORE, count / targets.numel() + 1e-9)(logits, targets)
    share = count / taught
    found = judged(ohem_cross_entropy, logits, targets, threshold=0.0, min_share=share)
    assert found == pytest.approx(theirs.item(), rel=1e-5)
    assert found > 1.5 * judged(cross_entropy, logits, targets)


def test_tversky_by_hand():
    """p_0 = 3/4, 1/2 of truths 0, 1: TP 3/4, FP 1/2, FN 1/4; of class 1 TP 1/2, FP 1/4, FN 1/2.

    alpha 0.25, beta 0.75, no smoothing.
    """
    zero = 0.75 / (0.75 + 0.25 * 0.5 + 0.75 * 0.25)
    one = 0.5 / (0.5 + 0.25 * 0.25 + 0.75 * 0.5)
    arguments = {"alpha": 0.25, "beta": 0.75, "smooth": 0.0}
    found = judged(tversky_loss, targets=torch.tensor([[[0, 1]]]), **arguments)
    assert found == pytest.approx(1 - (zero + one) / 2, abs=1e-6)


def test_tversky_is_the_librarys(case):
    """Where every class occurs: the library divides by all classes."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    logits, targets, _ = case
    targets = targets.clone()
    targets[1, 3] = 3
    assert sorted(targets.unique().tolist()) == [0, 1, 2, 3, 4, IGNORE]
    theirs = smp.losses.TverskyLoss(
        "multiclass", ignore_index=IGNORE, alpha=0.3, beta=0.7, smooth=0.0
    )(logits, targets)
    found = judged(tversky_loss, logits, targets, smooth=0.0)
    assert found == pytest.approx(theirs.item(), abs=1e-5)
    assert 0.3 < found < 0.95


def test_lovasz_by_hand():
    """Class 0 has errors 1/2, 1/4 of two true pixels: IoU falls by 1/2 with each.

    Class 1 occurs nowhere. Loss = 1/2 * 1/2 + 1/4 * 1/2.
    """
    assert judged(lovasz_softmax) == pytest.approx(3 / 8, abs=1e-6)


def test_lovasz_is_one_minus_iou_for_hard_predictions(case):
    """Its defining property: on predictions of 0 and 1 it is the loss that it stands for."""
    _, targets, _ = case
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(targets.shape, generator=generator) < 0.3
    predicted = targets.where(targets != IGNORE, 0)
    predicted = torch.where(wrong, (predicted + 1) % 5, predicted)
    hard = 100.0 * F.one_hot(predicted, 5).permute(0, 3, 1, 2)
    taught = targets != IGNORE
    ious = []
    for k in (0, 1, 2, 4):
        a, b = (predicted == k) & taught, targets == k
        ious.append(((a & b).sum() / (a | b).sum()).item())
    assert 0.2 < np.mean(ious) < 0.9
    assert judged(lovasz_softmax, hard, targets) == pytest.approx(1 - np.mean(ious), abs=1e-5)


def test_lovasz_is_the_librarys(case):
    smp = pytest.importorskip("segmentation_models_pytorch")
    logits, targets, _ = case
    theirs = smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE)(logits, targets)
    assert judged(lovasz_softmax, logits, targets) == pytest.approx(theirs.item(), abs=1e-5)


def test_signed_distances_by_hand():
    """Columns 0 0 1 1 1 and an ignored one: outside the way in, inside 1 less than the way out."""
    target = np.array([[0, 0, 1, 1, 1, IGNORE]] * 2)
    distances = signed_distances(target, 3, IGNORE)
    assert distances.shape == (3, 2, 6) and not distances[2].any()
    assert distances[1].tolist() == [[2, 1, 0, -1, -2, 0]] * 2
    assert distances[0].tolist() == [[-1, 0, 1, 2, 3, 0]] * 2
    assert not signed_distances(np.full((2, 3), 1), 3, IGNORE).any()


def test_signed_distances_are_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    target = (np.random.default_rng(0).random((20, 30)) < 0.1).astype(np.int64)
    inside = target == 1
    expected = ndimage.distance_transform_edt(~inside) * ~inside
    expected -= (ndimage.distance_transform_edt(inside) - 1) * inside
    assert expected.max() > 2 and expected.min() <= 0
    np.testing.assert_allclose(signed_distances(target, 2, IGNORE)[1], expected, atol=1e-4)


def test_boundary_by_hand():
    """One row 0 0 1 1, p_1 = 1/4 everywhere: phi_1 = 2 1 0 -1, phi_0 = -1 0 1 2."""
    logits = torch.tensor([math.log(3), 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    targets = torch.tensor([[[0, 0, 1, 1]]])
    assert judged(boundary_loss, logits, targets) == pytest.approx((0.25 * 2 + 0.75 * 2) / 4)
    right = 50.0 * F.one_hot(targets, 2).permute(0, 3, 1, 2)
    assert judged(boundary_loss, right, targets) == pytest.approx((-1 + 0 + 0 - 1) / 4, abs=1e-5)
