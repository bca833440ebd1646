"""Stages that are computed twice learn the same and update their statistics once."""

import copy

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

import project.modeling  # noqa: F401
from model_cases import CASES, make_input, tiny_config
from project.engine.memory import checkpoint_backbone, compile_parts, has_compiler
from project.engine.solver_checks import check_solver
from project.engine.stages import stages_of
from project.errors import ConfigError

BATCH = [make_input(61, 75, seed=1), make_input(56, 64, seed=2)]


def trained(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Gradients and buffers after one step."""
    torch.manual_seed(0)
    with EventStorage():
        sum(model.train()(copy.deepcopy(BATCH)).values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return gradients, dict(model.named_buffers())


CHECKPOINTED = ["semantics", "joint", "semantics_resnet", "semantics_timm", "instances_timm"]


@pytest.mark.parametrize("name", CHECKPOINTED)
def test_checkpointed_stages(name):
    torch.manual_seed(1)
    plain = build_model(tiny_config(*CASES[name]))
    spared = build_model(tiny_config(*CASES[name]))
    spared.load_state_dict(plain.state_dict())
    calls = []
    stages = dict.fromkeys(
        filter(None, stages_of(n for n, _ in spared.named_parameters()).values())
    )
    assert len(stages) >= 3
    for stage in stages:
        inside = next(m for m in spared.get_submodule(stage).modules() if not list(m.children()))
        inside.register_forward_hook(lambda *_, stage=stage: calls.append(stage))
    checkpoint_backbone(spared)
    (gradients, buffers), (found, found_buffers) = trained(plain), trained(spared)
    assert {stage: calls.count(stage) for stage in stages} == dict.fromkeys(stages, 2)
    for key, value in gradients.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    for key, value in buffers.items():
        assert torch.equal(found_buffers[key], value), key
    assert spared.state_dict().keys() == plain.state_dict().keys()


def test_backbones_without_stages_are_refused():
    with pytest.raises(ConfigError, match=r"backbone Conv2d has no stages"):
        checkpoint_backbone(nn.ModuleDict({"backbone": nn.Conv2d(1, 1, 1)}))


def test_a_missing_compiler_is_told_early(monkeypatch):
    monkeypatch.setattr("project.engine.memory.shutil.which", lambda name: None)
    check_solver(tiny_config())
    with pytest.raises(ConfigError, match=r"MODEL\.COMPILE needs a C\+\+ compiler"):
        check_solver(tiny_config("MODEL.COMPILE", True))


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_parts(backend):
    """The backend "eager" traces the parts as the others do, and generates no code."""
    if backend == "inductor" and not has_compiler():
        pytest.skip("there is no C++ compiler")
    torch.manual_seed(1)
    plain = build_model(tiny_config(*CASES["semantics"]))
    compiled = copy.deepcopy(plain)
    compile_parts(compiled, backend)
    counter = torch._dynamo.utils.counters
    counter.clear()
    (gradients, _), (found, _) = trained(plain), trained(compiled)
    assert counter["stats"]["unique_graphs"] == 2, "backbone and layers"
    assert not counter["graph_break"]
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for key, value in gradients.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)


def test_models_without_a_backbone_are_not_compiled():
    with pytest.raises(ConfigError, match="Linear has no backbone"):
        compile_parts(nn.Linear(1, 1))
