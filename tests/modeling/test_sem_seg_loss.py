"""The loss module: factors, class weights, and what its config may say."""

import pytest
import torch

from model_cases import tiny_config
from project.errors import ConfigError
from project.layers.losses import cross_entropy, dice_loss
from project.modeling.sem_seg_loss import SemSegLoss, inverse_frequency_weights


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    targets = torch.randint(0, 3, (2, 6, 5))
    targets[0, 0] = 255
    return torch.randn(2, 3, 6, 5), targets


def test_factors_and_weights(batch):
    logits, targets = batch
    weights = [0.5, 1.0, 1.5]
    loss = SemSegLoss(num_classes=3, ce_weight=2.0, dice_weight=0.5, class_weights=weights)
    found = loss(logits, targets)
    ce = cross_entropy(logits, targets, ignore_value=255, class_weights=torch.tensor(weights))
    plain = cross_entropy(logits, targets, ignore_value=255)
    assert abs(ce - plain) > 1e-3
    assert found == {
        "loss_sem_seg_ce": 2 * ce,
        "loss_sem_seg_dice": 0.5 * dice_loss(logits, targets, ignore_value=255),
    }


def test_factor_zero_leaves_a_part_out(batch):
    assert set(SemSegLoss(num_classes=3, dice_weight=0)(*batch)) == {"loss_sem_seg_ce"}
    assert set(SemSegLoss(num_classes=3, ce_weight=0)(*batch)) == {"loss_sem_seg_dice"}


def test_weights_come_from_the_config(batch):
    key = "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING"
    given = ["MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", [3.0, 0.0, 1.0]]
    assert SemSegLoss(tiny_config(key, "given", *given)).class_weights.tolist() == [3.0, 0.0, 1.0]
    assert SemSegLoss(tiny_config(key, "none", *given)).class_weights is None


def test_uncounted_weights_only_forbid_training(batch):
    """Scoring builds the model too, where no training data may be at hand to count."""
    loss = SemSegLoss(tiny_config("MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING", "inverse_frequency"))
    with pytest.raises(ConfigError, match="CLASS_WEIGHTS is empty"):
        loss(*batch)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["CLASS_WEIGHTING", "inverse_freq"], "Did you mean inverse_frequency"),
        (["CLASS_WEIGHTING", "given"], "write 3 weights"),
        (["CLASS_WEIGHTING", "given", "CLASS_WEIGHTS", [1.0, 2.0]], "must hold 3 weights"),
        (["CLASS_WEIGHTING", "given", "CLASS_WEIGHTS", [1.0, 2.0, -1.0]], "at least 0"),
        (["CE_WEIGHT", 0.0, "DICE_WEIGHT", 0.0], "one above"),
        (["CE_WEIGHT", -1.0], "at least 0"),
    ],
)
def test_mistakes_are_answered(overrides, words):
    pairs = [
        f"MODEL.SEM_SEG_HEAD.{word}" if i % 2 == 0 else word for i, word in enumerate(overrides)
    ]
    with pytest.raises(ConfigError, match=words):
        SemSegLoss(tiny_config(*pairs))


def test_inverse_frequency_weights():
    """With n = 1, 3, 6 pixels 1/n has the mean 1/2, so w = 2, 2/3, 1/3; absent classes weigh 1."""
    assert inverse_frequency_weights([1, 3, 6]) == pytest.approx([2, 2 / 3, 1 / 3])
    assert inverse_frequency_weights([1, 0, 3, 6]) == pytest.approx([2, 1, 2 / 3, 1 / 3])
    assert inverse_frequency_weights([0, 0]) == [1, 1]
    assert inverse_frequency_weights([12_345_678_901]) == [1]
