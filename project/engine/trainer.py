"""Detectron2's DefaultTrainer for instances, semantics and both, on any device and ranks."""

import logging
import os
import time
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, create_ddp_model, hooks
from detectron2.engine.train_loop import TrainerBase
from detectron2.modeling import build_model
from detectron2.utils import comm
from torch import nn
from torch.utils.data import DataLoader

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.engine.averaging import WeightAverage
from project.engine.checkpoint import Checkpointer, class_names
from project.engine.describe import describe
from project.engine.evaluate import Evaluation, evaluate
from project.engine.followers import build_followers
from project.engine.hooks import (
    AveragingHook,
    EvaluationHook,
    FirstCheckpointHook,
    ProgressWriter,
    SeedingHook,
    ValidationHook,
)
from project.engine.loader import build_test_loader, build_train_loader
from project.engine.memory import checkpoint_backbone, compile_parts
from project.engine.nonfinite import FiniteGuard
from project.engine.optim import (
    build_gradient_clipper,
    build_optimizer,
    build_scheduler,
    scale_learning_rate,
)
from project.engine.preflight import preflight
from project.engine.run_folder import check_space
from project.engine.setup import portable
from project.engine.signals import Interrupted, SignalHook
from project.engine.statistics import StatisticsHook
from project.engine.step import TrainStep
from project.engine.storage import BoundedStorage
from project.engine.validation import ValidationLosses
from project.errors import UserError
from project.evaluation.results import DatasetResults
from project.modeling.precision import amp_dtype, describe_arithmetic
from project.modeling.quick import quicken

logger = logging.getLogger(__name__)

FINAL = "model_final"  # Detectron2's name of the last checkpoint
STARVED = 0.1  # share of a training spent waiting for data from which the log says what helps


class Trainer(DefaultTrainer):
    """Trains what a config describes.

    Attributes:
        evaluations: scores of the last evaluation, by data set; on the main rank.
        training_seconds: wall time of `train`, checkpoints included and evaluations left out.
        evaluation_seconds: wall time of the evaluations in it.
    """

    def __init__(self, cfg: CfgNode) -> None:
        # DefaultTrainer's own constructor cannot be used: it gives GPU ids to DDP on CPU ranks
        # too, and its mixed precision is for GPUs only.
        TrainerBase.__init__(self)
        # Of the config as it was given, before it is fitted to the ranks.
        description = describe(cfg, cfg.DATASETS.TRAIN) if comm.is_main_process() else None
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        cfg = scale_learning_rate(cfg)
        self.cfg = cfg
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.evaluations: dict[str, Evaluation] = {}
        self.training_seconds = self.evaluation_seconds = 0.0

        # The same on all ranks; in the checkpoint, since a run that goes on draws by it.
        self.seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
        self.validation_losses: dict[str, float] = {}
        self.raw_model = self.build_model(cfg)
        if cfg.MODEL.GRADIENT_CHECKPOINTING:
            checkpoint_backbone(self.raw_model)
        if comm.is_main_process():
            check_space(
                cfg.OUTPUT_DIR, self.raw_model, cfg.SOLVER.OPTIMIZER, cfg.SOLVER.EMA.ENABLED
            )
        optimizer = self.build_optimizer(cfg, self.raw_model)
        device_ids = None if cfg.MODEL.DEVICE == "cpu" else [comm.get_local_rank()]
        self.guard = FiniteGuard(
            self.raw_model,
            output_dir=cfg.OUTPUT_DIR,
            config=portable(cfg).dump(),
            seed=self.seed,
            skips=cfg.SOLVER.NONFINITE_SKIPS,
        )
        self._trainer = TrainStep(
            create_ddp_model(self.raw_model, broadcast_buffers=False, device_ids=device_ids),
            self.build_train_loader(cfg, self.seed),
            optimizer,
            device=cfg.MODEL.DEVICE,
            dtype=amp_dtype(cfg),
            clip=build_gradient_clipper(cfg),
            guard=self.guard,
            parts=cfg.SOLVER.ACCUMULATE,
        )
        logger.info("computes in %s", describe_arithmetic(cfg))
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.average = WeightAverage.from_config(cfg, self.raw_model)
        if cfg.MODEL.COMPILE:  # the average is a copy, which scores as it is
            compile_parts(self.raw_model)
        self.checkpointer = Checkpointer(
            self.raw_model,
            cfg.OUTPUT_DIR,
            average=self.average,
            classes=class_names(cfg),
            description=description,
            keep=cfg.SOLVER.CHECKPOINTS_KEPT,
            trainer=weakref.proxy(self),
        )
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase | None]:
        """Timing, learning rate, averaging, checkpoints, scores, progress; in this order."""
        cfg = self.cfg
        statistics = StatisticsHook(cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD)
        chain: list[HookBase | None] = [
            SeedingHook(),
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            AveragingHook(self.average, self.guard) if self.average else None,
            statistics,
        ]
        if comm.is_main_process():
            chain.append(
                hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD)
            )
        followers = build_followers(cfg, self.scheduler)
        if cfg.TEST.VALIDATION_LOSS_IMAGES > 0:
            chain.append(
                ValidationHook(cfg.TEST.EVAL_PERIOD, ValidationLosses(cfg, amp_dtype(cfg)))
            )
        # Before an evaluation, which a run that goes on makes up for.
        save = partial(self.save_to_resume, statistics)
        chain.append(FirstCheckpointHook(cfg.TEST.EVAL_PERIOD, cfg.SOLVER.CHECKPOINT_PERIOD, save))
        chain.append(SignalHook(save))
        chain += followers
        # After the checkpoint, so that an evaluation that fails loses no training.
        chain.append(
            EvaluationHook(
                cfg.TEST.EVAL_PERIOD,
                self.evaluate,
                checkpointer=self.checkpointer,
                best_metric_name=cfg.TEST.BEST_METRIC,
                followers=followers,
            )
        )
        if comm.is_main_process():
            chain.append(ProgressWriter(self.build_writers(), period=cfg.SOLVER.LOG_PERIOD))
        return chain

    def state_dict(self) -> dict[str, Any]:
        """Detectron2's, with the seed."""
        return {**super().state_dict(), "seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        super().load_state_dict(state_dict)
        if self.cfg.SEED < 0 and "seed" in state_dict:
            self.seed = self.guard.seed = state_dict["seed"]
            self._trainer.reset_data_loader(partial(self.build_train_loader, self.cfg, self.seed))

    def train(self) -> None:
        """Trains from `start_iter` to SOLVER.MAX_ITER; see `resume_or_load`."""
        if self.cfg.PREFLIGHT and self.start_iter < self.max_iter:
            preflight(self.cfg, self._trainer, self.scored_model)
        self._trainer.data_loader.batch_sampler.start = self.start_iter
        is_final = Path(self.checkpointer.loaded).name == f"{FINAL}.pth"
        if 0 < self.max_iter <= self.start_iter and not is_final:
            # It ended between its last periodic checkpoint and this one.
            self.checkpointer.save(FINAL, iteration=self.iter)
        start = time.perf_counter()
        self._run()
        total = time.perf_counter() - start
        self.training_seconds = total - self.evaluation_seconds
        logger.info(
            "trained for %.1f s, scored for %.1f s", self.training_seconds, self.evaluation_seconds
        )
        self._log_waiting()

    def _log_waiting(self) -> None:
        """Says whether the steps had to wait for their batches."""
        share = self._trainer.waiting_seconds / max(self.training_seconds, 1e-9)
        hint = ""
        if share > STARVED:
            # The training itself keeps a core busy; workers beyond the others take it away.
            cores = (os.cpu_count() or 1) // comm.get_world_size()
            more = (
                "DATALOADER.NUM_WORKERS" if cores > 1 + self.cfg.DATALOADER.NUM_WORKERS else "cores"
            )
            hint = f"; more {more}, smaller images or a quicker disk would help"
        seconds = self._trainer.waiting_seconds
        logger.info(
            "waited for data for %.1f s, %.1f %% of the training%s", seconds, 100 * share, hint
        )

    def _run(self) -> None:
        """`TrainerBase.train`, which knows no end before the last iteration."""
        logger.info("Starting training from iteration %d", self.start_iter)
        self.iter = self.start_iter
        with BoundedStorage(self.start_iter, self.cfg.SOLVER.LOG_PERIOD) as self.storage:
            try:
                self.before_train()
                while self.iter < self.max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
            except (Interrupted, UserError):
                raise  # the tool tells them in one paragraph
            except Exception:
                logger.exception("Exception during training:")
                raise
            finally:
                self.after_train()

    def stop(self, done: int) -> None:
        """Ends the training after `done` iterations; what belongs to its end follows."""
        self.max_iter = done
        self.checkpointer.save(FINAL, iteration=done - 1)

    def save_to_resume(self, statistics: StatisticsHook, iteration: int) -> str:
        """Writes a checkpoint after `iteration`, as those of CHECKPOINT_PERIOD are; its path."""
        statistics.share()
        name = f"model_{iteration:07}"
        self.checkpointer.save(name, iteration=iteration)
        return os.path.join(self.cfg.OUTPUT_DIR, f"{name}.pth")

    def evaluate(self) -> dict[str, DatasetResults]:
        """Scores the model, with averaged weights where there are some."""
        start = time.perf_counter()
        self.evaluations = evaluate(self.cfg, self.scored_model)
        self.evaluation_seconds += time.perf_counter() - start
        return {name: evaluation.results for name, evaluation in self.evaluations.items()}

    @property
    def scored_model(self) -> nn.Module:
        """The model that is scored and saved: the averaged one where there is an average."""
        return self.average.scored_model if self.average else self.raw_model

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The meta architecture that MODEL.META_ARCHITECTURE names."""
        model = build_model(cfg)
        quicken(cfg, model)
        count = sum(p.numel() for p in model.parameters())
        logger.info("%s with %.2f million parameters", type(model).__name__, count / 1e6)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See `project.engine.optim`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """See `project.engine.optim`."""
        return build_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, seed: int | None = None) -> DataLoader:
        """See `project.engine.loader`; without a seed SEED is taken, or 0 where that is below."""
        return build_train_loader(cfg, max(0, cfg.SEED) if seed is None else seed)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> DataLoader:
        """See `project.engine.loader`."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: None = None
    ) -> dict[str, DatasetResults]:
        """Scores a model on DATASETS.TEST; data set name -> scores, on the main rank."""
        assert evaluators is None, "evaluators follow from the config and the data"
        return {name: evaluation.results for name, evaluation in evaluate(cfg, model).items()}
