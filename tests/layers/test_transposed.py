"""The matrix product against torch's transposed convolution, forwards and backwards."""

import copy

import pytest
import torch
from torch import nn

from project.layers.transposed import Transposed2x2, replace_transposed


def pair(channels: int, outputs: int, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    theirs = nn.ConvTranspose2d(channels, outputs, 2, stride=2, bias=bias)
    ours = nn.Sequential(copy.deepcopy(theirs))
    replace_transposed(ours)
    assert type(ours[0]) is Transposed2x2
    return theirs, ours[0]


@pytest.fixture
def always(monkeypatch):
    """The product, in float32 and for many weights too."""
    monkeypatch.setattr(Transposed2x2, "_gains", lambda layer, x: True)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (1, 6, 1, 1), (0, 6, 14, 14), (30, 6, 14, 14)])
def test_results_and_gradients(shape, bias, layout):
    theirs, ours = pair(6, 4, bias)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator).to(memory_format=layout)
    found = []
    for layer in (theirs, ours):
        layer.to(memory_format=layout)
        given = x.clone().requires_grad_()
        y = layer(given)
        (y * torch.arange(y.numel()).view(y.shape).sin()).sum().backward()
        found.append([y, given.grad, *(p.grad for p in layer.parameters())])
    assert shape[0] == 0 or found[0][0].std() > 0.1
    for expected, own in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-4)
    assert found[1][0].is_contiguous(memory_format=torch.channels_last)


def test_in_bfloat16():
    theirs, ours = pair(32, 16)
    x = torch.randn(4, 32, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        expected, own = theirs(x), ours(x)
    assert own.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(own, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("autocast", "dtype", "side", "gains"),
    [
        (True, torch.float32, 8, True),
        (False, torch.bfloat16, 8, True),
        (False, torch.float32, 8, False),
        (True, torch.float32, 1, False),  # 32 x 32 weights for one pixel
    ],
)
def test_where_it_is_used(autocast, dtype, side, gains):
    _, ours = pair(32, 32)
    ours.to(dtype)
    x = torch.randn(1, 32, side, side, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert ours._gains(x) is gains
        assert ours(x).shape == (1, 32, 2 * side, 2 * side)


@pytest.mark.usefixtures("always")
def test_extreme_values():
    theirs, ours = pair(6, 4)
    for scale in (1e-30, 1e30):
        x = scale * torch.randn(1, 6, 3, 3)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6 * scale, rtol=1e-5)
    x = torch.full((1, 6, 2, 2), torch.inf)
    assert torch.equal(ours(x).isfinite(), theirs(x).isfinite())


def test_what_is_replaced():
    model = nn.ModuleList(
        [
            nn.ConvTranspose2d(4, 4, 2, stride=2),
            nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2),
            nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1),
            nn.ConvTranspose2d(4, 4, 2, stride=2, output_padding=1),
            nn.ConvTranspose2d(4, 4, 2, stride=1),
        ]
    )
    names = list(model.state_dict())
    before = [layer(torch.ones(1, 4, 3, 3)) for layer in model]
    replace_transposed(model)
    assert [type(layer) is Transposed2x2 for layer in model] == [True, *[False] * 4]
    assert list(copy.deepcopy(model).state_dict()) == names
    for layer, expected in zip(model, before, strict=True):
        torch.testing.assert_close(layer(torch.ones(1, 4, 3, 3)), expected)
    sized = model[0](torch.ones(1, 4, 3, 3), output_size=[7, 7])
    assert sized.shape == (1, 4, 7, 7)
