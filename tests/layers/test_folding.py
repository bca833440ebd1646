"""Folded batch normalisation against the layers as they were."""

import copy

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from project.layers.batch_norm import BatchNorm
from project.layers.folding import fold_batch_norms


def learnt(norm: nn.Module) -> nn.Module:
    """With statistics and weights that are not those of the start; some variances are tiny."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in ("running_mean", "running_var", "weight", "bias"):
            if (tensor := getattr(norm, name, None)) is not None:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 1e-6)
    return norm


@pytest.mark.parametrize(
    "norm", [FrozenBatchNorm2d(6), nn.BatchNorm2d(6), nn.BatchNorm2d(6, affine=False), BatchNorm(6)]
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["detectron2", "sequential", "wrapped"])
def test_results_are_the_same(kind, bias, norm):
    torch.manual_seed(0)
    norm = learnt(copy.deepcopy(norm))
    words = {"kernel_size": 3, "padding": 1, "stride": 2, "groups": 2, "bias": bias}
    if kind == "detectron2":
        model = nn.Sequential(Conv2d(4, 6, norm=norm, activation=torch.relu, **words))
    elif kind == "sequential":
        model = nn.Sequential(nn.Conv2d(4, 6, **words), norm, nn.ReLU())
    else:
        model = nn.Sequential(Conv2d(4, 6, **words), norm, nn.ReLU())
    model.eval()
    x = torch.randn(2, 4, 9, 11)
    expected = model(x)
    fold_batch_norms(model)
    assert not any("Norm" in type(m).__name__ for m in model.modules())
    assert expected.std() > 0.1
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.BatchNorm2d(6)),
        nn.Sequential(Conv2d(4, 6, 1, activation=torch.relu), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.GroupNorm(2, 6)),
        nn.Sequential(nn.ConvTranspose2d(4, 6, 1), nn.BatchNorm2d(6)),
    ],
)
def test_what_is_not_such_a_pair_stays(model):
    for module in model:
        learnt(module) if isinstance(module, nn.BatchNorm2d) and module.affine else None
    model.eval()
    x = torch.randn(2, 4, 5, 5)
    expected, layers = model(x), [type(m) for m in model]
    fold_batch_norms(model)
    assert [type(m) for m in model] == layers
    assert torch.equal(model(x), expected)
