"""Optimizer, learning rate schedule and gradient clipping from a config."""

from collections.abc import Callable, Iterable

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    ParamScheduler,
    PolynomialDecayParamScheduler,
)
from torch import nn

from project.errors import ConfigError, nearest


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW, fused, with Detectron2's rules for the weight decay of norms and biases.

    Raises:
        ConfigError: SOLVER.OPTIMIZER is not known.
    """
    solver = cfg.SOLVER
    factories: dict[str, Callable[[list], torch.optim.Optimizer]] = {
        "SGD": lambda params: torch.optim.SGD(
            params,
            lr=solver.BASE_LR,
            momentum=solver.MOMENTUM,
            nesterov=solver.NESTEROV,
            weight_decay=solver.WEIGHT_DECAY,
            fused=True,
        ),
        "AdamW": lambda params: torch.optim.AdamW(
            params, lr=solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY, fused=True
        ),
    }
    if solver.OPTIMIZER not in factories:
        raise ConfigError(
            f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r} is not known."
            f"{nearest(solver.OPTIMIZER, factories)}"
        )
    params = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
    )
    return factories[solver.OPTIMIZER](params)


def build_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    """Warm-up, then steps, cosine or polynomial decay; the last two after a hold of DECAY_START.

    Step schedules are Detectron2's own (SOLVER.STEPS, GAMMA).
    """
    solver = cfg.SOLVER
    decays: dict[str, ParamScheduler] = {
        "WarmupCosineLR": CosineParamScheduler(1.0, solver.BASE_LR_END / solver.BASE_LR),
        "WarmupPolyLR": PolynomialDecayParamScheduler(1.0, solver.POLY_POWER),
    }
    decay = decays.get(solver.LR_SCHEDULER_NAME)
    if decay is None:
        try:
            return build_lr_scheduler(cfg, optimizer)
        except ValueError as error:
            known = ["WarmupMultiStepLR", "WarmupStepWithFixedGammaLR", *decays]
            raise ConfigError(
                f"SOLVER.LR_SCHEDULER_NAME {solver.LR_SCHEDULER_NAME!r} is not known."
                f"{nearest(solver.LR_SCHEDULER_NAME, known)}"
            ) from error
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
    return LRMultiplier(optimizer, multiplier=warmed, max_iter=solver.MAX_ITER)


def build_gradient_clipper(cfg: CfgNode) -> Callable[[Iterable[nn.Parameter]], object]:
    """A function that clips the gradients of parameters in place, as SOLVER.CLIP_GRADIENTS says.

    CLIP_TYPE "value" bounds each number, "norm" each parameter's norm, "full_model" the norm of
    all gradients together. It runs on unscaled gradients; Detectron2 clips inside the optimizer,
    where a fused one still sees the scaled gradients of mixed precision.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return lambda parameters: None

    def clip_each_norm(parameters: Iterable[nn.Parameter]) -> None:
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, clip.CLIP_VALUE, clip.NORM_TYPE)

    clippers: dict[str, Callable[[Iterable[nn.Parameter]], object]] = {
        "value": lambda params: nn.utils.clip_grad_value_(params, clip.CLIP_VALUE),
        "norm": clip_each_norm,
        "full_model": lambda params: nn.utils.clip_grad_norm_(
            params, clip.CLIP_VALUE, clip.NORM_TYPE
        ),
    }
    if clip.CLIP_TYPE not in clippers:
        raise ConfigError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE {clip.CLIP_TYPE!r} is not known."
            f"{nearest(clip.CLIP_TYPE, clippers)}"
        )
    return clippers[clip.CLIP_TYPE]
