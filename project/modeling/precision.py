"""How a config says that models compute: number format and memory layout."""

import logging

import torch
from detectron2.config import CfgNode
from torch import nn

from project.errors import ConfigError
from project.layers.blocks import check_choice
from project.layers.cpu import has_fast_bfloat16

logger = logging.getLogger(__name__)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
DTYPE_NAMES = ("auto", *DTYPES)  # of SOLVER.AMP.DTYPE


def amp_dtype(cfg: CfgNode) -> torch.dtype | None:
    """Number format of mixed precision, in training and in prediction.

    Returns:
        None where EXACT is on or SOLVER.AMP is off, and for "auto" on a CPU that is slow with
        bfloat16.

    Raises:
        ConfigError: SOLVER.AMP.DTYPE is not known, or is fp16 on a CPU.
    """
    amp, on_cpu = cfg.SOLVER.AMP, cfg.MODEL.DEVICE == "cpu"
    check_choice("SOLVER.AMP.DTYPE", amp.DTYPE, DTYPE_NAMES)
    if cfg.EXACT or not amp.ENABLED:
        return None
    if amp.DTYPE == "auto" and on_cpu and not has_fast_bfloat16():
        logger.info("no mixed precision: this CPU is slow with bfloat16 (SOLVER.AMP.DTYPE auto)")
        return None
    name = ("bf16" if on_cpu else "fp16") if amp.DTYPE == "auto" else amp.DTYPE
    if name == "fp16" and on_cpu:
        raise ConfigError("SOLVER.AMP.DTYPE fp16 needs a GPU; on the CPU use bf16 or auto")
    return DTYPES[name]


def describe_arithmetic(cfg: CfgNode) -> str:
    """What `amp_dtype` and `memory_format` say of a config, for the log."""
    dtype = amp_dtype(cfg)
    words = "float32" if dtype is None else f"{str(dtype).removeprefix('torch.')} mixed precision"
    if memory_format(cfg) == torch.channels_last:
        words += ", channels_last where the model takes it"
    if not cfg.EXACT:
        return words
    ignored = "" if cfg.SOLVER.AMP.DTYPE == "auto" else "; SOLVER.AMP.DTYPE has no part in it"
    return f"{words}, as EXACT asks{ignored}"


def memory_format(cfg: CfgNode) -> torch.memory_format:
    """Layout of images, features and convolution weights."""
    last = cfg.MODEL.CHANNELS_LAST and not cfg.EXACT
    return torch.channels_last if last else torch.contiguous_format


def takes_channels_last(model: nn.Module) -> bool:
    """Whether all convolutions of a model are right in channels_last.

    A 1x1 convolution with a stride and fewer than 16 channels writes past its memory in the
    backward pass of torch 2.14 on AVX512 CPUs.
    """
    return not any(
        isinstance(m, nn.Conv2d)
        and m.kernel_size == (1, 1)
        and m.stride != (1, 1)
        and min(m.in_channels, m.out_channels) < 16
        for m in model.modules()
    )


def arrange(model: nn.Module, layout: torch.memory_format) -> None:
    """Brings the weights of a model into a memory layout, in place, if it can take it."""
    if layout == torch.contiguous_format or takes_channels_last(model):
        model.to(memory_format=layout)
