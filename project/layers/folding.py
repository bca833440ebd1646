"""Batch normalisation folded into the convolution before it, for prediction.

With its statistics fixed, gamma * (conv(x) - mean) / sqrt(var + eps) + beta is a convolution with
other weights and bias (Jacob et al. 2018, arXiv:1712.05877, section 3.2); a pass over the map less.
"""

from itertools import pairwise
from typing import Any

import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def fold_batch_norms(module: nn.Module) -> None:
    """Folds what follows a convolution directly, below `module`, in place; results are the same.

    That is the norm of a Detectron2 `Conv2d`, and in an `nn.Sequential` the layer after a plain
    convolution. Others stay: which convolution feeds them is not known here.

    Args:
        module: in evaluation; it cannot be trained afterwards.
    """
    for child in list(module.modules()):
        if type(child) is Conv2d:
            conv: Any = child
            if _is_fixed(conv.norm):
                _fold(conv, conv.norm)
                conv.norm = None
        if isinstance(child, nn.Sequential):
            for (_, first), (name, norm) in pairwise(child.named_children()):
                is_plain = type(first) is nn.Conv2d or (type(first) is Conv2d and _is_bare(first))
                if is_plain and _is_fixed(norm):
                    _fold(first, norm)
                    setattr(child, name, nn.Identity())


def _is_bare(conv: Conv2d) -> bool:
    return conv.norm is None and conv.activation is None


def _is_fixed(norm: nn.Module | None) -> bool:
    """Whether it only scales and shifts in evaluation."""
    if isinstance(norm, _BatchNorm):
        return norm.running_mean is not None
    return isinstance(norm, FrozenBatchNorm2d)


@torch.no_grad()
def _fold(conv: nn.Module, norm: nn.Module) -> None:
    weight, bias = conv.weight, conv.bias
    assert isinstance(weight, Tensor) and isinstance(norm.running_var, Tensor)
    assert isinstance(norm.running_mean, Tensor) and isinstance(norm.eps, float)
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if isinstance(norm.weight, Tensor):
        scale = scale * norm.weight
    old = bias if isinstance(bias, Tensor) else torch.zeros_like(norm.running_mean)
    shift = (old - norm.running_mean.double()) * scale
    if isinstance(norm.bias, Tensor):
        shift = shift + norm.bias
    folded = (weight * scale[:, None, None, None]).to(weight.dtype)
    conv.weight = nn.Parameter(folded)
    conv.bias = nn.Parameter(shift.to(weight.dtype))
