"""Blocks: sizes, how features join, and the start of the weights."""

import pytest
import torch
import torch.nn.functional as F

from project.errors import ConfigError
from project.layers.blocks import (
    BLOCKS,
    SKIPS,
    UPSAMPLES,
    ConvBlock,
    DoubleConv,
    UpBlock,
    build_norm,
    cut_middle,
    fit_size,
)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize(("stride", "size"), [(1, (9, 14)), (2, (5, 7))])
def test_blocks_keep_or_halve_rounding_up(name, stride, size):
    block = BLOCKS[name](3, 4, stride=stride)
    assert block(torch.randn(2, 3, 9, 14)).shape == (2, 4, *size)


def test_residual_block_adds_its_input():
    """With its last convolution at 0 a block of equal widths is relu(x)."""
    block = BLOCKS["residual"](4, 4, norm="")
    torch.nn.init.zeros_(block.convs[1][0].weight)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), F.relu(x))


@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_shortcut_equals_a_strided_convolution(size):
    block = BLOCKS["residual"](16, 4, stride=2, norm="")
    torch.nn.init.zeros_(block.convs[1][0].weight)
    x = torch.randn(2, 16, *size)
    conv = block.shortcut[0]
    expected = F.relu(F.conv2d(x, conv.weight, conv.bias, stride=2))
    assert expected.count_nonzero() > 0
    torch.testing.assert_close(block(x), expected)


def test_convolutions_keep_the_variance():
    """He et al. 2015: after ReLU layers without normalisation, E[x^2] stays that of the input."""
    torch.manual_seed(0)
    layers = [ConvBlock(64, 64, norm="") for _ in range(6)]
    x = torch.randn(4, 64, 24, 24)
    for layer in layers:
        x = layer(x)
    assert 0.4 < x.square().mean() < 2.5


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize(
    ("coarse", "fine"), [((4, 6), (8, 12)), ((4, 6), (7, 11)), ((3, 5), (7, 11))]
)
def test_up_block_reaches_the_feature(skip, upsample, coarse, fine):
    """Even sizes, sizes halved rounding up, and sizes halved rounding down."""
    block = UpBlock(6, 5, 4, skip=skip, upsample=upsample)
    feature = torch.randn(2, 5, *fine, requires_grad=True)
    out = block(torch.randn(2, 6, *coarse), feature)
    assert out.shape == (2, 4, *fine)
    out.square().sum().backward()
    assert (feature.grad is None) == (skip == "none")
    assert all(p.grad is not None for p in block.parameters())


@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_sum_needs_no_convolution_where_channels_agree(upsample):
    parts = dict(UpBlock(4, 4, 4, skip="add", upsample=upsample).named_parameters())
    assert not any(name.startswith("lateral") for name in parts)
    other = dict(UpBlock(4, 3, 4, skip="add", upsample=upsample).named_parameters())
    assert other["lateral.0.weight"].shape == (4, 3, 1, 1)


def test_bilinear_upsampling_is_torchs():
    block = UpBlock(2, 2, 2, skip="none", upsample="bilinear", num_convs=1, norm="")
    x, feature = torch.randn(1, 2, 3, 4), torch.zeros(1, 2, 6, 8)
    doubled = F.interpolate(x, size=(6, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(block(x, feature), block.convs(doubled))


def test_pixel_shuffle_starts_without_a_checkerboard():
    """The four cells of each cell are equal, and learn to differ."""
    block = UpBlock(3, 2, 5, upsample="pixel_shuffle")
    out = block.up(torch.randn(1, 3, 4, 6))
    assert out.shape == (1, 5, 8, 12) and out.std() > 0.1
    assert torch.equal(out, out[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))
    (out[..., 0, 0] - out[..., 1, 1]).sum().backward()
    assert block.up[0][0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", BLOCKS)
def test_dilated_blocks_keep_the_size_and_see_further(name):
    """Two 3x3 convolutions of rate d see 2 d cells to each side."""
    for rate in (1, 3):
        block = BLOCKS[name](1, 1, dilation=rate, norm="")
        for parameter in block.parameters():
            torch.nn.init.constant_(parameter, 1.0)
        x = torch.zeros(1, 1, 21, 21, requires_grad=True)
        out = block(x)
        assert out.shape == x.shape
        (gradient,) = torch.autograd.grad(out[0, 0, 10, 10], x)
        rows = gradient[0, 0].sum(dim=1).nonzero().flatten()
        assert (int(rows.min()), int(rows.max())) == (10 - 2 * rate, 10 + 2 * rate)


def test_valid_blocks_join_the_middle():
    assert DoubleConv(3, 4, valid=True)(torch.randn(1, 3, 9, 8)).shape == (1, 4, 5, 4)
    block = UpBlock(2, 3, 4, valid=True, num_convs=1, norm="")
    x, feature = torch.randn(1, 2, 4, 5), torch.randn(1, 3, 14, 18)
    joined = torch.cat([block.up(x), feature[..., 3:11, 4:14]], dim=1)
    assert torch.equal(block(x, feature), block.convs(joined))
    assert block(x, feature).shape == (1, 4, 6, 8)
    assert torch.equal(cut_middle(feature, 14, 18), feature)


def test_fit_size_crops_and_repeats_at_the_bottom_right():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    expected = torch.tensor([[1.0, 2.0, 2.0]])[None, None]
    assert torch.equal(fit_size(x, 1, 3), expected)
    assert torch.equal(fit_size(x, 2, 2), x)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: build_norm("BatchNorm", 8), "'BatchNorm'.*BN"),
        (lambda: build_norm("GN", 48), "32 groups.*48"),
        (lambda: UpBlock(4, 4, 4, skip="concatenate"), "'concatenate'.*Did you mean concat"),
        (lambda: UpBlock(4, 4, 4, upsample="bilinaer"), "Did you mean bilinear"),
        (lambda: UpBlock(4, 4, 4, num_convs=0), "at least 1"),
    ],
)
def test_mistakes_are_answered(build, words):
    with pytest.raises(ConfigError, match=words):
        build()
