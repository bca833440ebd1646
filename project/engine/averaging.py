"""Averaged weights: often better than the last ones, and scored in their place."""

import torch
from detectron2.config import CfgNode
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """The running average of a model's weights and normalisation statistics.

    With `decay` 0 it is the plain mean over all updates (Izmailov et al. 2018), otherwise the
    exponential one: average = decay * average + (1 - decay) * weights.
    """

    def __init__(self, model: nn.Module, *, decay: float, start_iter: int) -> None:
        self.model = model
        self.start_iter = start_iter
        average = get_ema_multi_avg_fn(decay) if decay else None
        self.averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> "WeightAverage | None":
        """As SOLVER.EMA says; None where it is off."""
        ema = cfg.SOLVER.EMA
        if not ema.ENABLED:
            return None
        start_iter = int(ema.START * cfg.SOLVER.MAX_ITER)
        return cls(model, decay=ema.DECAY, start_iter=start_iter)

    @property
    def started(self) -> bool:
        """Whether there is an average yet."""
        return int(self.averaged.n_averaged) > 0

    def update(self, iteration: int) -> None:
        """Takes the weights after an iteration into the average."""
        if iteration < self.start_iter:
            return
        self.averaged.update_parameters(self.model)
        # Whole numbers, such as positions, have no average: rounded down they would become wrong.
        for own, current in zip(self.averaged.module.buffers(), self.model.buffers()):
            if not own.is_floating_point():
                own.copy_(current)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averaged weights under the model's own names."""
        return self.averaged.module.state_dict()

    @property
    def count(self) -> int:
        """How many updates the average holds."""
        return int(self.averaged.n_averaged)

    def load(self, weights: dict[str, torch.Tensor], count: int) -> None:
        """Goes on from a saved average of `count` updates."""
        self.averaged.module.load_state_dict(weights)
        self.averaged.n_averaged.fill_(count)

    @property
    def scored_model(self) -> nn.Module:
        """The model to score with: the averaged one, once there is an average."""
        return self.averaged.module if self.started else self.model
