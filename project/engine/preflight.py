"""The worst that is to come, at once: what would fail after hours fails in the first minute."""

import logging
import resource
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

from project.data.batches import Draw
from project.data.mapper import SegmentationMapper
from project.data.randomness import random_states
from project.data.records import Record
from project.data.register import dataset_records
from project.engine.step import TrainStep
from project.errors import ConfigError
from project.evaluation.build import build_evaluators
from project.modeling.testing import build_test_model

logger = logging.getLogger(__name__)

_DRAWS = 8  # of each of the worst images, whose sizes may vary by chance
_SHOWN = 3
_NO_ROOM = ("out of memory", "can't allocate memory")  # how torch says it


def preflight(cfg: CfgNode, step: TrainStep, scored: nn.Module) -> None:
    """Trains on the worst batch and scores the largest images, and forgets both; on every rank.

    A batch of the largest image and of the one with the most objects goes forwards and backwards,
    and the largest image of each test set through the model and its evaluators. Weights, statistics
    and random states are as they were afterwards.

    Args:
        cfg: complete.
        step: of the training.
        scored: the model that is scored.

    Raises:
        ConfigError: there is not enough memory; or several ranks train, and weights take no part.
        DatasetError: one of these images cannot be read.
    """
    start = time.perf_counter()
    before = {name: buffer.clone() for name, buffer in step.model.named_buffers()}
    doing = "training"
    try:
        with random_states(0), EventStorage():
            text = _train(step)
            doing = "scoring"
            for name in cfg.DATASETS.TEST:
                text += f"; {name}: {_score(cfg, name, scored)}"
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError) or any(s in str(error) for s in _NO_ROOM)):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"not enough memory for {doing} ({said}): lower"
            " SOLVER.IMS_PER_BATCH or raise SOLVER.ACCUMULATE, set MODEL.GRADIENT_CHECKPOINTING"
            " True, train on crops (INPUT.AUGMENTATIONS), score by TEST.TILE, or leave this look"
            " ahead out by PREFLIGHT False"
        ) from error
    finally:
        step.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in step.model.named_buffers():
                buffer.copy_(before[name])
        step.model.train()
    seconds = time.perf_counter() - start
    logger.info("preflight: %s; %.1f s, memory %.0f MB at most", text, seconds, _peak_mb())


def _train(step: TrainStep) -> str:
    """Forwards and backwards; what was trained on.

    Raises:
        ConfigError: several ranks train, and weights take no part.
    """
    worst = _worst_samples(step)
    size = step.data_loader.batch_sampler.rank_size
    for start in range(0, len(worst), size):
        step.add_gradients(worst[start : start + size])
        if comm.get_world_size() > 1:
            _check_all_take_part(step.model)
    shapes = sorted({tuple(item["image"].shape[1:]) for item in worst})
    objects = max((len(item["instances"]) for item in worst if "instances" in item), default=0)
    images = ", ".join(f"{width}x{height}" for height, width in shapes)
    return f"{len(worst)} images of {images} with up to {objects} objects"


def _worst_samples(step: TrainStep) -> list[dict[str, Any]]:
    """A batch, or two of one image: of the two worst records in turn, the largest of some draws."""
    samples = step.data_loader.dataset
    size = max(2, step.data_loader.batch_sampler.rank_size)
    count = max(_DRAWS, size)
    draws = [
        sorted(
            (samples[Draw(number=n, record=record)] for n in range(count)),
            key=lambda item: -item["image"].numel(),
        )
        for record in worst_records(samples.records)
    ]
    return [item for pair in zip(*draws) for item in pair][:size]


def _check_all_take_part(model: nn.Module) -> None:
    """Ranks wait for the gradients of all weights, and one that has none would stop them."""
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if idle:
        more = ["..."] if len(idle) > _SHOWN else []
        names = ", ".join([*(name.removeprefix("module.") for name in idle[:_SHOWN]), *more])
        raise ConfigError(
            f"{len(idle)} weights take no part in the losses ({names}), which several ranks cannot"
            " train: take a backbone without the parts that no head reads (build_unet_backbone in"
            " place of build_unet_fpn_backbone, say), or train on one rank"
        )


def worst_records(records: Iterable[Record]) -> tuple[int, int]:
    """Indices of the record with the largest image, and of that with the most objects."""
    sizes = [(r["height"] * r["width"], len(r.get("annotations", ()))) for r in records]
    indices = range(len(sizes))
    return max(indices, key=lambda i: sizes[i][0]), max(indices, key=lambda i: sizes[i][1])


def _score(cfg: CfgNode, name: str, model: nn.Module) -> str:
    """The largest image through the model and the evaluators; its size."""
    records = dataset_records(name)
    record = records[worst_records(records)[0]]
    item: dict[str, Any] = SegmentationMapper(cfg, is_train=False)(record)
    evaluators = build_evaluators(name, cfg)
    evaluators.reset()
    tested = build_test_model(cfg, model)
    was_training = model.training
    tested.eval()
    try:
        with torch.no_grad():
            evaluators.process([item], tested([item]))
    finally:
        model.train(was_training)
    return f"{record['width']}x{record['height']}"


def _peak_mb() -> float:
    """Of the GPU's allocator, or of this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
