import copy

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from project.layers.frozen_norm import (
    FrozenNormConv2d,
    fold_frozen_norms,
    restore_frozen_norms,
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = []
    for width, stride in ((3, 2), (8, 1)):
        norm = FrozenBatchNorm2d(8)
        for buffer in (norm.weight, norm.running_var):
            buffer.copy_(torch.rand(8) + 0.5)
        for buffer in (norm.bias, norm.running_mean):
            buffer.copy_(torch.randn(8))
        layers.append(Conv2d(width, 8, 3, stride, 1, bias=False, norm=norm, activation=nn.ReLU()))
    return nn.Sequential(*layers, Conv2d(8, 4, 1))


@pytest.fixture
def pair() -> tuple[nn.Sequential, nn.Sequential]:
    stock = network()
    ours = copy.deepcopy(stock)
    fold_frozen_norms(ours)
    assert [type(layer) for layer in ours] == [FrozenNormConv2d, FrozenNormConv2d, Conv2d]
    return stock, ours


def results(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    model.zero_grad()
    out = model(x)
    (out * out.detach().cos()).sum().backward()
    return [out, x.grad, *(p.grad for p in model.parameters())]


def check_equal(stock: nn.Module, ours: nn.Module) -> None:
    x = torch.randn(2, 3, 17, 20)
    expected = results(stock, x)
    assert expected[0].std() > 0.1
    for own, theirs in zip(results(ours, x), expected, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-4, rtol=1e-4)


def test_outputs_and_gradients_are_detectron2s(pair):
    check_equal(*pair)
    assert list(pair[0].state_dict()) == list(pair[1].state_dict())


def test_other_statistics_count_at_once(pair):
    stock, ours = pair
    check_equal(stock, ours)
    other = {name: value * 1.3 for name, value in stock.state_dict().items()}
    for model in pair:
        model.load_state_dict(other)
    check_equal(stock, ours)


def test_empty_batches_pass(pair):
    assert pair[1](torch.zeros(0, 3, 16, 16)).shape == (0, 4, 8, 8)


def test_the_way_back(pair):
    stock, ours = pair
    restore_frozen_norms(ours)
    assert {type(layer) for layer in ours} == {Conv2d}
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(ours(x), stock(x))


def test_a_copy_has_statistics_of_its_own(pair):
    stock, ours = pair
    state = stock.state_dict()
    for _ in range(2):
        ours.load_state_dict(state)
    ours(torch.randn(1, 3, 16, 16))
    copied = copy.deepcopy(ours)
    other = {name: value * 1.3 for name, value in state.items()}
    for model in (stock, copied):
        model.load_state_dict(other)
    check_equal(stock, copied)


def test_a_training_may_follow_inference_mode(pair):
    with torch.inference_mode():
        pair[1](torch.randn(1, 3, 16, 16))
    check_equal(*pair)
