"""What semantic heads share: losses of all logits, and predictors that only teach."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model

from model_cases import AUXILIARY, CASES, SEMANTICS, STAGES, UNET, make_input, tiny_config
from project.errors import ConfigError
from project.modeling.sem_seg_loss import SemSegLoss
from project.modeling.semantic_head import AuxiliaryHead, SemanticHead
from project.modeling.smp_decoders import DECODERS
from project.modeling.unet_head import UNetHead

REPOSITORY = Path(__file__).resolve().parents[2]
CHANNELS = {"a": 4, "b": 6, "c": 8}
SHAPES = {
    name: ShapeSpec(channels=channels, stride=2 ** (i + 1))
    for i, (name, channels) in enumerate(CHANNELS.items())
}


def features(height: int = 16, width: int = 24) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        name: torch.randn(2, shape.channels, height // shape.stride, width // shape.stride)
        for name, shape in SHAPES.items()
    }


class Constant(SemanticHead):
    """Knows its logits."""

    logits: torch.Tensor

    def layers(self, features):
        return self.logits


def constant(**arguments) -> Constant:
    torch.manual_seed(0)
    head = Constant(num_classes=3, loss=SemSegLoss(num_classes=3), **arguments)
    head.logits = torch.randn(2, 3, 16, 24)
    return head


def test_losses_are_those_of_the_logits_within_the_targets():
    head, targets = constant(loss_weight=0.5), torch.randint(0, 3, (2, 11, 19))
    nothing, losses = head.train()({}, targets)
    assert nothing is None and len(losses) == 2
    expected = head.loss(head.logits[..., :11, :19], targets)
    assert losses == {name: 0.5 * value for name, value in expected.items()}
    logits, losses = head.eval()({})
    assert logits is head.logits and losses == {}
    assert head.ignore_value == 255


def test_a_feature_is_judged_aside():
    """As an own predictor on it would be, times its factor and that of all losses."""
    aside = {"b": AuxiliaryHead(SHAPES["b"], 3)}
    head = constant(loss_weight=0.5, auxiliary=aside, auxiliary_weight=0.4)
    targets = torch.randint(0, 3, (2, 16, 24))
    aside["b"].net[1].p = 0.0
    judged = aside["b"](features()["b"])
    assert judged.shape == (2, 3, 16, 24)
    _, losses = head.train()(features(), targets)
    for suffix, logits, factor in (("", head.logits, 0.5), ("_b", judged, 0.2)):
        for name, value in head.loss(logits, targets).items():
            torch.testing.assert_close(losses.pop(name + suffix), factor * value)
    assert losses == {}


def u_net(**arguments) -> UNetHead:
    torch.manual_seed(0)
    return UNetHead(SHAPES, num_classes=3, loss=SemSegLoss(num_classes=3), **arguments)


def test_levels_of_the_decoder_are_judged_deeply():
    head, targets = u_net(deep_supervision=[0.5, 0.25]), torch.randint(0, 3, (2, 16, 24))
    maps: list[torch.Tensor] = []
    for block in head.up_blocks:
        block.register_forward_hook(lambda module, inputs, out: maps.append(out))
    _, losses = head.train()(features(), targets)
    assert len(maps) == 2, "the decoder runs once"
    levels = {"_level2": (maps[0], 0.5), "_level3": (features()["c"], 0.25)}
    for i, (suffix, (x, factor)) in enumerate(levels.items()):
        convolution, enlarge = head.teachers[i]
        assert enlarge.factor == 4 * 2**i
        for name, value in head.loss(enlarge(convolution(x)), targets).items():
            torch.testing.assert_close(losses[name + suffix], factor * value)
    assert len(losses) == 2 * 3


def test_teachers_change_nothing_that_is_predicted():
    plain, taught = u_net().eval(), u_net(deep_supervision=[0.5, 0.25]).eval()
    missing = taught.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing and all(name.startswith("teachers.") for name in missing)
    for teacher in taught.teachers:
        teacher.register_forward_hook(lambda *_: pytest.fail("a teacher was asked"))
    logits, losses = taught(features())
    assert torch.equal(logits, plain(features())[0]) and losses == {}


def test_a_config_names_what_is_judged():
    model = build_model(tiny_config(*CASES["semantics_dilated"])).train()
    losses = model([make_input(40, 48), make_input(33, 20, objects=0)])
    suffixes = ["", "_level2", "_level3", "_stage3"]
    assert sorted(losses) == sorted(
        f"loss_sem_seg_{part}{suffix}" for part in ("ce", "dice") for suffix in suffixes
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("AUXILIARY_FEATURES", ["stge3"], "AUXILIARY_FEATURES names 'stge3'.*Did you mean stage"),
        ("AUXILIARY_WEIGHT", -1.0, "AUXILIARY_WEIGHT -1"),
        ("DEEP_SUPERVISION", [0.5, 0.5, 0.5, 0.5], "at most 3 factors.*stage2, stage3, stage4"),
        ("DEEP_SUPERVISION", [-0.5], "at least 0"),
    ],
)
def test_mistakes_are_answered(key, value, words):
    pair = [f"MODEL.SEM_SEG_HEAD.{key}", value]
    with pytest.raises(ConfigError, match=words):
        build_model(tiny_config(*UNET, *STAGES, *SEMANTICS, *pair))


def test_bottleneck_dilations_of_a_config():
    encoder = build_model(tiny_config(*CASES["semantics_dilated"])).backbone
    rates = {
        name: [m.dilation[0] for m in stage.modules() if isinstance(m, torch.nn.Conv2d)]
        for name, stage in encoder.stages.items()
    }
    assert rates.pop("stage4") == [1, 1, 2, 2, 4, 4]
    assert rates == {"stage1": [1, 1], "stage2": [1, 1], "stage3": [1, 1]}


@pytest.mark.parametrize(
    ("blocks", "dilations"), [([1, 1, 1, 2], [1, 2, 4]), ([], [0, 1]), ([1, 1, 1, 3], [2])]
)
def test_a_rate_for_each_block(blocks, dilations):
    keys = ["MODEL.UNET.NUM_BLOCKS", blocks, "MODEL.UNET.BOTTLENECK_DILATIONS", dilations]
    with pytest.raises(ConfigError, match="BOTTLENECK_DILATIONS holds a rate"):
        build_model(tiny_config(*UNET, *STAGES, *SEMANTICS, *keys))


def test_the_head_of_the_document_trains(tmp_path):
    text = (REPOSITORY / "docs" / "semantic.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "shallow_head.py").write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("shallow_head", tmp_path / "shallow_head.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    keys = ["MODEL.SEM_SEG_HEAD.NAME", "ShallowHead", "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage4"]]
    model = build_model(tiny_config(*UNET, *SEMANTICS, *AUXILIARY, *keys)).train()
    losses = model([make_input(40, 48), make_input(33, 20, objects=0)])
    assert len(losses) == 4 and all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_the_document_names_every_decoder_and_the_files_that_exist():
    text = (REPOSITORY / "docs" / "semantic.md").read_text(encoding="utf-8")
    assert sorted(name for name in DECODERS if f"`{name}`" not in text) == []
    named = set(re.findall(r"(?:configs|project|tests)/[\w./*-]*[\w*]", text))
    assert len(named) > 5
    assert sorted(name for name in named if not any(REPOSITORY.glob(name))) == []
