"""The same model made quick: in training its parts, in prediction a copy of it."""

import copy
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Instances
from torch import Tensor, nn

from project.layers.folding import fold_batch_norms
from project.layers.frozen_norm import fold_frozen_norms, restore_frozen_norms
from project.layers.transposed import Transposed2x2, replace_transposed
from project.layers.winograd import use_winograd
from project.modeling.anchors import cache_anchors
from project.modeling.pooler import replace_poolers
from project.modeling.precision import amp_dtype, arrange, memory_format
from project.modeling.quick_heads import quicken_heads
from project.modeling.quick_mask_head import quicken_mask_heads
from project.modeling.quick_roi_heads import quicken_roi_heads
from project.modeling.quick_rpn import quicken_rpn

_LOW = (torch.bfloat16, torch.float16)
_LOWERED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, Transposed2x2)
# What these yield is worked on further: scores are sorted, masks enlarged.
_HEADS = ("proposal_generator", "roi_heads", "sem_seg_head")


def quicken(cfg: CfgNode, model: nn.Module) -> None:
    """Gives a model of any architecture our layers and the config's memory layout, in place.

    Names of weights stay. EXACT leaves the model as it is.
    """
    if not cfg.EXACT:
        replace_poolers(model)
        cache_anchors(model)
        if cfg.MODEL.DEVICE.startswith("cuda") and not cfg.MODEL.COMPILE:
            fold_frozen_norms(model)
            quicken_rpn(model)
            quicken_roi_heads(model)
            quicken_mask_heads(model)
        layout = memory_format(cfg)
        if cfg.MODEL.DEVICE == "cpu" and layout == torch.channels_last:
            replace_transposed(model)
        arrange(model, layout)


def quick_copy(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """A copy that predicts the same sooner; the model itself, and what is saved of it, stay.

    Batch normalisation is folded into convolutions, and everything runs in the config's number
    format, but for the scores and boxes of objects, whose last layers are float32: in bfloat16 many
    scores would be equal. Results are float32.

    Args:
        cfg: complete.
        model: of the config; returned as it is where EXACT is on, or where it is compiled, since a
            copy would compute with the weights of the original.
    """
    if cfg.EXACT or cfg.MODEL.COMPILE:
        return model
    dtype = amp_dtype(cfg)
    training = model.training
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    restore_frozen_norms(copied)
    fold_batch_norms(copied)
    quicken(cfg, copied)
    device = torch.device(cfg.MODEL.DEVICE).type
    if dtype is not None:
        _lower(copied, dtype, device)
    if device == "cpu":
        quicken_heads(copied)
        if dtype is None:
            use_winograd(copied)
    return copied.train(training)


def _lower(model: nn.Module, dtype: torch.dtype, device: str) -> None:
    """Runs a model under autocast, in place; weights are rounded once and not in every call.

    Parts that turn autocast off say so by an attribute `in_float32`; their weights stay.
    """
    kept = {
        layer
        for module in model.modules()
        if getattr(module, "in_float32", False)
        for layer in module.modules()
    }
    precise = {
        layer
        for module in model.modules()
        if isinstance(module, FastRCNNOutputLayers)
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    }
    for module in set(model.modules()) - kept:
        if module in precise:
            module.forward = partial(  # type: ignore[method-assign]
                _in_float32, module.forward, device
            )
        elif type(module) in _LOWERED or _is_wrapped(module):
            module.to(dtype)
    for name in _HEADS:
        if isinstance(head := getattr(model, name, None), nn.Module):
            head.register_forward_hook(lambda _, __, output: to_float32(output))
    model.forward = _autocast(model.forward, device, dtype)


def _is_wrapped(module: nn.Module) -> bool:
    """Whether it is Detectron2's convolution, whose norm, if it has one still, stays float32."""
    return isinstance(module, nn.Conv2d) and getattr(module, "norm", None) is None


def _in_float32(forward: Callable[[Tensor], Tensor], device: str, x: Tensor) -> Tensor:
    with torch.autocast(device, enabled=False):
        return forward(x.float())


def _autocast(forward: Callable[..., Any], device: str, dtype: torch.dtype) -> Callable[..., Any]:
    @wraps(forward)
    def lowered(*inputs: Any, **options: Any) -> Any:
        with torch.autocast(device, dtype):
            return to_float32(forward(*inputs, **options))

    return lowered


def to_float32(value: Any) -> Any:
    """Tensors of half the bits as float32, in lists, tuples, dicts and Instances too."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _LOW else value
    if isinstance(value, Instances):
        fields = {name: to_float32(field) for name, field in value.get_fields().items()}
        return Instances(value.image_size, **fields)
    if type(value) in (list, tuple):
        return type(value)(to_float32(item) for item in value)
    if type(value) is dict:
        return {key: to_float32(item) for key, item in value.items()}
    return value
