"""Winograd's convolution against torch's, in double precision."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from project.layers import winograd
from project.layers.winograd import convolve, transform_weight, use_winograd


@pytest.fixture(autouse=True)
def any_processor(monkeypatch):
    monkeypatch.setattr(winograd, "_MEASURED", (torch.backends.cpu.get_cpu_capability(),))


def close(result: torch.Tensor, expected: torch.Tensor) -> None:
    """To 1e-4 of what is usual among the values."""
    scale = float(expected.abs().mean()) if expected.numel() else 1.0
    assert result.shape == expected.shape and result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "images"),
    [
        *(((1, 1), 3), ((4, 4), 1), ((5, 3), 2), ((14, 14), 40), ((7, 65), 1), ((130, 9), 2)),
        *(((64, 64), 2), ((1, 1200), 1), ((8, 8), 0)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_results_are_those_of_a_convolution(size, images, bias, layout):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, 6, *size, generator=generator).to(memory_format=layout)
    weight = torch.randn(5, 6, 3, 3, generator=generator)
    shift = torch.randn(5, generator=generator) if bias else None
    result = convolve(x, transform_weight(weight), shift)
    expected = F.conv2d(
        x.double(), weight.double(), None if shift is None else shift.double(), padding=1
    )
    assert images == 0 or expected.std() > 1
    close(result, expected)


def test_relu():
    x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    weight = transform_weight(torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1)))
    plain = convolve(x, weight, None)
    assert (plain < -1).any()
    assert torch.equal(convolve(x, weight, None, relu=True), plain.relu())


def test_results_can_be_viewed_as_those_of_a_convolution():
    x = torch.randn(2, 4, 9, 10).to(memory_format=torch.channels_last)
    result = convolve(x, transform_weight(torch.randn(6, 4, 3, 3)), None)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def gains(monkeypatch):
    """A processor that is quicker by it."""
    monkeypatch.setattr(winograd, "is_quicker", lambda threads: True)


@pytest.mark.usefixtures("gains")
def test_inputs_of_other_kinds_are_computed_as_before():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1)).requires_grad_(False)
    reference = copy.deepcopy(model)
    use_winograd(model)
    x = torch.randn(1, 128, 16, 16)
    close(model(x[0]), reference(x[0]).double())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(x), reference(x)) and model(x).dtype == torch.bfloat16
    assert torch.equal(model.double()(x.double()), reference.double()(x.double()))


@pytest.mark.usefixtures("gains")
def test_attributes_of_plain_convolutions_are_their_own():
    model = nn.Conv2d(128, 128, 3, padding=1).requires_grad_(False)
    model.norm, model.activation = nn.Identity(), torch.neg
    expected = model(x := torch.randn(1, 128, 16, 16))
    use_winograd(model)
    assert "forward" in vars(model)
    close(model(x), expected.double())


def test_other_processors_keep_their_convolutions(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    model = nn.Conv2d(128, 128, 3, padding=1)
    use_winograd(model)
    assert "forward" not in vars(model)


@pytest.mark.parametrize(("direct", "gains"), [(3.0, True), (2.1, False), (1.0, False)])
def test_a_trial_decides(monkeypatch, direct, gains):
    """Of two seconds each that ours takes."""
    seconds = itertools.cycle([direct, 2.0])
    monkeypatch.setattr(winograd, "_seconds", lambda run: (run(), next(seconds))[1])
    winograd.is_quicker.cache_clear()
    model = nn.Conv2d(128, 128, 3, padding=1)
    use_winograd(model)
    assert ("forward" in vars(model)) is gains
    winograd.is_quicker.cache_clear()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_values(scale):
    x = scale * torch.randn(1, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    close(
        convolve(x, transform_weight(weight), None),
        F.conv2d(x.double(), weight.double(), padding=1),
    )


def test_what_is_not_finite_stays_so_and_stays_near():
    x = torch.zeros(1, 4, 24, 24)
    x[0, 0, 9, 9] = torch.nan
    bad = ~convolve(x, transform_weight(torch.ones(4, 4, 3, 3)), None).isfinite()
    assert bad[0, :, 8:11, 8:11].all()
    assert not bad[..., :4, :].any() and not bad[..., 16:].any()


class Net(nn.Module):
    """Convolutions that gain and others, plain and Detectron2's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 128, 3, padding=1)
        self.second = Conv2d(128, 160, 3, padding=1, norm=FrozenBatchNorm2d(160), activation=F.relu)
        self.third = nn.Sequential(nn.Conv2d(160, 128, 3, padding=1), nn.ReLU(inplace=True))
        self.active = Conv2d(128, 128, 3, padding=1, activation=nn.ReLU())
        self.strided = nn.Conv2d(128, 128, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(128, 128, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(128, 128, 3, padding=2, dilation=2)
        self.valid = nn.Conv2d(128, 128, 3)
        self.reflecting = nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x)
        return x


@pytest.mark.usefixtures("gains")
def test_layers_that_gain_are_replaced_and_keep_norm_and_activation(monkeypatch):
    torch.manual_seed(0)
    model = Net().eval()
    model.second.norm.weight.copy_(torch.rand(160) + 0.5)
    expected = copy.deepcopy(model).double()
    called = []

    def spy(x, weight, bias, relu=False):
        called.append((weight.shape[1], weight.shape[2], relu))
        return convolve(x, weight, bias, relu)

    monkeypatch.setattr(winograd, "convolve", spy)
    names = list(model.state_dict())
    use_winograd(model)
    assert list(model.state_dict()) == names
    x = torch.randn(2, 3, 33, 30)
    with torch.no_grad():
        close(model(x), expected(x.double()))
        assert called == [(128, 160, False), (160, 128, False), (128, 128, True)]
        called.clear()
        model.second(torch.randn(1, 128, 4, 8))
        assert not called  # two tiles are done as before
