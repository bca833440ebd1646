"""What the hooks of a training know of its last iterations."""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from detectron2.utils.events import EventStorage
from fvcore.common.history_buffer import HistoryBuffer
from torch import Tensor

_LENGTH = 1000  # of what is smoothed at most: LOG_PERIOD iterations, or 20


class BoundedStorage(EventStorage):
    """Detectron2's, which keeps every number of the last million iterations: 2 KB an iteration."""

    def __init__(self, start_iter: int, log_period: int) -> None:
        """Starts empty.

        Args:
            start_iter: the first iteration.
            log_period: iterations between two lines of progress.
        """
        super().__init__(start_iter)
        self._current_prefix: str = ""
        # (name, value, smoothing_hint, cur_iter) of tensors that were not read yet.
        self._waiting: list[tuple[str, Tensor, bool, int]] = []
        self._history: defaultdict[str, HistoryBuffer] = defaultdict(
            partial(HistoryBuffer, max(_LENGTH, log_period))
        )

    def put_scalar(
        self, name: str, value: Any, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Keeps a number; one on a GPU from `settle` on, so that nobody waits for it now.

        Args:
            name: of the statistic.
            value: a number, or a tensor of one.
            smoothing_hint: whether a plot may smooth it.
            cur_iter: its iteration; None for the present one.
        """
        if isinstance(value, Tensor) and value.device.type != "cpu":
            prefixed = self._current_prefix + name
            iteration = self.iter if cur_iter is None else cur_iter
            number = value.detach().reshape(())
            self._waiting.append((prefixed, number, smoothing_hint, iteration))
        else:
            super().put_scalar(name, value, smoothing_hint, cur_iter)

    def waiting(self) -> list[Tensor]:
        """The numbers that `settle` takes, in its order."""
        return [value for _, value, _, _ in self._waiting]

    def settle(self, numbers: Sequence[float]) -> None:
        """Keeps what `waiting` named, but for shares of nothing.

        Args:
            numbers: their values.
        """
        prefix, self._current_prefix = self._current_prefix, ""  # names have theirs already
        for (name, _, hint, iteration), number in zip(self._waiting, numbers, strict=True):
            if not math.isnan(number):
                super().put_scalar(name, number, hint, iteration)
        self._current_prefix = prefix
        self._waiting.clear()
