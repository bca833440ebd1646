"""DeepLab: Detectron2's decoder behind our losses, and its dilated backbone."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, build_model
from detectron2.projects.deeplab import DeepLabV3Head, DeepLabV3PlusHead

from model_cases import CASES, DEEPLAB, PROJECT, make_input, tiny_config
from project.engine.choices import check_choices
from project.errors import ConfigError
from project.modeling.deeplab_head import DeepLabHead
from project.modeling.sem_seg_loss import SemSegLoss

SHAPES = {"a": ShapeSpec(channels=4, stride=4), "b": ShapeSpec(channels=8, stride=16)}
SMALL = {"aspp_channels": 8, "aspp_dilations": [1, 2, 3], "aspp_dropout": 0.0}


def head_on(names: str, **arguments) -> DeepLabHead:
    torch.manual_seed(0)
    shapes = {name: SHAPES[name] for name in names}
    loss = SemSegLoss(num_classes=3)
    arguments = {**SMALL, "decoder_channels": 6, **arguments}
    return DeepLabHead(shapes, num_classes=3, loss=loss, **arguments).eval()


def features(height: int = 61, width: int = 75, images: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        name: torch.randn(images, s.channels, -(-height // s.stride), -(-width // s.stride))
        for name, s in SHAPES.items()
    }


def test_v3_plus_is_detectron2s():
    """The same names of weights, and with the same weights the same logits."""
    ours = head_on("ba", project_channels=[5])
    theirs = DeepLabV3PlusHead(
        SHAPES,
        project_channels=[5],
        aspp_dilations=[1, 2, 3],
        aspp_dropout=0.0,
        decoder_channels=[6, 8],
        common_stride=4,
        norm="BN",
        train_size=None,
        num_classes=3,
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    found, expected = ours(features())[0], theirs(features())[0]
    assert found.shape == (2, 3, 64, 76) and found.std() > 1e-5
    assert torch.equal(found, expected)


def test_v3_is_detectron2s():
    """Of one feature nothing is left but ASPP and predictor."""
    ours = head_on("b")
    cfg = tiny_config(*DEEPLAB, "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["b"])
    cfg.MODEL.SEM_SEG_HEAD.merge_from_list(
        ["ASPP_DILATIONS", [1, 2, 3], "ASPP_CHANNELS", 8, "CONVS_DIM", 8, "COMMON_STRIDE", 16]
    )
    cfg.MODEL.SEM_SEG_HEAD.LOSS_TYPE = "cross_entropy"
    theirs = DeepLabV3Head(cfg, SHAPES).eval()
    prefix = "decoder.b.project_conv."
    own = ours.state_dict()
    assert {name.replace(prefix, "aspp.") for name in own} == theirs.state_dict().keys()
    theirs.load_state_dict({name.replace(prefix, "aspp."): value for name, value in own.items()})
    assert torch.equal(ours(features())[0], theirs(features())[0])


def test_classes_differ_from_the_start():
    """Adam keeps classes alike whose weights all start near zero, as Detectron2's do."""
    weight = head_on("ab").predictor.weight
    theirs = DeepLabV3PlusHead(
        {"b": SHAPES["b"]},
        project_channels=[],
        aspp_dilations=[1, 2, 3],
        aspp_dropout=0.0,
        decoder_channels=[6],
        common_stride=16,
        norm="BN",
        train_size=None,
        num_classes=3,
    )
    assert theirs.predictor.weight.std() < 0.01 < 0.1 < weight.std()


def test_losses_are_ours_with_weights_and_holes():
    head, targets = head_on("ab").train(), torch.randint(0, 3, (2, 61, 75))
    targets[:, 30:] = 255
    logits = F.interpolate(
        DeepLabV3PlusHead.layers(head, features()), scale_factor=4, mode="bilinear"
    )
    expected = head.loss(logits[..., :61, :75], targets)
    _, losses = head(features(), targets)
    assert set(losses) == {"loss_sem_seg_ce", "loss_sem_seg_dice"}
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])


def test_a_single_cell_trains():
    """One image of 16 x 16 pixels is one cell of the ASPP, which has no deviation."""
    head = head_on("b").train()
    _, losses = head(features(16, 16, images=1), torch.randint(0, 3, (1, 16, 16)))
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_the_dilated_backbone_of_a_config():
    """RES4_DILATION 2 and RES5_DILATION 4 keep stride 8; the rates multiply the multi-grid."""
    keys = ["BACKBONE.NAME", "build_resnet_deeplab_backbone", "BACKBONE.FREEZE_AT", 0]
    keys += ["RESNETS.DEPTH", 50, "RESNETS.RES2_OUT_CHANNELS", 16, "RESNETS.WIDTH_PER_GROUP", 4]
    keys += ["RESNETS.STEM_OUT_CHANNELS", 8, "RESNETS.OUT_FEATURES", ["res2", "res5"]]
    keys += ["RESNETS.RES4_DILATION", 2, "RESNETS.RES5_DILATION", 4, "RESNETS.NORM", "BN"]
    pairs = [f"MODEL.{key}" if i % 2 == 0 else key for i, key in enumerate(keys)]
    backbone = build_backbone(tiny_config(*pairs))
    assert {name: s.stride for name, s in backbone.output_shape().items()} == {"res2": 4, "res5": 8}
    assert [block.conv2.dilation[0] for block in backbone.res5] == [4, 8, 16]
    names = ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res5"]]
    names += ["MODEL.SEM_SEG_HEAD.PROJECT_FEATURES", ["res2"], "MODEL.MASK_UNET.INSTANCES", False]
    model = build_model(tiny_config(*pairs, *DEEPLAB, *names)).eval()
    with torch.no_grad():
        (output,) = model([make_input(61, 75)])
    assert output["sem_seg"].shape == (3, 61, 75)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["ASPP_DILATIONS", [1, 2]], r"three.*found \[1, 2\]"),
        (["PROJECT_CHANNELS", [8, 8]], r"\(stage1\).*\[8, 8\]"),
        (["PROJECT_FEATURES", ["stge1"]], "PROJECT_FEATURES names 'stge1'"),
    ],
)
def test_mistakes_are_answered(keys, words):
    key = f"MODEL.SEM_SEG_HEAD.{keys[0]}"
    with pytest.raises(ConfigError, match=words):
        build_model(tiny_config(*CASES["semantics_deeplab"], *PROJECT, key, keys[1]))


def test_v3_ignores_no_key_of_v3_plus():
    """Channels for features that nobody named are a mistake, not a wish to be dropped."""
    key = "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS"
    with pytest.raises(ConfigError, match="none here"):
        build_model(tiny_config(*CASES["semantics_deeplab"], key, [8]))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["DEPTH", 18], "DEPTH 50, 101 or 152.*found 18"),
        (["RES4_DILATION", 2], r"one of .*\(2, 4\).*found 50, \(2, 1\)"),
        (["RES5_MULTI_GRID", [1, 2]], r"three numbers.*\[1, 2\]"),
        (["STEM_TYPE", "deplab"], "Did you mean deeplab"),
    ],
)
def test_mistakes_in_the_dilated_backbone_are_found_before_it_is_built(keys, words):
    name = ["MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone", "MODEL.RESNETS.DEPTH", 50]
    check_choices(tiny_config(*name), "predict")
    with pytest.raises(ConfigError, match=words):
        check_choices(tiny_config(*name, f"MODEL.RESNETS.{keys[0]}", keys[1]), "predict")
