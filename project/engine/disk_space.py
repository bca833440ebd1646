"""What a disk without room says: which file, how much it needs, how much there is."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from project.errors import StorageError

# No room, the quota of a user, the largest file that a process may write.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told_when_full(path: Path, write: Callable[[BinaryIO], object]) -> Iterator[None]:
    """Within, an error of a full disk becomes one that says what is needed.

    Args:
        path: that is written.
        write: writes the content; called once more to measure it.

    Raises:
        StorageError: the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_full(error):
            raise
        needed, free = _size(write), shutil.disk_usage(path.parent).free
        raise StorageError(
            f"{path} could not be written: it needs {needed:,} bytes, and its disk has {free:,}"
            " free (a quota or a limit may leave less). What was saved before is as it was: make"
            " room, or have fewer kept by SOLVER.CHECKPOINTS_KEPT, and go on with --resume"
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is the cause, which torch answers by an error of its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _size(write: Callable[[BinaryIO], object]) -> int:
    sink = _Counter()
    write(cast(BinaryIO, sink))
    return sink.size


class _Counter(RawIOBase):
    """Takes everything, keeps its size alone."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        length = memoryview(data).nbytes
        self.size += length
        return length
