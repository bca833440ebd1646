"""A trainer of Detectron2's and one of ours, for the same model on the same batches."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import AMPTrainer, SimpleTrainer
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer as build_stock_optimizer
from detectron2.utils.events import EventStorage

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.engine.nonfinite import FiniteGuard
from project.engine.optim import build_gradient_clipper, build_optimizer
from project.engine.step import TrainStep
from project.engine.storage import BoundedStorage
from project.modeling.precision import amp_dtype
from project.modeling.quick import quicken


def stock_trainer(cfg: CfgNode, batches: Sequence[list[dict[str, Any]]]) -> SimpleTrainer:
    """What Detectron2 makes of its config; the batches come again and again."""
    model = _build(cfg)
    kind = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
    trainer = kind(model, cycle(batches), build_stock_optimizer(cfg, model))
    trainer.iter = 0
    return trainer


def our_trainer(cfg: CfgNode, batches: Sequence[list[dict[str, Any]]]) -> TrainStep:
    """What `project.engine.trainer.Trainer` makes of a config, but for the data."""
    model = _build(cfg)
    quicken(cfg, model)
    guard = FiniteGuard(model, output_dir="", config="", seed=0, skips=cfg.SOLVER.NONFINITE_SKIPS)
    trainer = TrainStep(
        model,
        cycle(batches),
        build_optimizer(cfg, model),
        device=cfg.MODEL.DEVICE,
        dtype=amp_dtype(cfg),
        clip=build_gradient_clipper(cfg),
        guard=guard,
    )
    trainer.iter = 0
    return trainer


def _build(cfg: CfgNode) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model(cfg).train()


def one_step(trainer: SimpleTrainer) -> EventStorage:
    """A step, with the storage of statistics that each side has in a training."""
    ours = isinstance(trainer, TrainStep)
    with BoundedStorage(0, log_period=20) if ours else EventStorage() as storage:
        trainer.run_step()
    return storage
