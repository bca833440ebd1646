"""What a run does between its steps, beyond Detectron2's own hooks."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils import comm

from project.data.randomness import Stream, derived_seed, seed_all
from project.engine.averaging import WeightAverage
from project.engine.checkpoint import Checkpointer
from project.engine.checkpoint_files import damage
from project.engine.followers import Follower
from project.engine.nonfinite import FiniteGuard
from project.engine.validation import VALIDATION_LOSS, ValidationLosses
from project.engine.weights_files import read_weights_file
from project.errors import WeightsError
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
    """Takes the weights of each iteration that was not left out into their average."""

    def __init__(self, average: WeightAverage, guard: FiniteGuard) -> None:
        self.average = average
        self.guard = guard
        self._skipped = 0

    def before_step(self) -> None:
        """Called by the trainer."""
        self._skipped = self.guard.skipped

    def after_step(self) -> None:
        """Called by the trainer."""
        if self.guard.skipped == self._skipped:
            self.average.update(self.trainer.iter)


class FirstCheckpointHook(HookBase):
    """Saves before the first evaluation, where no checkpoint comes earlier.

    A run that is killed after it would leave model_best.pth alone, and nothing to go on from.
    """

    def __init__(self, evaluation: int, checkpoint: int, save: Callable[[int], object]) -> None:
        """Takes TEST.EVAL_PERIOD, SOLVER.CHECKPOINT_PERIOD and what saves after an iteration."""
        self.done = evaluation if 0 < evaluation < checkpoint else 0
        self.save = save

    def after_step(self) -> None:
        """Called by the trainer."""
        done = self.trainer.iter + 1
        if done == self.done < self.trainer.max_iter and self.trainer.start_iter == 0:
            self.save(self.trainer.iter)


class ProgressWriter(PeriodicWriter):
    """Detectron2's, with one line more: soon after the start, when the first times are known."""

    EARLY = 5  # iterations; Detectron2 measures no time before

    def after_step(self) -> None:
        """Called by the trainer."""
        if self.trainer.iter + 1 == self.trainer.start_iter + self.EARLY < self._period:
            for writer in self._writers:
                writer.write()
        super().after_step()


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
        start = self.trainer.start_iter
        if start > 0:
            self.best = self._read_best()
            logger.info("best so far: %s", self.best)
        if 0 < start < self.trainer.max_iter and self.period > 0 and start % self.period == 0:
            # The checkpoint was saved before the evaluation, which may not have come to its end.
            self._score(start)

    def after_step(self) -> None:
        """Called by the trainer."""
        done = self.trainer.iter + 1
        if self.period > 0 and done % self.period == 0 and done < self.trainer.max_iter:
            self._score(done)

    def after_train(self) -> None:
        """Called by the trainer; a run that broke off is not scored."""
        if self.trainer.iter >= self.trainer.max_iter:
            self._score(self.trainer.max_iter)

    def _score(self, done: int) -> None:
        """Scores after `done` iterations, and does what follows from the scores."""
        results = self.evaluate()
        if comm.is_main_process():
            self._store(results)
            self._keep_best(results, done - 1)
        # The others wait here rather than in the next step's first collective call.
        comm.synchronize()
        if done < self.trainer.max_iter:
            self._tell(results, done)

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

    def _read_best(self) -> dict[str, Any] | None:
        """What is known of model_best.pth; one that is damaged is as good as none."""
        path = Path(self.checkpointer.save_dir) / "model_best.pth"
        if not path.is_file():
            return None
        fault = damage(path)
        if fault is None:
            try:
                return read_weights_file(str(path))["best"]
            except (WeightsError, KeyError) as error:
                fault = f"does not say how good it is ({error})"
        logger.warning("%s %s: the next evaluation is the best so far", path, fault)
        return None

    def _keep_best(self, results: dict[str, DatasetResults], iteration: int) -> None:
        if not results:
            return
        metric, value = best_metric(next(iter(results.values())), self.best_metric_name)
        # A run may be resumed with another metric: two metrics cannot be compared.
        known = self.best if self.best and self.best["metric"] == metric else None
        if value is None or (known and value <= known["value"]):
            return
        self.best = {"metric": metric, "value": value, "iteration": iteration}
        self.checkpointer.save(
            "model_best", tag=False, state=False, best=self.best, iteration=iteration
        )
