"""Moments at which a process that trains is killed: between iterations, and inside of saving."""

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import project.engine.checkpoint_files as files


@dataclass(frozen=True)
class AfterSeconds:
    """SIGKILL after a time, whatever happens then."""

    seconds: float

    def __call__(self) -> None:
        """Called in the process that trains."""
        timer = threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()


@dataclass(frozen=True)
class AtMoment:
    """SIGKILL just before the n-th write, flush, rename or deletion of saving, tagging and pruning.

    Of a write, the first half is done. Without `number`, the moments are counted into `counts`.
    """

    number: int = 0
    counts: Path | None = None

    def __call__(self) -> None:
        """Called in the process that trains."""
        Moments(self)


class Moments:
    """Counts the calls by which checkpoint files change."""

    def __init__(self, plan: AtMoment) -> None:
        self.plan, self.done = plan, 0
        files.open = self.opened  # a module's own name goes before the built-in one
        for owner, name in ((os, "replace"), (os, "fsync"), (Path, "unlink")):
            setattr(owner, name, self.watched(name, getattr(owner, name)))

    def opened(self, path: Any, mode: str = "r", **options: Any) -> Any:
        file = open(path, mode, **options)  # noqa: SIM115  (it is handed on)
        return _Watched(file, self) if mode[0] in "wx" else file

    def watched(self, name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.happens(name)
            return function(*arguments, **options)

        return call

    def happens(self, name: str, before: Any = lambda: None) -> None:
        self.done += 1
        if self.plan.counts:
            with open(self.plan.counts, "a") as file:
                file.write(f"{name}\n")
        if self.done == self.plan.number:
            before()
            os.kill(os.getpid(), signal.SIGKILL)


class _Watched:
    """An open file whose writes are moments."""

    def __init__(self, file: Any, moments: Moments) -> None:
        self._file, self._moments = file, moments

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._moments.happens("write", half)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
