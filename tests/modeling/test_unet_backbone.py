"""The U-Net encoder: any depth and width, sizes, and what its config may say."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone

from model_cases import UNET, tiny_config
from project.errors import ConfigError
from project.modeling.unet_backbone import UNetEncoder


@pytest.mark.parametrize("block", ["double_conv", "residual"])
@pytest.mark.parametrize("downsample", ["max_pool", "strided_conv"])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_features_are_as_declared(block, downsample, stem_stride):
    widths = [4, 6, 8, 10]
    encoder = UNetEncoder(
        widths=widths, block=block, downsample=downsample, stem_stride=stem_stride
    )
    shapes = encoder.output_shape()
    assert list(shapes) == ["stage1", "stage2", "stage3", "stage4"]
    assert [s.channels for s in shapes.values()] == widths
    assert [s.stride for s in shapes.values()] == [stem_stride * 2**i for i in range(4)]
    assert encoder.size_divisibility == stem_stride * 8
    for height, width in ((32, 48), (61, 75), (1, 2)):
        features = encoder.eval()(torch.randn(1, 3, height, width))
        for name, shape in shapes.items():
            size = (-(-height // shape.stride), -(-width // shape.stride))
            assert features[name].shape == (1, shape.channels, *size)


def test_published_form():
    """31.0 million weights with its decoder, of which the encoder holds 18.8 (Ronneberger 2015).

    Five double convolutions without normalisation: sum of 9 * (i * o + o * o) + 2 * o.
    """
    widths = [64, 128, 256, 512, 1024]
    encoder = UNetEncoder(widths=widths, in_channels=1, norm="")
    expected = sum(9 * (i * o + o * o) + 2 * o for i, o in zip([1, *widths], widths))
    assert sum(p.numel() for p in encoder.parameters()) == expected == 18_842_048


def test_from_config():
    overrides = ["MODEL.UNET.WIDTHS", [8, 16], "MODEL.UNET.STEM_STRIDE", 2]
    encoder = build_backbone(tiny_config(*UNET, *overrides), ShapeSpec(channels=4))
    assert encoder(torch.randn(1, 4, 8, 8))["stage2"].shape == (1, 16, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widths": []}, "at least one width"),
        ({"widths": [8, 0]}, "at least 1"),
        ({"widths": [8], "stem_stride": 4}, "stem stride 4"),
        ({"widths": [8], "block": "residul"}, "Did you mean residual"),
        ({"widths": [8], "downsample": "maxpool"}, "Did you mean max_pool"),
        ({"widths": [8], "norm": "GN"}, "32 groups"),
    ],
)
def test_mistakes_are_answered(arguments, words):
    with pytest.raises(ConfigError, match=words):
        UNetEncoder(**arguments)
