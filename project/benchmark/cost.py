"""What a model costs: parameters, operations of one image, milliseconds of one image on the CPU."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.config import load_config
from project.data.architectures import model_parts
from project.engine.checkpoint import load_weights
from project.engine.loader import build_test_loader
from project.engine.setup import register_datasets

COUNTED = "convolutions, matrix products and attention"


@dataclass(frozen=True)
class Cost:
    """What one model costs.

    Attributes:
        task: "instances", "semantics" or "panoptics", which is both.
        parameters: how many numbers are learnt.
        gflops: 1e9 multiply-adds of one image, a multiply-add being one, as fvcore and most papers
            count them; of COUNTED alone.
        size: height and width of that image, pixels.
        latency_ms: median milliseconds of one image from tensor to results, on the CPU.
        images: how many images the median is of.
        threads: of the CPU.
    """

    task: str
    parameters: int
    gflops: float
    size: tuple[int, int]
    latency_ms: float
    images: int
    threads: int


def measure_cost(config_file: Path, weights: Path, *, images: int) -> Cost:
    """Measures a trained model on the first images that it is scored on.

    Args:
        config_file: the complete config that a run has written.
        weights: of the same run: how many objects are found decides the time of their heads.
        images: at most so many.
    """
    cfg = load_config(config_file, ["MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"])
    register_datasets(cfg)
    model = build_model(cfg).eval()
    load_weights(model, str(weights))
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    model.requires_grad_(False)  # the counter stumbles over parameters that are handed around
    batches = _first_images(cfg, images)
    with torch.no_grad():
        latency = _median_ms([partial(model, batch) for batch in batches])
        flops = count_multiply_adds(model, batches[0])
    return Cost(
        task=_task(cfg),
        parameters=parameters,
        gflops=flops / 1e9,
        size=tuple(batches[0][0]["image"].shape[1:]),
        latency_ms=latency,
        images=len(batches),
        threads=torch.get_num_threads(),
    )


def count_multiply_adds(model: nn.Module, batch: list[dict[str, Any]]) -> float:
    """Multiply-adds of COUNTED in one call: everything else costs little, but is not nothing."""
    with FlopCounterMode(display=False) as counter:
        model(batch)
    return counter.get_total_flops() / 2  # torch counts a multiply-add as two


def _first_images(cfg: CfgNode, count: int) -> list[list[dict[str, Any]]]:
    """Batches of one image each."""
    loader = build_test_loader(cfg, cfg.DATASETS.TEST[0])
    return [batch for batch, _ in zip(loader, range(count))]


def _median_ms(calls: Sequence[Callable[[], object]]) -> float:
    """Median milliseconds of a call, after one that is not counted."""
    calls[0]()
    seconds = []
    for call in calls:
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return 1e3 * median(seconds)


def _task(cfg: CfgNode) -> str:
    parts = model_parts(cfg)
    if parts.instances and parts.semantics:
        return "panoptics"
    return "instances" if parts.instances else "semantics"
