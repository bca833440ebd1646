"""Averaged weights against the mean and the recursion written out."""

import numpy as np
import pytest
import torch
from torch import nn

from project.engine.averaging import WeightAverage


def run(average: WeightAverage, model: nn.Linear, values: list[float]) -> None:
    for iteration, value in enumerate(values):
        nn.init.constant_(model.weight, value)
        average.update(iteration)


def test_plain_mean_since_start():
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.0, start_iter=2)
    run(average, model, [100.0, 100.0, 1.0, 2.0, 6.0])
    assert average.count == 3
    assert average.state_dict()["weight"].item() == pytest.approx(3.0)
    assert model.weight.item() == 6.0


def test_exponential_mean():
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.9, start_iter=0)
    values = np.random.default_rng(0).normal(size=20).tolist()
    run(average, model, values)
    expected = values[0]
    for value in values[1:]:
        expected = 0.9 * expected + 0.1 * value
    assert average.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_last_weights_are_scored_until_there_is_an_average():
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.0, start_iter=1)
    average.update(0)
    assert average.scored_model is model
    average.update(1)
    assert average.scored_model is not model


def test_statistics_of_normalisation_are_averaged():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.0, start_iter=0)
    for iteration, mean in enumerate([1.0, 5.0]):
        model.running_mean.fill_(mean)
        average.update(iteration)
    assert average.state_dict()["running_mean"].item() == pytest.approx(3.0)


@pytest.mark.parametrize("decay", [0.0, 0.999])
def test_whole_numbers_stay_as_they_are(decay):
    model = nn.Linear(1, 1)
    positions = torch.arange(200)
    model.register_buffer("positions", positions.clone())
    average = WeightAverage(model, decay=decay, start_iter=0)
    run(average, model, [1.0] * 20)
    assert torch.equal(average.state_dict()["positions"], positions)


def test_going_on_from_a_saved_average_equals_never_having_stopped():
    values = np.random.default_rng(1).normal(size=8).tolist()
    whole_model, first_model, second_model = (nn.Linear(1, 1) for _ in range(3))
    whole = WeightAverage(whole_model, decay=0.0, start_iter=0)
    run(whole, whole_model, values)
    first = WeightAverage(first_model, decay=0.0, start_iter=0)
    run(first, first_model, values[:5])
    second = WeightAverage(second_model, decay=0.0, start_iter=0)
    second.load({k: v.clone() for k, v in first.state_dict().items()}, first.count)
    run(second, second_model, values[5:])
    assert second.count == whole.count
    torch.testing.assert_close(second.state_dict()["weight"], whole.state_dict()["weight"])
