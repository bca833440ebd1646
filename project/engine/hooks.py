"""What a run does between its steps, beyond Detectron2's own hooks."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import HookBase
from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils import comm
from torch import nn

from project.data.randomness import Stream, derived_seed, seed_all
from project.engine.averaging import WeightAverage
from project.engine.checkpoint import Checkpointer
from project.engine.followers import Follower
from project.engine.validation import VALIDATION_LOSS, ValidationLosses
from project.evaluation.results import DatasetResults, best_metric, scalars

logger = logging.getLogger(__name__)


class SeedingHook(HookBase):
    """Gives each iteration random numbers that follow from the seed of the run and from it alone.

    The ranks draw different ones. What is drawn between two iterations, by an evaluation say,
    changes nothing then, and nothing needs to be kept for a run that goes on.
    """

    def before_step(self) -> None:
        """Called by the trainer."""
        numbers = (self.trainer.iter, comm.get_rank())
        seed_all(derived_seed(self.trainer.seed, Stream.STEP, *numbers))


class AveragingHook(HookBase):
    """Takes the weights of each iteration into their average."""

    def __init__(self, average: WeightAverage) -> None:
        self.average = average

    def after_step(self) -> None:
        """Called by the trainer."""
        self.average.update(self.trainer.iter)


class ProgressWriter(PeriodicWriter):
    """Detectron2's, with one line more: soon after the start, when the first times are known."""

    EARLY = 5  # iterations; Detectron2 measures no time before

    def after_step(self) -> None:
        """Called by the trainer."""
        if self.trainer.iter + 1 == self.trainer.start_iter + self.EARLY < self._period:
            for writer in self._writers:
                writer.write()
        super().after_step()


class StatisticsHook(HookBase):
    """Gives all ranks the same normalisation statistics before anything is saved or scored.

    Each rank's batch normalisation sees its own images only. Without this every rank would score
    its share of the test images with a model of its own, and only one of these would be saved.
    """

    def __init__(self, *periods: int) -> None:
        self.periods = [period for period in periods if period > 0]

    def after_step(self) -> None:
        """Called by the trainer."""
        done = self.trainer.iter + 1
        due = done >= self.trainer.max_iter or any(done % period == 0 for period in self.periods)
        if comm.get_world_size() > 1 and due:
            average_statistics(self.trainer.raw_model)
            if self.trainer.average:
                average_statistics(self.trainer.average.averaged.module)


def average_statistics(model: nn.Module) -> None:
    """Replaces running means and variances by their mean over all ranks, in place."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            for statistic in (module.running_mean, module.running_var):
                assert statistic is not None
                dist.all_reduce(statistic)
                statistic /= comm.get_world_size()


class ValidationHook(HookBase):
    """Measures the training's losses on test images, before each evaluation.

    They go to the event storage as "validation/..."; see `project.engine.validation`.
    """

    def __init__(self, period: int, losses: ValidationLosses) -> None:
        self.period = period
        self.losses = losses

    def before_train(self) -> None:
        """Measures what the checkpoint of a run that goes on was saved before."""
        start = self.trainer.start_iter
        if self.period > 0 and start > 0 and start % self.period == 0:
            self.trainer.validation_losses = self.losses.measure(self.trainer.raw_model)

    def after_step(self) -> None:
        """Called by the trainer."""
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter or (self.period > 0 and done % self.period == 0):
            found = self.trainer.validation_losses = self.losses.measure(self.trainer.raw_model)
            for name, value in found.items():
                self.trainer.storage.put_scalar(f"validation/{name}", value, smoothing_hint=False)


class EvaluationHook(HookBase):
    """Scores every `period` iterations and at the end, and keeps the best weights.

    The scores go to Detectron2's event storage as "task/metric" (with the data set's name before
    where there are several). The best checkpoint is `model_best.pth`: it holds its own score, so
    that it survives a restart, and is never what `--resume` goes on from.
    """

    def __init__(
        self,
        period: int,
        evaluate: Callable[[], dict[str, DatasetResults]],
        *,
        checkpointer: Checkpointer,
        best_metric_name: str,
        followers: Sequence[Follower] = (),
    ) -> None:
        self.followers = followers
        self.period = period
        self.evaluate = evaluate
        self.checkpointer = checkpointer
        self.best_metric_name = best_metric_name
        self.best: dict[str, Any] | None = None

    def before_train(self) -> None:
        """Takes over the best score of the run that is resumed."""
        path = Path(self.checkpointer.save_dir) / "model_best.pth"
        if self.trainer.start_iter > 0 and path.is_file():
            saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            self.best = saved["best"]
            logger.info("best so far: %s", self.best)
        start = self.trainer.start_iter
        goes_on = 0 < start < self.trainer.max_iter
        if self.followers and goes_on and self.period > 0 and start % self.period == 0:
            # The checkpoint was saved before the evaluation that its state should know of.
            self._tell(self.evaluate(), start)

    def after_step(self) -> None:
        """Called by the trainer."""
        iteration = self.trainer.iter + 1
        if self.period > 0 and iteration % self.period == 0 and iteration < self.trainer.max_iter:
            self._run()

    def after_train(self) -> None:
        """Called by the trainer; a run that broke off is not scored."""
        if self.trainer.iter >= self.trainer.max_iter:
            self._run()

    def _run(self) -> None:
        results = self.evaluate()
        if comm.is_main_process():
            self._store(results)
            self._keep_best(results)
        # The others wait here rather than in the next step's first collective call.
        comm.synchronize()
        if self.trainer.iter < self.trainer.max_iter:
            self._tell(results, self.trainer.iter + 1)

    def _tell(self, results: dict[str, DatasetResults], done: int) -> None:
        """Gives the followers their values after `done` iterations, the same on all ranks."""
        found: list[float | None] = []
        for follower in self.followers:
            if follower.metric == VALIDATION_LOSS:
                loss = self.trainer.validation_losses.get("total_loss")
                found.append(None if loss is None else -loss)
            elif results:
                found.append(best_metric(next(iter(results.values())), follower.metric)[1])
        for follower, value in zip(self.followers, comm.all_gather(found)[0]):
            follower.after_evaluation(value, done)

    def _store(self, results: dict[str, DatasetResults]) -> None:
        for dataset, scores in results.items():
            prefix = f"{dataset}/" if len(results) > 1 else ""
            for task, metrics in scalars(scores).items():
                for name, value in metrics.items():
                    self.trainer.storage.put_scalar(
                        f"{prefix}{task}/{name}", value, smoothing_hint=False
                    )

    def _keep_best(self, results: dict[str, DatasetResults]) -> None:
        if not results:
            return
        metric, value = best_metric(next(iter(results.values())), self.best_metric_name)
        # A run may be resumed with another metric: two metrics cannot be compared.
        known = self.best if self.best and self.best["metric"] == metric else None
        if value is None or (known and value <= known["value"]):
            return
        # After the last step the trainer has counted one further.
        iteration = min(self.trainer.iter, self.trainer.max_iter - 1)
        self.best = {"metric": metric, "value": value, "iteration": iteration}
        self.checkpointer.save(
            "model_best", tag=False, state=False, best=self.best, iteration=iteration
        )
