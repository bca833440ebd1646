"""Finds a rank that is stopped, or that stands still while all others wait for it.

Every rank looks at all ranks of its machine once a second, by what Linux says of their processes;
on other systems nobody looks. A collective call that waits is no sign of anything: the main rank
may score for an hour meanwhile. That nobody works is one.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 40.0  # seconds
_INTERVAL = 1.0  # seconds between two looks; those of a machine that sleeps do not count
_IN_DOUBT = 10  # looks more, when every rank seems to wait for another
# Ticks of the processor, and bytes read and written, in an interval; what is less is no work.
_TICKS = 3
_BYTES = 4096
# Where the main thread is while it waits for other ranks.
_WAITS = ("torch/distributed/", "torch/autograd/graph.py")
_PROC = Path("/proc")


class RankWatch(threading.Thread):
    """Ends what stands still; a rank can be ended by any other, and by itself."""

    def __init__(
        self,
        rank: int,
        processes: dict[int, int],
        *,
        whole: bool,
        patience: float,
        tell: Callable[[str], None],
    ) -> None:
        """Keeps what it is given.

        Args:
            rank: of this process.
            processes: rank -> process, of all ranks on this machine.
            whole: there are no ranks elsewhere, for which these might wait.
            patience: seconds that a rank may be stopped, or that no rank works.
            tell: is given a sentence before a rank is ended.
        """
        super().__init__(name="rank watch", daemon=True)
        self.rank, self.processes, self.whole = rank, processes, whole
        self.patience, self.tell = patience / _INTERVAL, tell
        self._parent, self._alone = os.getppid(), 0
        self._stopped = dict.fromkeys(processes, 0)  # looks in a row
        self._idle = 0
        self._before: dict[int, _Work] = {}
        self._end = threading.Event()

    def run(self) -> None:
        """Looks until `stop` is called."""
        while not self._end.wait(_INTERVAL):
            self._look_for_parent()
            self._look_for_stopped()
            if self.whole:
                self._look_for_work()

    def stop(self) -> None:
        """Looks no more."""
        self._end.set()

    def _look_for_parent(self) -> None:
        """Without the process that started the ranks nobody would end them."""
        if os.getppid() == self._parent:
            return
        self._alone += 1
        if self._alone == 1:
            os.kill(os.getpid(), signal.SIGTERM)  # with time to save
        elif self._alone > self.patience:
            os._exit(1)

    def _look_for_stopped(self) -> None:
        for rank, process in self.processes.items():
            is_stopped = _state(process) in ("T", "t")
            self._stopped[rank] = self._stopped[rank] + 1 if is_stopped else 0
            if self._stopped[rank] > self.patience:
                self.tell(
                    f"rank {rank} (process {process}) is stopped, by SIGSTOP or a debugger, for"
                    f" {self._stopped[rank] * _INTERVAL:.0f} s; it was ended, and with it the run"
                )
                os.kill(process, signal.SIGKILL)

    def _look_for_work(self) -> None:
        found = {process: _work(process) for process in self.processes.values()}
        worked = any(
            work.waits_for_disk or work.exceeds(self._before.get(process))
            for process, work in found.items()
        )
        self._before = found
        self._idle = 0 if worked else self._idle + 1
        place, is_waiting = _main_thread()
        if self._idle > self.patience + (_IN_DOUBT if is_waiting else 0):
            others = "as all others do, for another one" if is_waiting else "and all others wait"
            verb = "waits" if is_waiting else "stands still"
            self.tell(
                f"rank {self.rank} (process {os.getpid()}) {verb} at {place}, {others}: no rank has"
                f" done anything for {self._idle * _INTERVAL:.0f} s (SOLVER.RANK_PATIENCE), so the"
                " run was ended"
            )
            os._exit(1)


@dataclass(frozen=True)
class _Work:
    """What a process and its children have done so far.

    Attributes:
        ticks: of the processor.
        bytes: read and written by the main thread.
        waits_for_disk: or for another device, one of them, now.
    """

    ticks: int
    bytes: int
    waits_for_disk: bool

    def exceeds(self, before: "_Work | None") -> bool:
        if before is None:
            return True
        # Children that have ended take their ticks with them.
        return abs(self.ticks - before.ticks) >= _TICKS or abs(self.bytes - before.bytes) >= _BYTES


def _main_thread() -> tuple[str, bool]:
    """Where this process's main thread is, and whether it waits for other ranks there."""
    ident = threading.main_thread().ident
    assert ident is not None
    stack = traceback.extract_stack(sys._current_frames()[ident])
    is_waiting = any(place in frame.filename for frame in stack for place in _WAITS)
    ours = [frame for frame in stack if f"{os.sep}project{os.sep}" in frame.filename]
    frame = ours[-1] if ours and is_waiting else stack[-1]
    return f"{frame.filename}:{frame.lineno} ({frame.name})", is_waiting


def _state(process: int) -> str:
    """The letter that `ps` shows; "" of a process that has ended."""
    return next(iter(_status(process)), "")


def _status(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none of a process that has ended."""
    try:
        text = (_PROC / str(process) / "stat").read_text(errors="replace")
    except OSError:  # it ended a moment ago
        return []
    # The name before them is in brackets and may hold anything.
    return text.rpartition(")")[2].split()


def _work(process: int) -> _Work:
    statuses = [_status(of) for of in (process, *_descendants(process))]
    waits_for_disk = any(status[:1] == ["D"] for status in statuses)
    return _Work(sum(map(_ticks, statuses)), _bytes(process), waits_for_disk)


def _ticks(status: list[str]) -> int:
    return int(status[11]) + int(status[12]) if status else 0


def _bytes(process: int) -> int:
    try:
        lines = (_PROC / f"{process}/task/{process}/io").read_text().splitlines()
    except OSError:  # it ended, or the system does not count them
        return 0
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]) + int(counts["wchar"])


def _descendants(process: int) -> Iterator[int]:
    for path in (_PROC / str(process) / "task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # the thread ended a moment ago
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)
