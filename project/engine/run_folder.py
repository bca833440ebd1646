"""The folder of a run: one run at a time, none written over by mistake, room for what will come."""

import fcntl
import os
import shutil
import socket
from pathlib import Path
from types import TracebackType

from project.engine.checkpoint_files import has_checkpoint, remove_partial
from project.errors import ConfigError, nearest

_LOCK = ".lock"
_MARGIN = 100 * 2**20  # bytes for logs, events, pictures and the report


class RunFolder:
    """Holds the lock of OUTPUT_DIR while it is entered; the system frees it when a process dies."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: int | None = None

    def __enter__(self) -> "RunFolder":
        """Takes the lock.

        Raises:
            ConfigError: another run has it, or the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(
                f"OUTPUT_DIR {self.path} cannot be written ({error.strerror}); set OUTPUT_DIR to"
                " a folder of yours"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._file, 200).decode(errors="replace").strip()
            os.close(self._file)
            self._file = None
            raise ConfigError(
                f"OUTPUT_DIR {self.path} belongs to a run that is still going on"
                f" ({owner or 'unknown'}); wait for it, stop it, or set another OUTPUT_DIR"
            ) from error
        os.ftruncate(self._file, 0)
        os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        remove_partial(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def check_start(folder: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Checks that a run may start in a folder.

    Args:
        folder: OUTPUT_DIR.
        resume: go on with the run that is there.
        overwrite: start anew where one is.

    Raises:
        ConfigError: nothing to go on with, or a run that would be written over.
    """
    folder = Path(folder)
    there = has_checkpoint(folder)
    if resume and not there:
        runs = [str(path.parent) for path in folder.parent.glob("*/last_checkpoint")]
        raise ConfigError(
            f"--resume: OUTPUT_DIR {folder} holds no checkpoint, so there is no run to go on with;"
            f" leave --resume out to start one.{nearest(str(folder), runs)}"
        )
    if there and not (resume or overwrite):
        raise ConfigError(
            f"OUTPUT_DIR {folder} holds a run already: --resume goes on with it, --overwrite starts"
            " anew in its place, and OUTPUT_DIR names another folder"
        )


def check_space(folder: str | Path, checkpoint_bytes: int) -> None:
    """Checks that two checkpoints fit, the one that is there and the one that takes its place.

    Args:
        folder: of the run; it exists.
        checkpoint_bytes: size of one.

    Raises:
        ConfigError: they do not.
    """
    free, needed = shutil.disk_usage(folder).free, 2 * checkpoint_bytes + _MARGIN
    if free < needed:
        raise ConfigError(
            f"OUTPUT_DIR {folder} is on a disk with {free / 2**20:.0f} MiB free, and two"
            f" checkpoints of this model need {needed / 2**20:.0f} MiB; make room, or set"
            " OUTPUT_DIR to another disk"
        )
