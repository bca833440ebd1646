"""FCN: which skips are added, how scores are enlarged, on any strides."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec

from project.errors import ConfigError
from project.layers.blocks import fit_size
from project.modeling.fcn_head import FCNHead
from project.modeling.sem_seg_loss import SemSegLoss


def head_on(strides: dict[str, int], **arguments) -> FCNHead:
    torch.manual_seed(0)
    shapes = {name: ShapeSpec(channels=4, stride=stride) for name, stride in strides.items()}
    return FCNHead(shapes, num_classes=3, loss=SemSegLoss(num_classes=3), **arguments).eval()


def features_of(head: FCNHead, strides: dict[str, int], height: int, width: int):
    return {
        name: torch.randn(2, 4, -(-height // stride), -(-width // stride))
        for name, stride in strides.items()
    }


def doubled(x: torch.Tensor, factor: int = 2) -> torch.Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fcn_32s_16s_8s(count):
    """Written out as in the paper: scores of pool5, + pool4, + pool3."""
    strides = {"pool5": 32, "pool4": 16, "pool3": 8}
    strides = dict(list(strides.items())[:count])
    head = head_on(strides, upsample="bilinear")
    score = dict(zip(head.in_features, head.scores))
    for name in strides:  # skips start at 0
        torch.nn.init.normal_(score[name].weight)
    x = features_of(head, strides, 61, 100)
    expected = score["pool5"](x["pool5"])
    for name in list(strides)[1:]:
        joined = score[name](x[name])
        expected = doubled(expected)[..., : joined.shape[-2], : joined.shape[-1]] + joined
    expected = doubled(expected, 32 // 2 ** (count - 1))
    found = head.layers(x)
    torch.testing.assert_close(found, expected)
    assert found.shape[-2] >= 61 and found.shape[-1] >= 100


def test_skips_start_silent_and_learn():
    """At the start FCN-8s is FCN-32s with other steps, as in the paper."""
    strides = {"a": 8, "b": 16, "c": 32}
    head = head_on(strides).train()
    x = features_of(head, strides, 64, 96)
    alone = {**x, "a": torch.zeros_like(x["a"]), "b": torch.zeros_like(x["b"])}
    with torch.no_grad():
        for skip in head.scores[:-1]:
            skip.bias.zero_()
    assert torch.equal(head.layers(x), head.layers(alone))
    _, losses = head(x, torch.randint(0, 3, (2, 64, 96)))
    sum(losses.values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("strides", [{"a": 2, "b": 8}, {"a": 3, "b": 9}, {"a": 16, "b": 16}])
@pytest.mark.parametrize("upsample", ["transposed", "bilinear"])
def test_any_whole_step(strides, upsample):
    head = head_on(strides, upsample=upsample)
    torch.nn.init.normal_(head.scores[0].weight)
    x = features_of(head, strides, 37, 50)
    step, finest = strides["b"] // strides["a"], strides["a"]
    coarse, fine = head.scores[1](x["b"]), head.scores[0](x["a"])
    up = coarse if step == 1 else head.ups[0](coarse)
    expected = doubled(fit_size(up, *fine.shape[-2:]) + fine, finest)
    torch.testing.assert_close(head.layers(x), expected)


def test_mistakes_are_answered():
    with pytest.raises(ConfigError, match="strides 4, 6"):
        head_on({"a": 4, "b": 6})
    with pytest.raises(ConfigError, match="no upsampling of FCNHead"):
        head_on({"a": 4}, upsample="pixel_shuffle")
