"""The U-Net head on every kind of backbone, with every way to join and to enlarge."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, build_sem_seg_head

from model_cases import RES_STAGES, RESNET, RESNET_FPN, STAGES, UNET, UNET_FPN, tiny_config
from project.errors import ConfigError
from project.layers.blocks import SKIPS, UPSAMPLES
from project.modeling.sem_seg_loss import SemSegLoss
from project.modeling.unet_head import FINAL_UPSAMPLES, UNetHead

BACKBONES = {
    "unet": [*UNET, *STAGES],
    "resnet18": [*RESNET, *RES_STAGES],
    "resnet50": [
        *[*RESNET, *RES_STAGES, "MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.RES2_OUT_CHANNELS", 32],
        *["MODEL.RESNETS.WIDTH_PER_GROUP", 8],
    ],
    "resnet_fpn": RESNET_FPN,
    "unet_fpn_mix": UNET_FPN,
}


@pytest.fixture(scope="module")
def features_of() -> dict[str, tuple]:
    """For each backbone its shapes and its features of a padded batch of one and of odd size."""
    torch.manual_seed(0)
    made = {}
    for name, overrides in BACKBONES.items():
        backbone = build_backbone(tiny_config(*overrides)).eval()
        sizes = [(64, 96)] if backbone.size_divisibility and "fpn" in name else [(64, 96), (61, 75)]
        with torch.no_grad():
            made[name] = (
                backbone.output_shape(),
                [(size, backbone(torch.randn(2, 3, *size))) for size in sizes],
            )
    return made


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("final", FINAL_UPSAMPLES)
def test_every_combination(features_of, backbone, skip, upsample, final):
    keys = ["SKIP", skip, "UPSAMPLE", upsample, "FINAL_UPSAMPLE", final, "NUM_CONVS", 1]
    pairs = [f"MODEL.SEM_SEG_HEAD.{k}" if i % 2 == 0 else k for i, k in enumerate(keys)]
    shapes, batches = features_of[backbone]
    head = build_sem_seg_head(tiny_config(*BACKBONES[backbone], *pairs), shapes)
    for size, features in batches:
        logits, losses = head.eval()(features)
        assert logits.shape[:2] == (2, 3) and losses == {}
        assert all(0 <= found - own < 4 for found, own in zip(logits.shape[2:], size))
        nothing, losses = head.train()(features, torch.randint(0, 3, (2, *size)))
        assert nothing is None
        sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def shapes(strides: dict[str, int]) -> dict[str, ShapeSpec]:
    return {name: ShapeSpec(channels=4, stride=stride) for name, stride in strides.items()}


def head_on(strides: dict[str, int], **arguments) -> UNetHead:
    torch.manual_seed(0)
    return UNetHead(
        shapes(strides), **{"num_classes": 3, "loss": SemSegLoss(num_classes=3), **arguments}
    )


def test_features_may_come_in_any_order():
    assert head_on({"c": 8, "a": 2, "b": 4}).in_features == ["a", "b", "c"]


def test_widths_follow_the_features_or_the_config():
    head = head_on({"a": 1, "b": 2, "c": 4}, widths=[6, 10], skip="add")
    assert [block.convs[-1][0].out_channels for block in head.up_blocks] == [10, 6]
    assert head.predictor.in_channels == 6
    default = head_on({"a": 1, "b": 2, "c": 4})
    assert [block.convs[-1][0].out_channels for block in default.up_blocks] == [4, 4]


def test_pixel_shuffle_takes_each_pixel_from_its_own_channel():
    """At stride 2 channel 4 k + 2 i + j holds pixel (i, j) of every 2 x 2 block of class k."""
    head = head_on({"a": 2}, final_upsample="pixel_shuffle").eval()
    x = torch.randn(1, 4, 3, 5)
    logits = head.layers({"a": x})
    raw = head.predictor(x)
    assert logits.shape == (1, 3, 6, 10)
    for k, i, j in ((0, 0, 0), (1, 0, 1), (2, 1, 0), (2, 1, 1)):
        assert torch.equal(logits[0, k, i::2, j::2], raw[0, 4 * k + 2 * i + j])


def test_bilinear_enlarges_logits_as_torch_does():
    head = head_on({"a": 4}).eval()
    x = torch.randn(1, 4, 3, 5)
    expected = F.interpolate(
        head.predictor(x), scale_factor=4, mode="bilinear", align_corners=False
    )
    assert torch.equal(head.layers({"a": x}), expected)


@pytest.mark.parametrize("final", FINAL_UPSAMPLES)
def test_stride_one_needs_no_enlarging(final):
    head = head_on({"a": 1}, final_upsample=final).eval()
    x = torch.randn(1, 4, 3, 5)
    assert torch.equal(head.layers({"a": x}), head.predictor(x))


def test_losses_see_the_image_alone_and_are_scaled():
    """Logits of an odd image cover one row and column more, which no target speaks of."""
    head = head_on({"a": 2}, loss_weight=0.25)
    logits, targets = torch.randn(2, 3, 6, 10), torch.randint(0, 3, (2, 5, 9))
    expected = head.loss(logits[..., :5, :9], targets)
    found = head.losses(logits, targets)
    assert found == {name: value * 0.25 for name, value in expected.items()}


@pytest.mark.parametrize(
    ("strides", "arguments", "words"),
    [
        ({"a": 1, "b": 4}, {}, "a at stride 1, b at stride 4"),
        ({"a": 2, "b": 2}, {}, "a at stride 2, b at stride 2"),
        ({"a": 1, "b": 2}, {"widths": [4, 4]}, r"2 features \(a, b\) take 1 decoder widths"),
        ({"a": 1}, {"num_classes": 0}, "at least 1 class"),
        ({"a": 1}, {"final_upsample": "shuffle"}, "Did you mean pixel_shuffle"),
        ({"a": 1, "b": 2}, {"skip": "sum"}, "'sum' is no skip connection"),
    ],
)
def test_mistakes_are_answered(strides, arguments, words):
    with pytest.raises(ConfigError, match=words):
        head_on(strides, **arguments)


def test_unknown_features_are_answered_with_the_nearest():
    key = ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage1", "stge2"]]
    with pytest.raises(ConfigError, match=r"names 'stge2'.*Did you mean stage"):
        build_sem_seg_head(tiny_config(*UNET, *key), shapes({"stage1": 1, "stage2": 2}))
