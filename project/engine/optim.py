"""Optimizer, learning rate schedule and gradient clipping from a config."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    ParamScheduler,
)
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from project.engine.layer_decay import layer_factors
from project.layers.blocks import check_choice
from project.modeling.precision import amp_dtype

logger = logging.getLogger(__name__)

Parameters = Iterable[nn.Parameter]


def _sgd(cfg: CfgNode, params: list) -> Optimizer:
    # Where the first step overflows in fp16, as it often does while the scale of the losses is
    # still looked for, torch's fused SGD (2.11, 2.14) leaves its momentum as the memory was found.
    fused = amp_dtype(cfg) != torch.float16
    return torch.optim.SGD(
        params,
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        nesterov=cfg.SOLVER.NESTEROV,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        fused=fused,
        foreach=not fused,
    )


# SOLVER.OPTIMIZER -> from the config and groups of parameters.
OPTIMIZERS: dict[str, Callable[[CfgNode, list], Optimizer]] = {
    "SGD": _sgd,
    "Adam": lambda cfg, params: torch.optim.Adam(
        params, lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY, fused=True
    ),
    "AdamW": lambda cfg, params: torch.optim.AdamW(
        params, lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY, fused=True
    ),
}


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """SGD, Adam or AdamW with Detectron2's rules for the decay of norms and biases.

    Raises:
        ConfigError: SOLVER.OPTIMIZER is not known, or nothing can be decayed by layers.
    """
    solver = cfg.SOLVER
    check_choice("SOLVER.OPTIMIZER", solver.OPTIMIZER, OPTIMIZERS)
    factors = layer_factors([name for name, _ in model.named_parameters()], solver.LAYER_DECAY)

    def factor(name: str) -> float:
        # Detectron2's own factor of biases would take the place of that of their layer.
        bias = solver.BIAS_LR_FACTOR if name.rpartition(".")[2] == "bias" else 1.0
        return bias * factors[name.removeprefix(".")]  # the model's own come as ".name"

    params = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        lr_factor_func=factor,
    )
    return OPTIMIZERS[solver.OPTIMIZER](cfg, params)


def scale_learning_rate(cfg: CfgNode) -> CfgNode:
    """The config with BASE_LR and BASE_LR_END for its own batch; see SOLVER.AUTO_SCALE_LR."""
    solver = cfg.SOLVER
    if not solver.AUTO_SCALE_LR.ENABLED:
        return cfg
    reference = solver.AUTO_SCALE_LR.REFERENCE_BATCH
    ratio = solver.IMS_PER_BATCH / reference
    factor = ratio if solver.OPTIMIZER == "SGD" else ratio**0.5
    scaled = cfg.clone()
    scaled.defrost()
    scaled.SOLVER.BASE_LR *= factor
    scaled.SOLVER.BASE_LR_END *= factor
    scaled.freeze()
    logger.info(
        "SOLVER.AUTO_SCALE_LR: BASE_LR %g for %d images -> %g for %d",
        solver.BASE_LR,
        reference,
        scaled.SOLVER.BASE_LR,
        solver.IMS_PER_BATCH,
    )
    return scaled


class PolynomialDecay(ParamScheduler):
    """From 1 to `end`: end + (1 - end) * (1 - progress) ** power."""

    def __init__(self, end: float, power: float) -> None:
        self.end = end
        self.power = power

    def __call__(self, where: float) -> float:
        """The factor at `where`, 0 to 1, of the decay."""
        return self.end + (1 - self.end) * (1 - where) ** self.power


# fvcore's own refuses the step after the last.
_CONSTANT = PolynomialDecay(end=1.0, power=1.0)


class PlateauLR(LRMultiplier):
    """A multiplier that is lowered from outside.

    Attributes:
        scale: a further factor of all learning rates, 1 at the start.
    """

    scale = 1.0

    def state_dict(self) -> dict[str, Any]:
        """With the factor; `load_state_dict` restores it."""
        return {**super().state_dict(), "scale": self.scale}

    def get_lr(self) -> list[float]:
        """Called by the scheduler's step."""
        return [rate * self.scale for rate in super().get_lr()]

    def lower(self, factor: float, lowest: float) -> None:
        """Multiplies the factor, but not below `lowest`; the next step takes it up."""
        self.scale = max(self.scale * factor, lowest)


def _decay(
    cfg: CfgNode,
    optimizer: Optimizer,
    decay: ParamScheduler,
    kind: type[LRMultiplier] = LRMultiplier,
) -> LRScheduler:
    """Warm-up, a hold of DECAY_START, then `decay`."""
    solver = cfg.SOLVER
    start = solver.DECAY_START
    if start > 0:
        decay = CompositeParamScheduler(
            [ConstantParamScheduler(1.0), decay],
            lengths=[start, 1.0 - start],
            interval_scaling=["rescaled", "rescaled"],
        )
    warmed = WarmupParamScheduler(
        decay,
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
    )
    return kind(optimizer, multiplier=warmed, max_iter=solver.MAX_ITER)


def end_factor(cfg: CfgNode) -> float:
    """Last learning rate as a share of the first."""
    return cfg.SOLVER.BASE_LR_END / cfg.SOLVER.BASE_LR


PLATEAU = "WarmupReduceOnPlateau"
# SOLVER.LR_SCHEDULER_NAME -> from a config and an optimizer; the first two are Detectron2's own.
SCHEDULERS: dict[str, Callable[[CfgNode, Optimizer], LRScheduler]] = {
    "WarmupMultiStepLR": build_lr_scheduler,
    "WarmupStepWithFixedGammaLR": build_lr_scheduler,
    "WarmupCosineLR": lambda cfg, optimizer: _decay(
        cfg, optimizer, CosineParamScheduler(1.0, end_factor(cfg))
    ),
    "WarmupPolyLR": lambda cfg, optimizer: _decay(
        cfg, optimizer, PolynomialDecay(end_factor(cfg), cfg.SOLVER.POLY_POWER)
    ),
    "WarmupConstantLR": lambda cfg, optimizer: _decay(cfg, optimizer, _CONSTANT),
    PLATEAU: lambda cfg, optimizer: _decay(cfg, optimizer, _CONSTANT, PlateauLR),
}


def build_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """Warm-up, then steps, cosine or polynomial decay, none, or one when a score stands still.

    Raises:
        ConfigError: SOLVER.LR_SCHEDULER_NAME is not known.
    """
    name = cfg.SOLVER.LR_SCHEDULER_NAME
    check_choice("SOLVER.LR_SCHEDULER_NAME", name, SCHEDULERS)
    return SCHEDULERS[name](cfg, optimizer)


def _clip_each_norm(clip: CfgNode, parameters: Parameters) -> None:
    for parameter in parameters:
        nn.utils.clip_grad_norm_(parameter, clip.CLIP_VALUE, clip.NORM_TYPE)


# SOLVER.CLIP_GRADIENTS.CLIP_TYPE -> clips in place, from SOLVER.CLIP_GRADIENTS and parameters.
CLIPPERS: dict[str, Callable[[CfgNode, Parameters], object]] = {
    "value": lambda clip, params: nn.utils.clip_grad_value_(params, clip.CLIP_VALUE),
    "norm": _clip_each_norm,
    "full_model": lambda clip, params: nn.utils.clip_grad_norm_(
        params, clip.CLIP_VALUE, clip.NORM_TYPE
    ),
}


def build_gradient_clipper(cfg: CfgNode) -> Callable[[Parameters], object]:
    """A function that clips the gradients of parameters in place, as SOLVER.CLIP_GRADIENTS says.

    CLIP_TYPE "value" bounds each number, "norm" each parameter's norm, "full_model" the norm of
    all gradients together. It runs on unscaled gradients; Detectron2 clips inside the optimizer,
    where a fused one still sees the scaled gradients of mixed precision.

    Raises:
        ConfigError: CLIP_TYPE is not known.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return lambda parameters: None
    check_choice("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", clip.CLIP_TYPE, CLIPPERS)
    return partial(CLIPPERS[clip.CLIP_TYPE], clip)
