"""Numbers that are not finite end a training before they are saved, and leave what shows why."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import nn

from project.engine.batch_file import Batch, to_plain
from project.engine.checkpoint_files import has_checkpoint, write_whole
from project.errors import StorageError, TrainingError

logger = logging.getLogger(__name__)

_STATISTICS = ("running_mean", "running_var")
_SMALLEST_SCALE = 1e-4  # of losses in fp16; it starts at 65,536 and is halved by each bad step
_SHOWN = 8


@dataclass(frozen=True)
class Step:
    """What is known of a training step before the weights change.

    Attributes:
        iteration: its number, from 0.
        batch: of this rank.
        losses: by name.
        gradient_norm: of all gradients together, after the ranks have exchanged them.
        learning_rate: of the first group of weights.
    """

    iteration: int
    batch: Batch
    losses: Mapping[str, float]
    gradient_norm: float
    learning_rate: float

    def describe(self) -> str:
        """Losses, gradient, learning rate and images, in one line."""
        losses = ", ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        images = [f"{item.get('file_name')} (id {item.get('image_id')})" for item in self.batch]
        more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
        return (
            f"iteration {self.iteration}: {losses}; gradient norm {self.gradient_norm:.4g},"
            f" learning rate {self.learning_rate:.4g}; images {', '.join(images[:_SHOWN])}{more}"
        )


class FiniteGuard:
    """Looks at every step before it changes the weights.

    Attributes:
        skipped: steps that were left out so far.
        seed: of the run.
    """

    def __init__(
        self, model: nn.Module, *, output_dir: str, config: str, seed: int, skips: int
    ) -> None:
        """Keeps what it is given.

        Args:
            model: that is trained.
            output_dir: where steps that may not be taken are written.
            config: of the run, as YAML.
            seed: of the run.
            skips: steps that may be left out.
        """
        self.model = model
        self.output_dir = output_dir
        self.config = config
        self.seed = seed
        self.skips = skips
        self.skipped = 0
        self._statistics: dict[str, torch.Tensor] = {}

    def before_step(self) -> None:
        """Remembers the statistics that the forward pass changes, where a step may be undone."""
        if self.skips > self.skipped:
            self._statistics = {k: v.clone() for k, v in _statistics(self.model)}

    def passes(self, step: Step, scale: float | None = None) -> bool:
        """Whether the step may be taken; the same answer on all ranks.

        Args:
            step: of this rank.
            scale: of the losses in fp16, whose scaler leaves out steps of infinite gradients by
                itself and lowers the scale; None where nothing is scaled.

        Raises:
            TrainingError: it may not, and no more may be left out. The batch and the weights are in
                a file for `tools/replay_batch.py`.
        """
        gradient = 0.0 if scale is not None else step.gradient_norm
        bad = not all(map(math.isfinite, [*step.losses.values(), gradient]))
        bad = bad or (scale is not None and scale < _SMALLEST_SCALE)
        if not _on_any_rank(bad, next(self.model.parameters()).device):
            return True
        path = self._path(step)
        text = f"{step.describe()}; batch and weights: {path}"
        try:
            self._write(step, path)
        except (OSError, StorageError) as error:  # what was found matters more than the file
            text = f"{step.describe()}; batch and weights could not be written ({error})"
        if self.skipped >= self.skips:
            raise TrainingError(
                f"numbers that are not finite in {text}. `tools/replay_batch.py {path}` names the"
                " layer that they come from. A lower SOLVER.BASE_LR, a longer SOLVER.WARMUP_ITERS,"
                " SOLVER.CLIP_GRADIENTS.ENABLED True or SOLVER.AMP.ENABLED False often help;"
                f" SOLVER.NONFINITE_SKIPS (now {self.skips}) leaves such steps out."
                f" {self._way_on()}"
            )
        self.skipped += 1
        for name, tensor in _statistics(self.model):
            tensor.copy_(self._statistics[name])
        logger.warning("left out, %d of %d: %s", self.skipped, self.skips, text)
        return False

    def _way_on(self) -> str:
        if has_checkpoint(Path(self.output_dir)):
            return (
                "What was saved before is good: --resume --accept-changes goes on from it with"
                " other values"
            )
        return "Nothing was saved before: start anew with other values"

    def _path(self, step: Step) -> Path:
        rank = f"_rank{comm.get_rank()}" if comm.get_world_size() > 1 else ""
        return Path(self.output_dir) / f"nonfinite_{step.iteration:07}{rank}.pth"

    def _write(self, step: Step, path: Path) -> None:
        content = {
            "config": self.config,
            "seed": self.seed,
            "iteration": step.iteration,
            "rank": comm.get_rank(),
            "losses": dict(step.losses),
            "gradient_norm": step.gradient_norm,
            "learning_rate": step.learning_rate,
            "model": {**self.model.state_dict(), **self._statistics},
            "batch": to_plain(step.batch),
        }
        write_whole(path, lambda file: torch.save(content, file))


def check_finite(named: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Checks what is to be saved.

    Args:
        named: weights and running statistics, by name.
        where: what they are to be saved as.

    Raises:
        TrainingError: names the first of those that are not finite.
    """
    bad = [name for name, tensor in named if not bool(torch.isfinite(tensor).all())]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise TrainingError(
            f"{where} is not written: {bad[0]}{more} hold numbers that are not finite. What was"
            " saved before is good; go on from it with --resume and a lower SOLVER.BASE_LR"
            " (--accept-changes), or start anew with SOLVER.CLIP_GRADIENTS.ENABLED True"
        )


def learnt(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Weights and running statistics of a model; other buffers may be infinite by design."""
    return [*model.named_parameters(), *_statistics(model)]


def _statistics(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(k, v) for k, v in model.named_buffers() if k.rpartition(".")[2] in _STATISTICS]


def _on_any_rank(flag: bool, device: torch.device) -> bool:
    if comm.get_world_size() == 1:
        return flag
    raised = torch.tensor(float(flag), device=device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised)
