"""What trades time for memory, and the start for speed: checkpointing and compiling of modules."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from project.errors import ConfigError

# Parts of a backbone that are computed again one at a time.
_STAGES = ("stages", "blocks", "layers")


def checkpoint_backbone(model: nn.Module) -> None:
    """Makes the stages of a backbone keep only their inputs in training, in place.

    Chen et al. 2016 (arXiv:1604.06174). Gradients are the same; running statistics are updated
    once, although the stages are computed twice.

    Raises:
        ConfigError: the backbone has no stages that are known here.
    """
    backbone = getattr(model, "backbone", None)
    stages = list(_stages(backbone)) if isinstance(backbone, nn.Module) else []
    if not stages:
        raise ConfigError(
            f"MODEL.GRADIENT_CHECKPOINTING: the backbone {type(backbone).__name__} has no stages"
            " that are known; leave the key out, or lower SOLVER.IMS_PER_BATCH"
        )
    for stage in stages:
        stage.forward = partial(_recomputed, stage, stage.forward)


def _stages(backbone: nn.Module) -> Iterator[nn.Module]:
    for module in backbone.modules():
        for name in _STAGES:
            found = getattr(module, name, None)
            children = found if isinstance(found, (list, tuple)) else ()
            if isinstance(found, (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
                children = list(found.children())
            if children:
                yield from (child for child in children if isinstance(child, nn.Module))
                return


def _recomputed(stage: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not stage.training:
        return forward(*inputs)
    contexts = partial(_contexts, stage)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


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


def compile_parts(model: nn.Module) -> None:
    """Compiles backbone and semantic head, in place; names of weights stay.

    RoI heads stay as they are: their sizes change with every image.
    """
    for name in ("backbone", "sem_seg_head"):
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            part.compile(dynamic=True)
