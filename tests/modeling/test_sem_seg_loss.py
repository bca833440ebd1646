"""The loss module: factors, class weights, and what its config may say."""

import pytest
import torch

from model_cases import tiny_config
from project.errors import ConfigError
from project.layers.losses import cross_entropy, dice_loss
from project.modeling.loss_list import LOSSES
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
    entries = [{"name": "cross_entropy", "weight": 2.0}, {"name": "dice", "weight": 0.5}]
    loss = SemSegLoss(num_classes=3, losses=entries, class_weights=weights)
    found = loss(logits, targets)
    ce = cross_entropy(logits, targets, ignore_value=255, class_weights=torch.tensor(weights))
    plain = cross_entropy(logits, targets, ignore_value=255)
    assert abs(ce - plain) > 1e-3
    assert found == {
        "loss_sem_seg_ce": 2 * ce,
        "loss_sem_seg_dice": 0.5 * dice_loss(logits, targets, ignore_value=255),
    }


def test_weight_zero_leaves_a_loss_out(batch):
    entries = [{"name": "cross_entropy"}, {"name": "dice", "weight": 0}]
    assert set(SemSegLoss(num_classes=3, losses=entries)(*batch)) == {"loss_sem_seg_ce"}


def test_every_loss_is_reached_with_its_arguments(batch):
    """By name, with other arguments than the defaults, and with the weights of the classes."""
    weights = torch.tensor([0.5, 1.0, 3.0])
    changed = {
        "cross_entropy": {"label_smoothing": 0.2},
        "focal": {"alpha": 0.5, "gamma": 1.0},
        "ohem": {"threshold": 0.3, "min_share": 0.5},
        "dice": {"smooth": 5.0},
        "tversky": {"alpha": 0.1, "beta": 0.9, "smooth": 2.0},
        "lovasz": {},
        "boundary": {},
    }
    assert changed.keys() == LOSSES.keys()
    for name, arguments in changed.items():
        kind = LOSSES[name]
        assert arguments.keys() == kind.arguments.keys()
        entries = [{"name": name, "weight": 3.0, **arguments}]
        loss = SemSegLoss(num_classes=3, losses=entries, class_weights=weights.tolist())
        given = {"class_weights": weights} if kind.weighs_classes else {}
        expected = kind.function(*batch, ignore_value=255, **arguments, **given)
        assert loss(*batch) == {f"loss_sem_seg_{kind.log_name}": 3 * expected}
        if arguments:
            assert expected != kind.function(*batch, ignore_value=255, **given)
        if given:
            assert expected != kind.function(*batch, ignore_value=255, **arguments)
    assert len({kind.log_name for kind in LOSSES.values()}) == len(LOSSES)


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
        (["LOSSES", []], "no loss with a weight above 0"),
        (["LOSSES", [{"name": "dice", "weight": 0}]], "no loss with a weight above 0"),
        (["LOSSES", [{"name": "dice", "weight": -1}]], r"weight: expected .* 0 on, found -1"),
        (["LOSSES", [{"name": "dice"}, {"name": "dice"}]], "names dice twice"),
        (["LOSSES", [{"name": "dise"}]], "there is no loss 'dise'. Did you mean dice"),
        (["LOSSES", [{"name": "focal", "gama": 1}]], "no argument 'gama'. Did you mean gamma"),
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
