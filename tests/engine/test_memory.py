"""Stages that are computed twice learn the same and update their statistics once."""

import copy

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

import project.modeling  # noqa: F401
from model_cases import CASES, make_input, tiny_config
from project.engine.memory import checkpoint_backbone, compile_parts
from project.errors import ConfigError

BATCH = [make_input(61, 75, seed=1), make_input(56, 64, seed=2)]


def trained(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Gradients and buffers after one step."""
    torch.manual_seed(0)
    with EventStorage():
        sum(model.train()(copy.deepcopy(BATCH)).values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return gradients, dict(model.named_buffers())


@pytest.mark.parametrize("name", ["semantics", "joint", "semantics_resnet"])
def test_checkpointed_stages(name):
    torch.manual_seed(1)
    plain = build_model(tiny_config(*CASES[name]))
    spared = build_model(tiny_config(*CASES[name]))
    spared.load_state_dict(plain.state_dict())
    calls = []
    counted = next(m for m in spared.backbone.modules() if isinstance(m, nn.Conv2d))
    counted.register_forward_hook(lambda *_: calls.append(1))
    deep = [m for m in spared.backbone.modules() if isinstance(m, nn.Conv2d)][-2]
    deep.register_forward_hook(lambda *_: calls.append(2))
    checkpoint_backbone(spared)
    (gradients, buffers), (found, found_buffers) = trained(plain), trained(spared)
    assert calls.count(1) + calls.count(2) > 2, "nothing was computed again"
    for key, value in gradients.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    for key, value in buffers.items():
        assert torch.equal(found_buffers[key], value), key
    assert spared.state_dict().keys() == plain.state_dict().keys()


def test_backbones_without_stages_are_refused():
    with pytest.raises(ConfigError, match=r"backbone Conv2d has no stages"):
        checkpoint_backbone(nn.ModuleDict({"backbone": nn.Conv2d(1, 1, 1)}))


@pytest.mark.slow
def test_compiled_parts():
    torch.manual_seed(1)
    plain = build_model(tiny_config(*CASES["semantics"]))
    compiled = copy.deepcopy(plain)
    compile_parts(compiled)
    (gradients, _), (found, _) = trained(plain), trained(compiled)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for key, value in gradients.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)
