"""The ranks that we start on this machine: they end together, whatever becomes of one of them."""

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection, get_context
from typing import Any

from project.engine.signals import Interrupted, SignalCatcher
from project.errors import RankError, UserError

_GRACE = 5.0  # seconds in which others may end, after one has failed
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


class Report:
    """How a rank tells the process that started it what went wrong; from any thread."""

    def __init__(self, writer: connection.Connection) -> None:
        self._writer, self._lock = writer, threading.Lock()

    def send(self, fault: Exception | str) -> None:
        """Sends an error to raise, or the traceback of one of our own."""
        with self._lock:
            self._writer.send((time.monotonic(), fault))


class Ranks:
    """Processes of one machine."""

    def __init__(self, count: int, function: Callable[..., None], arguments: tuple[Any, ...]):
        """Starts them.

        Args:
            count: processes.
            function: called as `function(local_rank, report, *arguments)` in each of them.
            arguments: its further arguments.
        """
        context = get_context("spawn")
        self._processes: list[Any] = []
        self._readers: list[connection.Connection] = []
        # Of each rank, what it sent: when, and an error or a traceback.
        self._faults: dict[int, tuple[float, Exception | str]] = {}
        for local_rank in range(count):
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(
                target=_run,
                args=(function, local_rank, writer, arguments),
                name=f"rank {local_rank}",
            )
            process.start()
            writer.close()
            self._processes.append(process)
            self._readers.append(reader)

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [process.pid for process in self._processes]

    def join(self) -> None:
        """Waits for all, and passes signals on; none is left when this ends, in whatever way.

        Raises:
            Interrupted: the ranks ended by a signal.
            UserError: that a rank raised.
            RankError: a rank was ended, or ended itself, without a word.
            RuntimeError: a rank raised something else; with its traceback.
        """
        catcher = SignalCatcher(forward=self._tell)
        catcher.start()
        try:
            self._wait(None)
            failed = [p.exitcode for p in self._processes]
            if any(failed):
                self._wait(_GRACE)  # for what they still say; later ends only follow from these
        finally:
            self._kill()
            catcher.stop()
        self._raise_fault(failed)

    def _tell(self, number: int) -> None:
        for process in self._processes:
            if process.exitcode is None:
                os.kill(process.pid, number)

    def _wait(self, seconds: float | None) -> None:
        """Until all have ended; without a time, until one has failed."""
        end = None if seconds is None else time.monotonic() + seconds
        while running := [p for p in self._processes if p.exitcode is None]:
            connection.wait([p.sentinel for p in running], timeout=1)
            self._receive()
            has_failed = any(p.exitcode for p in self._processes)
            if has_failed if end is None else time.monotonic() > end:
                return

    def _receive(self) -> None:
        for rank, reader in enumerate(self._readers):
            try:
                while reader.poll():
                    found = reader.recv()
                    self._faults.setdefault(rank, found)
            except EOFError:  # it has ended, and sends no more
                continue

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()  # even one that is stopped
        for process in self._processes:
            process.join()
        self._receive()

    def _raise_fault(self, statuses: list[int | None]) -> None:
        """Raises what came first; what a rank dies of may only be that another had gone before."""
        sent = sorted(self._faults.items(), key=lambda item: item[1][0])
        for _, (_, fault) in sent:
            if isinstance(fault, Exception):
                raise fault
        for rank, status in enumerate(statuses):
            if status and rank not in self._faults:
                raise RankError(
                    f"rank {rank} of this machine (process {self.pids[rank]}) {_end(status)}; the"
                    " others were ended. The same command with --resume goes on"
                )
        for rank, (_, fault) in sent:
            raise RuntimeError(f"rank {rank} of this machine failed:\n{fault}")


def _end(status: int) -> str:
    if status > 0:
        return f"ended by itself with status {status}"
    name = signal.Signals(-status).name
    memory = ", which is how Linux answers a lack of memory" if name == "SIGKILL" else ""
    return f"was ended by {name}{memory}"


def _run(
    function: Callable[..., None],
    local_rank: int,
    writer: connection.Connection,
    arguments: tuple[Any, ...],
) -> None:
    report = Report(writer)
    try:
        function(local_rank, report, *arguments)
    except Interrupted as error:
        report.send(error)
    except UserError as error:
        report.send(error)
        sys.exit(1)
    except Exception:
        report.send(traceback.format_exc())
        sys.exit(1)


def end_children_with_this_process() -> None:
    """Makes the loader's workers end with this process, also when it is killed; on Linux."""
    if sys.platform != "linux":
        return
    system = ctypes.CDLL(None)
    forking: list[int] = []  # the process that is about to fork

    def before() -> None:
        forking[:] = [os.getpid()]

    def after() -> None:
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != forking[0]:  # it had ended by then
            os._exit(1)

    os.register_at_fork(before=before, after_in_child=after)
