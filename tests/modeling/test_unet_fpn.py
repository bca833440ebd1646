"""The pyramid on the encoder is Detectron2's, and the encoder's stages stay."""

import pytest
import torch
from detectron2.modeling import FPN, Backbone, build_backbone

from model_cases import UNET_FPN, tiny_config
from project.errors import ConfigError
from project.modeling.unet_backbone import UNetEncoder
from project.modeling.unet_fpn import EncoderFPN


def small(**arguments) -> EncoderFPN:
    torch.manual_seed(0)
    encoder = UNetEncoder(widths=[4, 6, 8, 10])
    arguments = {"in_features": ["stage4", "stage2", "stage3"], "out_channels": 5, **arguments}
    return EncoderFPN(encoder, **arguments)


@pytest.mark.parametrize("extra_level", [False, True])
def test_yields_stages_and_levels(extra_level):
    backbone = small(extra_level=extra_level).eval()
    features = backbone(torch.randn(2, 3, 32, 48))
    shapes = backbone.output_shape()
    levels = {"p1": 2, "p2": 4, "p3": 8, **({"p4": 16} if extra_level else {})}
    assert {k: s.stride for k, s in shapes.items() if k.startswith("p")} == levels
    assert set(features) == set(shapes) == {"stage1", "stage2", "stage3", "stage4", *levels}
    for name, shape in shapes.items():
        size = (32 // shape.stride, 48 // shape.stride)
        assert features[name].shape == (2, shape.channels, *size)
    if extra_level:
        assert torch.equal(features["p4"], features["p3"][..., ::2, ::2])


def test_levels_are_those_of_a_plain_fpn():
    """The same weights around the same encoder, through Detectron2's usual way."""
    ours = small(norm="BN", fuse_type="avg").eval()

    class Whole(Backbone):
        def forward(self, x):
            return ours.encoder(x)

        def output_shape(self):
            return ours.encoder.output_shape()

    features = ["stage2", "stage3", "stage4"]
    plain = FPN(Whole(), features, 5, norm="BN", fuse_type="avg").eval()
    plain.load_state_dict(ours.fpn.state_dict())
    x = torch.randn(1, 3, 16, 24)
    expected, found = plain(x), ours(x)
    assert set(expected) == {"p1", "p2", "p3"}
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_padding_covers_stages_below_the_pyramid():
    assert small(in_features=["stage1", "stage2"]).size_divisibility == 8


def test_config_asks_for_the_extra_level_through_the_rpn():
    wanted = build_backbone(tiny_config(*UNET_FPN))
    assert wanted.output_shape()["p5"].stride == 32
    rpn = ["MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4"]]
    assert "p5" not in build_backbone(tiny_config(*UNET_FPN, *rpn)).output_shape()


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ([], "is empty"),
        (["stage2", "stage5"], "names 'stage5'.*offers stage1, stage2, stage3, stage4"),
        (["stage1", "stage3"], "stage1 at stride 1, stage3 at stride 4"),
    ],
)
def test_mistakes_are_answered(features, words):
    with pytest.raises(ConfigError, match=words):
        small(in_features=features)
    key = ["MODEL.UNET.FPN_IN_FEATURES", features]
    with pytest.raises(ConfigError):
        build_backbone(tiny_config(*UNET_FPN, *key))
