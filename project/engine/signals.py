"""Signals end a training after the iteration that they come in, with a checkpoint.

Made for machines that are taken away at short notice and for queues that start a job again.
SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 are heard; a second one, at least a second later, ends at once.
"""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import HookBase
from detectron2.utils import comm

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Exit status of a run that wants to be started again: EX_TEMPFAIL of sysexits.h.
EXIT_STATUS = 75
# A terminal sends Ctrl-C to all processes, and the one that started the ranks passes it on.
_SAME_S = 1.0


class Interrupted(Exception):
    """A training that has ended early, with a checkpoint to go on from."""


class SignalCatcher:
    """Hears the signals in place of whoever heard them before.

    Attributes:
        received: number of the first signal that came; 0 before there is one.
    """

    def __init__(self, forward: Callable[[int], None] | None = None) -> None:
        """Keeps what it is given.

        Args:
            forward: called with each signal, to pass it on to other processes.
        """
        self.received = 0
        self._forward = forward
        self._time = 0.0
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def start(self) -> None:
        """Begins to hear; only in the main thread."""
        self._before = {number: signal.signal(number, self._handle) for number in HEARD}

    def stop(self) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:
            _handle_as_worker(number)
            return
        now = time.monotonic()
        is_second = bool(self.received) and now - self._time >= _SAME_S
        if not self.received:
            self.received, self._time = number, now
        if self._forward:
            self._forward(number)
        if is_second:
            _die(number)


def _handle_as_worker(number: int) -> None:
    """A worker of the loader has these handlers too, and ends when its parent tells it to."""
    if number == signal.SIGTERM:
        _die(number)


def _die(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class SignalHook(HookBase):
    """Ends the training of all ranks after the iteration in which one of them was told to."""

    def __init__(self, save: Callable[[int], str]) -> None:
        """Keeps what it is given.

        Args:
            save: writes a checkpoint to go on from; the number of the iteration -> its path.
        """
        self.save = save
        self.catcher = SignalCatcher()
        self._group: Any = None

    def before_train(self) -> None:
        """Called by the trainer."""
        self.catcher.start()
        if comm.get_world_size() > 1:
            # Through the CPU: a GPU would have to finish its queue for one number.
            self._group = dist.new_group(backend="gloo")

    def after_step(self) -> None:
        """Called by the trainer.

        Raises:
            Interrupted: after the checkpoint.
        """
        number = self._agreed()
        done = self.trainer.iter + 1
        if not number or done >= self.trainer.max_iter:
            return
        path = self.save(self.trainer.iter)
        # A rank that ends before the main one has saved would end that one too.
        comm.synchronize()
        name = signal.Signals(number).name
        raise Interrupted(
            f"{name}: stopped after {done} of {self.trainer.max_iter} iterations, with {path};"
            " the same command with --resume goes on"
        )

    def after_train(self) -> None:
        """Called by the trainer, also after an error."""
        self.catcher.stop()
        self._group = None

    def _agreed(self) -> int:
        """The largest number that a rank has received, the same on all."""
        if self._group is None:
            return self.catcher.received
        received = torch.tensor(self.catcher.received)
        dist.all_reduce(received, op=dist.ReduceOp.MAX, group=self._group)
        return int(received)
