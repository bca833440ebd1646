"""Statistics of batch normalisation, of which each rank has its own."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn


class StatisticsHook(HookBase):
    """Gives all ranks the same normalisation statistics while something is saved or scored.

    Each rank's batch normalisation sees its own images only. Without this every rank would score
    its share of the test images with a model of its own, and only one of these would be saved.
    Training goes on with each rank's own, as if nothing had been saved; they are in the checkpoint
    too, for a run that goes on with as many ranks.
    """

    def __init__(self, *periods: int) -> None:
        self.periods = [period for period in periods if period > 0]
        self._own: dict[str, torch.Tensor] = {}  # of this rank, while the model holds the means
        self._of_ranks: list[dict[str, torch.Tensor]] = []  # the same of all, on the main rank

    def after_step(self) -> None:
        """Called by the trainer."""
        done = self.trainer.iter + 1
        if done >= self.trainer.max_iter or any(done % period == 0 for period in self.periods):
            self.share()

    def share(self) -> None:
        """Puts means in the place of each rank's own, until the next step; all ranks call it."""
        if comm.get_world_size() == 1 or self._own:
            return
        shared = dict(self._statistics())
        self._own = {name: statistic.cpu().clone() for name, statistic in shared.items()}
        self._of_ranks = comm.gather(self._own)
        for statistic in shared.values():
            dist.all_reduce(statistic)
            statistic /= comm.get_world_size()

    def before_step(self) -> None:
        """Called by the trainer."""
        for name, statistic in self._statistics() if self._own else ():
            if name in self._own:
                statistic.copy_(self._own[name])
        self._own, self._of_ranks = {}, []

    def state_dict(self) -> dict[str, Any]:
        """Called by the trainer."""
        return {"ranks": self._of_ranks} if self._of_ranks else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by the trainer; with another number of ranks all go on with the means."""
        ranks = state_dict["ranks"]
        if len(ranks) == comm.get_world_size():
            self._own = ranks[comm.get_rank()]
            self._of_ranks = ranks if comm.is_main_process() else []

    def _statistics(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Running means and variances by name, of the weights and of their average."""
        models = {"model": self.trainer.raw_model}
        if self.trainer.average:
            models["average"] = self.trainer.average.averaged.module
        for kind, model in models.items():
            for name, module in model.named_modules():
                if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                    for part in ("running_mean", "running_var"):
                        yield f"{kind}.{name}.{part}", getattr(module, part)
