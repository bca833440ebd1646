"""The deviation of new weights follows from a layer's inputs, unless batches are normalised."""

import pytest
import torch
from torch import nn

from project.layers.drawing import draw_by_width


def layers(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(400, 100), nn.Conv2d(8, 64, 5), nn.Conv2d(256, 256, 3, groups=256), norm
    )
    for layer in network[:3]:
        nn.init.normal_(layer.weight, std=0.02)
    return network


def test_layers_are_drawn_by_their_inputs():
    """1 / sqrt(400), 1 / sqrt(8 * 25), and of a convolution of single channels 1 / sqrt(9)."""
    network = layers(nn.LayerNorm(4))
    draw_by_width(network)
    found = [layer.weight.std().item() for layer in network[:3]]
    assert found == pytest.approx([400**-0.5, 200**-0.5, 1 / 3], rel=0.05)


def test_signals_keep_their_size():
    network = nn.Sequential(*(nn.Linear(64, 64) for _ in range(6)), nn.LayerNorm(64))
    draw_by_width(network)
    for layer in network[:6]:
        nn.init.zeros_(layer.bias)
    assert 0.5 < network[:6](torch.randn(500, 64)).std() < 2
    for layer in network[:6]:
        nn.init.normal_(layer.weight, std=0.02)
    assert network[:6](torch.randn(500, 64)).std() < 1e-3


def test_batch_normalised_networks_stay_as_they_are():
    network = layers(nn.BatchNorm2d(4))
    before = [layer.weight.clone() for layer in network[:3]]
    draw_by_width(network)
    assert all(torch.equal(a, b.weight) for a, b in zip(before, network))
