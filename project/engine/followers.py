"""What follows from a score that stands still: a lower learning rate, or the end."""

import logging
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from torch.optim.lr_scheduler import LRScheduler

from project.engine.optim import PlateauLR, end_factor
from project.engine.patience import Patience

logger = logging.getLogger(__name__)


class Follower(HookBase):
    """Is told a score after each evaluation, on all ranks the same; its state is in checkpoints."""

    def __init__(self, patience: Patience, metric: str) -> None:
        """Keeps what it is given.

        Args:
            patience: with the score.
            metric: as TEST.BEST_METRIC names it, or `VALIDATION_LOSS`, of which it is told the
                negative.
        """
        self.patience = patience
        self.metric = metric
        self.told_at = 0

    def after_evaluation(self, value: float | None, done: int) -> None:
        """Takes a score, once.

        Args:
            value: the score; None where it could not be computed.
            done: iterations before it. A run that goes on may tell again what is known.
        """
        if done == self.told_at:
            return
        self.told_at = done
        if self.patience.ends(value):
            self.stood_still(done)

    def stood_still(self, done: int) -> None:
        """What is to be done then."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Called by the trainer."""
        return {**self.patience.state_dict(), "told_at": self.told_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by the trainer."""
        self.patience.load_state_dict(state_dict)
        self.told_at = state_dict["told_at"]


class PlateauHook(Follower):
    """Lowers the learning rate when a score stands still."""

    def __init__(
        self, scheduler: PlateauLR, patience: Patience, metric: str, factor: float, lowest: float
    ) -> None:
        super().__init__(patience, metric)
        self.scheduler = scheduler
        self.factor = factor
        self.lowest = lowest

    def stood_still(self, done: int) -> None:
        """Called by `after_evaluation`."""
        self.scheduler.lower(self.factor, self.lowest)
        logger.info(
            "%s has not risen for %d evaluations: learning rate times %g from now on",
            self.metric,
            self.patience.patience,
            self.scheduler.scale,
        )


class EarlyStoppingHook(Follower):
    """Ends the training when a score stands still; a run that has ended so stays at its end."""

    def before_train(self) -> None:
        """Called by the trainer; with more patience than before, the run goes on."""
        if self.trainer.start_iter > 0 and self.patience.waited >= self.patience.patience:
            logger.info("this run has ended by SOLVER.EARLY_STOPPING; a higher PATIENCE goes on")
            self.trainer.max_iter = self.trainer.start_iter

    def stood_still(self, done: int) -> None:
        """Called by `after_evaluation`."""
        logger.info(
            "%s has not risen for %d evaluations: the training ends after iteration %d; the best"
            " weights are in model_best.pth",
            self.metric,
            self.patience.patience,
            done - 1,
        )
        self.patience.waited = self.patience.patience  # for a run that is taken up
        self.trainer.stop(done)


def build_followers(cfg: CfgNode, scheduler: LRScheduler) -> list[Follower]:
    """As SOLVER.PLATEAU and SOLVER.EARLY_STOPPING say."""
    followers: list[Follower] = []
    plateau, stopping = cfg.SOLVER.PLATEAU, cfg.SOLVER.EARLY_STOPPING
    if isinstance(scheduler, PlateauLR):
        patience = Patience(plateau.PATIENCE, plateau.MIN_DELTA)
        lowest = end_factor(cfg)
        followers.append(PlateauHook(scheduler, patience, plateau.METRIC, plateau.FACTOR, lowest))
    if stopping.PATIENCE > 0:
        patience = Patience(stopping.PATIENCE, stopping.MIN_DELTA)
        followers.append(EarlyStoppingHook(patience, stopping.METRIC))
    return followers
