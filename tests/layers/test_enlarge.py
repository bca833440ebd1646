"""Enlarging, and batch normalisation of single values."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from project.layers.batch_norm import BatchNorm, accept_single_values
from project.layers.enlarge import Bilinear, bilinear_transposed


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_transposed_convolution_starts_as_bilinear(factor):
    """Away from the border, beyond which it sees zeros."""
    x = torch.randn(2, 3, 5, 6)
    found, expected = bilinear_transposed(3, factor)(x), Bilinear(factor)(x)
    assert found.shape == expected.shape == (2, 3, 5 * factor, 6 * factor)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(found[inside], expected[inside])
    assert factor == 1 or not torch.allclose(found, expected)


def test_bilinear_keeps_the_centres_of_cells():
    x = torch.randn(1, 2, 4, 5)
    expected = F.interpolate(x, size=(12, 15), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Bilinear(3)(x), expected)


def test_single_values_are_normalised_by_the_running_statistics():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=0.1), nn.SyncBatchNorm(4))
    norm = net[1]
    with torch.no_grad():
        norm.running_mean.copy_(torch.randn(4))
        norm.running_var.copy_(torch.rand(4) + 0.5)
        norm.weight.copy_(torch.randn(4))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.randn(1, 4, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value"):
        norm(x)
    accept_single_values(net)
    assert net[1] is norm and type(norm) is BatchNorm and type(net[2]) is nn.SyncBatchNorm
    assert net.state_dict().keys() == before.keys()
    expected = norm.eval()(x)
    found = norm.train()(x)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert norm.weight.grad.abs().sum() > 0
    torch.testing.assert_close(norm.running_mean, before["1.running_mean"])


def test_several_values_are_normalised_as_ever():
    ours, theirs = BatchNorm(4), nn.BatchNorm2d(4)
    for shape in ((2, 4, 1, 1), (1, 4, 3, 2)):
        x = torch.randn(shape)
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
