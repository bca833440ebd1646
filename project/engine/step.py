"""One training step: forward, backward, clipping, update; with mixed precision on any device."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import get_event_storage
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from project.engine.nonfinite import FiniteGuard, Step
from project.engine.storage import BoundedStorage
from project.engine.transfer import to_device

# Of an optimizer how it computes, not what: the config's, and no checkpoint's.
_WAYS = ("fused", "foreach")


class TrainStep(SimpleTrainer):
    """Detectron2's SimpleTrainer with autocast, loss scaling and clipping of unscaled gradients.

    Its AMPTrainer runs on GPUs only.

    Attributes:
        waiting_seconds: of all steps, the time in which the next batch was not there yet.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable,
        optimizer: torch.optim.Optimizer,
        *,
        device: str,
        dtype: torch.dtype | None,
        clip: Callable[[Iterable[nn.Parameter]], object],
        parts: int = 1,
        guard: FiniteGuard | None = None,
    ) -> None:
        """Keeps what it is given.

        Args:
            model: returns losses by name in training.
            data_loader: of batches, lists of images.
            optimizer: of the model.
            device: MODEL.DEVICE.
            dtype: of mixed precision; None for none.
            clip: clips gradients in place.
            parts: into which each batch is cut, one after another; divides its length.
            guard: says whether a step may be taken; None takes every one.
        """
        super().__init__(model, data_loader, optimizer)
        self.parts = parts
        self.device = torch.device(device)
        self.device_type = self.device.type
        self.dtype = dtype
        self.clip = clip
        self.guard = guard
        self.waiting_seconds = 0.0
        self._parameters = list(model.parameters())  # found anew, they take 2 % of a GPU's step
        # Only fp16 needs its loss scaled: bf16 has the exponents of float32.
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=dtype == torch.float16)

    def run_step(self) -> None:
        """Trains on the next batch."""
        assert self.model.training
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.waiting_seconds += data_time

        self.optimizer.zero_grad(set_to_none=True)
        if self.guard:
            self.guard.before_step()
        loss_dict = self.add_gradients(data)
        self.scaler.unscale_(self.optimizer)
        self.after_backward()
        losses, gradient_norm, scale = self._fetch(loss_dict)
        if self._takes(data, losses, gradient_norm, scale):
            self.clip(self._parameters)
            self._write_metrics({k: torch.tensor(v) for k, v in losses.items()}, data_time)
            self.scaler.step(self.optimizer)
        self.scaler.update()

    def add_gradients(self, data: list[Any]) -> dict[str, torch.Tensor]:
        """Forward and backward, part by part; the mean losses over the parts."""
        size, rest = divmod(len(data), self.parts)
        assert rest == 0, (len(data), self.parts)
        totals: dict[str, torch.Tensor] = {}
        for start in range(0, len(data), size):
            is_last = start + size == len(data)
            with self._exchange(is_last):
                part = data[start : start + size]
                if self.device_type == "cuda":
                    part = to_device(part, self.device)
                with torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
                    losses = self.model(part)
                losses = {name: value / self.parts for name, value in losses.items()}
                self.scaler.scale(sum(losses.values())).backward()
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value.detach()
        return totals

    def _fetch(
        self, loss_dict: dict[str, torch.Tensor]
    ) -> tuple[dict[str, float], float, float | None]:
        """Losses, norm of all gradients and scale of the losses (None for none): one wait.

        The statistics of the step that are still on a GPU come along.
        """
        storage = get_event_storage()
        waiting = storage.waiting() if isinstance(storage, BoundedStorage) else []
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        tensors = [*loss_dict.values(), norm, self.scaler.scale(torch.ones_like(norm)), *waiting]
        numbers = torch.stack([tensor.float() for tensor in tensors]).tolist()
        count = len(loss_dict)
        if isinstance(storage, BoundedStorage):
            storage.settle(numbers[count + 2 :])
        scale = numbers[count + 1] if self.scaler.is_enabled() else None
        return dict(zip(loss_dict, numbers)), numbers[count], scale

    def _takes(
        self, data: list[Any], losses: dict[str, float], norm: float, scale: float | None
    ) -> bool:
        if self.guard is None:
            return True
        step = Step(
            iteration=self.iter,
            batch=data,
            losses=losses,
            gradient_norm=norm,
            learning_rate=self.optimizer.param_groups[0]["lr"],
        )
        return self.guard.passes(step, scale)

    def _exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once a step."""
        if is_last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def state_dict(self) -> dict:
        """Adds the state of the loss scaler, and the steps left out, to that of the optimizer."""
        own: dict[str, Any] = {"scaler": self.scaler.state_dict()}
        if self.guard:
            own["skipped"] = self.guard.skipped
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restores what `state_dict` gave; a run without a scaler may go on with one."""
        groups = self.optimizer.param_groups
        ways = [{key: group.get(key) for key in _WAYS} for group in groups]
        super().load_state_dict(state_dict)
        for group, way in zip(self.optimizer.param_groups, ways, strict=True):
            group.update(way)
        if self.guard:
            self.guard.skipped = state_dict.get("skipped", 0)
        if state_dict.get("scaler"):
            self.scaler.load_state_dict(state_dict["scaler"])
