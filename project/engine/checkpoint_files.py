"""Files of checkpoints: whole or not there, with a digest beside each, found again when damaged.

    model_0000999.pth          the checkpoint
    model_0000999.pth.sha256   its digest, as `sha256sum --check` reads it
    last_checkpoint            the name of the one that `--resume` goes on from

Whatever moment a process dies at: a file under its final name is always a whole one, its digest is
in the file beside it, and `last_checkpoint` names a file that is there.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from project.digests import sha256
from project.engine.disk_space import told_when_full
from project.errors import WeightsError

logger = logging.getLogger(__name__)

LAST = "last_checkpoint"
_DIGEST = ".sha256"
_PARTIAL = ".partial"
_LONGEST_NAME = 64  # ours are shorter; a name of 4 bytes a character still fits a file system
_PERIODIC = re.compile(r"model_(\d{7,})\.pth")  # Detectron2's names; the number is the iteration


def write_checkpoint(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file whole, and its digest beside it.

    Args:
        path: that may be there already; it is the old or the new file at any moment.
        write: writes the content.

    Raises:
        StorageError: the disk is full; what was at `path` stays.
        OSError: as the file system says; what was at `path` stays.
    """
    with told_when_full(path, write):
        with _partial(path) as partial:
            _write_new(partial, write)
            new = sha256(partial)
            # Both digests are right until the file has been replaced.
            old = sorted(_digests(path)) if path.exists() else []
            _write_text(_beside(path), _lines(path, [new, *old]))
            os.replace(partial, path)
        _write_text(_beside(path), _lines(path, [new]))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file whole, without a digest.

    Raises:
        StorageError: the disk is full; what was at `path` stays.
        OSError: as the file system says; what was at `path` stays.
    """
    with told_when_full(path, write), _partial(path) as partial:
        _write_new(partial, write)
        os.replace(partial, path)
    _sync_folder(path.parent)


def tag_last(path: Path) -> None:
    """Makes a checkpoint the one that `--resume` goes on from.

    Raises:
        StorageError: the disk is full; the one that was tagged stays so.
    """
    tag = path.with_name(LAST)
    with told_when_full(tag, lambda file: file.write(path.name.encode())):
        _write_text(tag, path.name)


def prune(folder: Path, keep: int) -> None:
    """Deletes periodic checkpoints but the newest `keep` and the tagged one; 0 keeps all."""
    if keep < 1:
        return
    tagged = _tagged(folder)
    for path in _periodic(folder)[keep:]:
        if path != tagged:
            path.unlink()
            _beside(path).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Deletes what a process that was killed left behind: half-written files, lonely digests."""
    for path in folder.glob(f"*{_PARTIAL}"):
        path.unlink()
    for path in folder.glob(f"*.pth{_DIGEST}"):
        if not path.with_name(path.name.removesuffix(_DIGEST)).exists():
            path.unlink()


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a run to go on with.

    Raises:
        WeightsError: what `last_checkpoint` says leads out of the folder.
    """
    return next(_candidates(folder), None) is not None


def last_whole(folder: Path) -> Path:
    """The newest checkpoint that is not damaged: the tagged one, or else one before it.

    Raises:
        WeightsError: there is none.
    """
    tried: list[str] = []
    for path in _candidates(folder):
        fault = damage(path)
        if fault is None:
            if tried:
                logger.warning("%s; going on from %s instead", "; ".join(tried), path)
            return path
        tried.append(f"{path} {fault}")
    raise WeightsError(
        f"{folder}: no checkpoint to go on from: {'; '.join(tried) or 'none is there'}; restore one"
        " from a copy, or leave --resume out and start anew"
    )


def damage(path: Path) -> str | None:
    """What is wrong with a file, by its digest; None where nothing is, or where none is known."""
    if not path.is_file():
        return "is not there"
    if _beside(path).is_file() and sha256(path) not in _digests(path):
        return f"is damaged: its content is not what {_beside(path).name} says"
    return None if path.stat().st_size else "is empty"


class _partial:
    """A path to write to first; it is gone afterwards, whatever happened."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}{_PARTIAL}")

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def _write_new(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A link that lies there is replaced, and what it leads to stays."""
    path.unlink(missing_ok=True)
    with open(path, "xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _write_text(path: Path, text: str) -> None:
    with _partial(path) as partial:
        _write_new(partial, lambda file: file.write(text.encode()))
        os.replace(partial, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes renamings survive a loss of power, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # not on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}{_DIGEST}")


def _lines(path: Path, digests: list[str]) -> str:
    return "".join(f"{digest}  {path.name}\n" for digest in digests)


def _digests(path: Path) -> set[str]:
    beside = _beside(path)
    if not beside.is_file():
        return set()
    lines = beside.read_text("utf-8", errors="replace").splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def _periodic(folder: Path) -> list[Path]:
    """Periodic checkpoints, the newest first."""
    found = [
        path
        for path in folder.glob("model_*.pth")
        if _PERIODIC.fullmatch(path.name) and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: -int(_PERIODIC.fullmatch(path.name)[1]))  # type: ignore[index]


def _tagged(folder: Path) -> Path | None:
    tag = folder / LAST
    if not tag.is_file():
        return None
    name = tag.read_text("utf-8", errors="replace").strip()
    if not name:
        return None
    # Neither by a path nor by a link may it lead to a file that this run did not write.
    is_name = name.isprintable() and len(name) < _LONGEST_NAME and Path(name).name == name
    if not is_name or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise WeightsError(
            f"{tag}: it names {name[:200]!r}; expected the name of a checkpoint that lies in that"
            " folder itself; write one into it, or remove it to go on from the newest there"
        )
    return folder / name


def _candidates(folder: Path) -> Iterator[Path]:
    """The tagged checkpoint, then the periodic ones, the newest first."""
    tagged = _tagged(folder)
    if tagged is not None:
        yield tagged
    yield from (path for path in _periodic(folder) if path != tagged)
