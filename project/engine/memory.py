"""What trades time for memory, and the start for speed: checkpointing and compiling of modules."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from project.engine.stages import stages_of
from project.errors import ConfigError


def checkpoint_backbone(model: nn.Module) -> None:
    """Makes the stages of a backbone keep only their inputs in training, in place.

    Chen et al. 2016 (arXiv:1604.06174). Gradients are the same; running statistics are updated
    once, although the stages are computed twice.

    Raises:
        ConfigError: the backbone has no stages that are known here.
    """
    names = dict.fromkeys(stages_of(name for name, _ in model.named_parameters()).values())
    stages = [model.get_submodule(name) for name in names if name]
    if not stages:
        backbone = type(getattr(model, "backbone", model)).__name__
        raise ConfigError(
            f"MODEL.GRADIENT_CHECKPOINTING: the backbone {backbone} has no stages that are known;"
            " leave the key out, or lower SOLVER.IMS_PER_BATCH or raise SOLVER.ACCUMULATE"
        )
    for stage in stages:
        stage.forward = partial(_recomputed, stage, stage.forward)


def _recomputed(stage: nn.Module, forward: Any, *inputs: Any, **options: Any) -> Any:
    if not (stage.training and torch.is_grad_enabled()):
        return forward(*inputs, **options)
    contexts = partial(_contexts, stage)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **options)


def _contexts(
    stage: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first computation and around the second."""
    return nullcontext(), _frozen_statistics(stage)


@contextmanager
def _frozen_statistics(stage: nn.Module) -> Iterator[None]:
    norms = [m for m in stage.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts):
            norm.momentum, norm.num_batches_tracked = momentum, count


def compile_parts(model: nn.Module, backend: str = "inductor") -> None:
    """Compiles the backbone and the layers of the semantic head, in place; names of weights stay.

    Proposals and RoI heads stay as they are: their sizes change with every image. So do losses,
    some of which leave torch. The first batch compiles, and so do the first of another size, after
    which sizes may vary, and the first evaluation. A deep copy of the model must be made before:
    that of the compiled layers would compute with the weights of the original.

    Args:
        model: a meta architecture.
        backend: of torch.compile.

    Raises:
        ConfigError: the model has no such parts.
    """
    backbone, head = getattr(model, "backbone", None), getattr(model, "sem_seg_head", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError(
            f"MODEL.COMPILE: {type(model).__name__} has no backbone to compile; leave the key out"
        )
    backbone.compile(backend=backend)
    for name in ("layers", "judged"):  # in prediction, and in training of our own heads
        if hasattr(head, name):
            setattr(head, name, torch.compile(getattr(head, name), backend=backend))


def check_compiler(cfg: CfgNode) -> None:
    """Checks that this machine can do what MODEL.COMPILE asks for.

    Args:
        cfg: MODEL.DEVICE must be resolved.

    Raises:
        ConfigError: there is no compiler.
    """
    if not cfg.MODEL.COMPILE:
        return
    if cfg.MODEL.DEVICE == "cpu" and not has_compiler():
        raise ConfigError(
            "MODEL.COMPILE needs a C++ compiler on the CPU, and neither $CXX nor g++ nor clang++ is"
            " there; install one, or leave the key out"
        )
    if cfg.MODEL.DEVICE != "cpu" and find_spec("triton") is None:
        raise ConfigError(
            "MODEL.COMPILE needs the package triton on a GPU; install it, or leave the key out"
        )


def has_compiler() -> bool:
    """Whether there is a C++ compiler that torch would take."""
    return any(map(shutil.which, [os.environ.get("CXX") or "g++", "g++", "clang++"]))
