"""What may become of one of several ranks, for tests of those that are left."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

WORKERS = 1
BEFORE = 3  # steps that go well


def _raise() -> None:
    raise ZeroDivisionError("our own mistake")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _sleep() -> None:
    time.sleep(10_000)


FAULTS: dict[str, Callable[[], object]] = {
    "exits": lambda: os._exit(7),
    "killed": _kill,
    "raises": _raise,
    "stopped": _stop,
    "sleeps": _sleep,
}


class Squares:
    """A data set for the workers of a loader."""

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> float:
        return float(index**2)


def note(folder: Path, process: int) -> None:
    (folder / str(process)).touch()


def work(folder: Path, fault: str, seconds: float = 0) -> None:
    """Steps that all ranks take together, until a fault comes over rank 1.

    Args:
        folder: gets one file for each process, and `fault` when that begins.
        fault: of `FAULTS`.
        seconds: that rank 0 works before, while the other one waits.
    """
    note(folder, os.getpid())
    end = time.monotonic() + seconds
    while dist.get_rank() == 0 and time.monotonic() < end:
        sum(range(10_000))
    loader = iter(DataLoader(Squares(), num_workers=WORKERS))
    for worker in loader._workers:
        note(folder, worker.pid)
    for step, batch in zip(range(10**6), loader):
        if step == BEFORE and dist.get_rank() == 1:
            (folder / "fault").touch()
            FAULTS[fault]()
        dist.all_reduce(torch.as_tensor(batch))
