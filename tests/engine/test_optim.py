"""Optimizers, schedules and clipping against their formulas."""

import math

import pytest
import torch
from torch import nn

from project.config import load_config
from project.engine.layer_decay import layer_factors
from project.engine.optim import (
    build_gradient_clipper,
    build_optimizer,
    build_scheduler,
    scale_learning_rate,
)
from project.errors import ConfigError


def rates(*overrides: str, max_iter: int = 100) -> list[float]:
    """Learning rate of each iteration."""
    base = ["SOLVER.MAX_ITER", str(max_iter), "SOLVER.BASE_LR", "0.4"]
    cfg = load_config(None, [*base, *overrides])
    optimizer = build_optimizer(cfg, nn.Linear(2, 2))
    scheduler = build_scheduler(cfg, optimizer)
    found = []
    for _ in range(max_iter):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_after_warmup_and_hold():
    found = rates(
        *("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.WARMUP_ITERS", "10"),
        *("SOLVER.WARMUP_FACTOR", "0.1", "SOLVER.DECAY_START", "0.3"),
    )
    assert found[0] == pytest.approx(0.04)
    assert found[5] == pytest.approx(0.04 + 0.36 * 5 / 10)
    assert found[10:30] == pytest.approx([0.4] * 20)
    for i in (30, 47, 65, 99):
        assert found[i] == pytest.approx(0.2 * (1 + math.cos(math.pi * (i - 30) / 70)))


def test_polynomial_decay():
    found = rates(
        *("SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.WARMUP_ITERS", "0"),
        *("SOLVER.POLY_POWER", "0.9"),
    )
    for i in (0, 1, 50, 99):
        assert found[i] == pytest.approx(0.4 * (1 - i / 100) ** 0.9)


def test_polynomial_decay_ends_at_base_lr_end():
    found = rates(
        *("SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.WARMUP_ITERS", "0"),
        *("SOLVER.POLY_POWER", "2.0", "SOLVER.BASE_LR_END", "0.1"),
    )
    for i in (0, 1, 50, 99):
        assert found[i] == pytest.approx(0.1 + 0.3 * (1 - i / 100) ** 2)


def test_steps():
    found = rates("SOLVER.STEPS", "(60, 80)", "SOLVER.WARMUP_ITERS", "0", "SOLVER.GAMMA", "0.5")
    assert (found[59], found[60], found[80]) == pytest.approx((0.4, 0.2, 0.1))


@pytest.mark.parametrize(
    ("key", "value", "suggestion"),
    [
        ("SOLVER.OPTIMIZER", "AdamV", "Adam, AdamW"),
        ("SOLVER.LR_SCHEDULER_NAME", "WarmupCosinLR", "WarmupCosineLR"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(key, value, suggestion):
    with pytest.raises(ConfigError, match=f"Did you mean {suggestion}"):
        rates(key, value)


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_fused_optimizer_steps_as_the_plain_one(name, kind):
    cfg = load_config(None, ["SOLVER.OPTIMIZER", name, "SOLVER.WEIGHT_DECAY_NORM", "0.0"])
    torch.manual_seed(0)
    ours, plain = nn.Linear(3, 2), nn.Linear(3, 2)
    plain.load_state_dict(ours.state_dict())
    arguments = {"lr": cfg.SOLVER.BASE_LR, "weight_decay": cfg.SOLVER.WEIGHT_DECAY}
    if name == "SGD":
        arguments["momentum"] = cfg.SOLVER.MOMENTUM
    pairs = [(ours, build_optimizer(cfg, ours)), (plain, kind(plain.parameters(), **arguments))]
    before = ours.weight.detach().clone()
    x = torch.randn(5, 3)
    for _ in range(3):
        for model, optimizer in pairs:
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    assert not torch.allclose(ours.weight, before)
    torch.testing.assert_close(ours.weight, plain.weight)


def test_norms_have_their_own_weight_decay():
    cfg = load_config(None, ["SOLVER.WEIGHT_DECAY", "0.1", "SOLVER.WEIGHT_DECAY_NORM", "0.0"])
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decay = {
        id(p): group["weight_decay"]
        for group in build_optimizer(cfg, model).param_groups
        for p in group["params"]
    }
    assert decay[id(model[0].weight)] == 0.1
    assert decay[id(model[1].weight)] == 0.0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("value", [[1.0, 1.0], [0.5, 0.0]]),
        ("norm", [[0.6, 0.8], [0.5, 0.0]]),
        ("full_model", [[3 / 5.0249, 4 / 5.0249], [0.5 / 5.0249, 0.0]]),
    ],
)
def test_clipping(kind, expected):
    clip = "SOLVER.CLIP_GRADIENTS"
    cfg = load_config(
        None, [f"{clip}.ENABLED", "True", f"{clip}.CLIP_TYPE", kind, f"{clip}.CLIP_VALUE", "1.0"]
    )
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    for parameter, gradient in zip(parameters, [[3.0, 4.0], [0.5, 0.0]], strict=True):
        parameter.grad = torch.tensor(gradient)
    build_gradient_clipper(cfg)(parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, torch.tensor(gradient), atol=1e-4, rtol=0)


def test_no_clipping_unless_asked():
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.tensor([1e6])
    build_gradient_clipper(load_config())([parameter])
    assert parameter.grad.item() == 1e6


def test_constant_after_warmup():
    words = ("SOLVER.LR_SCHEDULER_NAME", "WarmupConstantLR", "SOLVER.WARMUP_ITERS", "10")
    found = rates(*words, "SOLVER.WARMUP_FACTOR", "0.1")
    assert found[0] == pytest.approx(0.04) and found[10:] == pytest.approx([0.4] * 90)


def test_adam_by_its_first_step():
    """The rate times the sign of the gradient, in AdamW after the decay."""
    words = ["SOLVER.BASE_LR", "0.1", "SOLVER.WEIGHT_DECAY", "0.5"]
    for name, expected in (("Adam", [0.9, -0.9]), ("AdamW", [0.85, -0.85])):
        cfg = load_config(None, ["SOLVER.OPTIMIZER", name, *words])
        layer = nn.Linear(2, 1, bias=False)
        layer.weight.data = torch.tensor([[1.0, -1.0]])
        optimizer = build_optimizer(cfg, layer)
        layer.weight.grad = torch.tensor([[3.0, -2.0]])
        optimizer.step()
        assert layer.weight[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_norms_and_biases_may_go_without_decay():
    words = ["SOLVER.WEIGHT_DECAY", "0.1", "SOLVER.WEIGHT_DECAY_NORM", "0.0"]
    words += ["SOLVER.WEIGHT_DECAY_BIAS", "0.0"]
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LayerNorm(3))
    optimizer = build_optimizer(load_config(None, words), model)
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    found = {name: decays[id(p)] for name, p in model.named_parameters()}
    assert found.pop("0.weight") == 0.1 and set(found.values()) == {0.0} and len(found) == 5


@pytest.mark.parametrize(
    ("optimizer", "expected"), [("SGD", 0.2), ("Adam", 0.1 * 2**0.5), ("AdamW", 0.1 * 2**0.5)]
)
def test_rates_follow_the_batch(optimizer, expected, caplog):
    words = ["SOLVER.OPTIMIZER", optimizer, "SOLVER.BASE_LR", "0.1", "SOLVER.IMS_PER_BATCH", "32"]
    cfg = load_config(None, words)
    cfg.freeze()
    assert scale_learning_rate(cfg) is cfg
    cfg = load_config(None, [*words, "SOLVER.AUTO_SCALE_LR.ENABLED", "True"])
    with caplog.at_level("INFO", logger="project"):
        scaled = scale_learning_rate(cfg)
    assert pytest.approx(expected) == scaled.SOLVER.BASE_LR and cfg.SOLVER.BASE_LR == 0.1
    assert f"0.1 for 16 images -> {expected:g} for 32" in caplog.text


LAYERS = {
    "backbone.encoder.stages.stage1.0.weight": 0.5**3,
    "backbone.encoder.stages.stage2.0.weight": 0.5**2,
    "backbone.encoder.stages.stage3.0.bias": 0.5,
    "backbone.fpn.fpn_lateral2.weight": 1.0,
    "sem_seg_head.up_blocks.0.weight": 1.0,
}
RESNET = {
    "backbone.bottom_up.stem.conv1.weight": 0.5**3,
    "backbone.bottom_up.res2.0.conv1.weight": 0.5**2,
    "backbone.bottom_up.res3.0.conv1.weight": 0.5,
    "backbone.fpn_output3.weight": 1.0,
    "roi_heads.box_head.fc1.weight": 1.0,
}
TIMM = {
    "backbone.net.stem_0.weight": 0.5**3,
    "backbone.net.stages_0.blocks.1.weight": 0.5**2,
    "backbone.net.stages_1.blocks.0.weight": 0.5,
    "sem_seg_head.predictor.weight": 1.0,
}


HRNET = {
    "backbone.network.conv1.weight": 0.5**3,
    "backbone.network.layer1.0.weight": 0.5**2,
    "backbone.network.transition1.0.weight": 0.5**2,
    "backbone.network.stage2.0.weight": 0.5,
    "backbone.network.incre_modules.0.weight": 0.5,
    "sem_seg_head.predictor.weight": 1.0,
}
TRANSFORMER = {
    "model.model.pixel_level_module.encoder.embeddings.weight": 0.5**3,
    "model.model.pixel_level_module.encoder.encoder.layers.0.blocks.1.weight": 0.5**2,
    "model.model.pixel_level_module.encoder.encoder.layers.1.blocks.0.weight": 0.5,
    "model.model.pixel_level_module.decoder.layers.0.weight": 1.0,
}
NETWORKS = {"unet": LAYERS, "resnet": RESNET, "timm": TIMM, "hrnet": HRNET, "hf": TRANSFORMER}


@pytest.mark.parametrize("names", NETWORKS.values(), ids=NETWORKS)
def test_layer_decay(names):
    assert layer_factors(list(names), 0.5) == names
    assert set(layer_factors(list(names), 1.0).values()) == {1.0}


def test_biases_have_both_their_factors():
    words = ["SOLVER.BASE_LR", "0.8", "SOLVER.LAYER_DECAY", "0.5", "SOLVER.BIAS_LR_FACTOR", "2.0"]
    stages = nn.ModuleDict({"stage1": nn.Linear(1, 1), "stage2": nn.Linear(1, 1)})
    model = nn.ModuleDict({"backbone": nn.ModuleDict({"stages": nn.ModuleDict(stages)})})
    optimizer = build_optimizer(load_config(None, words), model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = [rates[id(p)] for _, p in model.named_parameters()]  # weight, bias of each stage
    assert found == pytest.approx([0.2, 0.4, 0.4, 0.8])


def test_layer_decay_needs_layers():
    with pytest.raises(ConfigError, match="no numbered stages"):
        layer_factors(["backbone.a.weight", "head.weight"], 0.5)
    with pytest.raises(ConfigError, match="above 0 and up to 1, found 0"):
        layer_factors(["backbone.a.weight"], 0.0)


def test_sgd_in_fp16_is_not_fused():
    """See `tests/engine/test_cuda.py` for why."""
    words = ["MODEL.DEVICE", "cuda", "SOLVER.OPTIMIZER", "SGD", "SOLVER.AMP.DTYPE"]
    for dtype, fused in (("fp16", False), ("bf16", True)):
        (group,) = build_optimizer(load_config(None, [*words, dtype]), nn.Linear(2, 2)).param_groups
        assert group["fused"] is fused and group["foreach"] is not fused
