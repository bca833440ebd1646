"""The folder of a run: one run at a time, none lost by mistake, room for what it will hold."""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from project.engine.checkpoint_files import LAST, has_checkpoint
from project.errors import ConfigError, nearest

logger = logging.getLogger(__name__)

# What a run leaves in its folder; its log is added to, never replaced.
_CURVES = re.compile(r"metrics\.json|events\.out\.tfevents\..*")
_LEFT = re.compile(
    r"model_(\d{7,}|final|best)\.pth(\.sha256|\.partial)*|nonfinite_\d+(_rank\d+)?\.pth(\.partial)?"
    rf"|{LAST}|results\.json|per_image\.npz|report\.html|config\.yaml|{_CURVES.pattern}"
)
_LOG = re.compile(r"log\.txt.*|\.lock|.*\.partial")
# Any of these is work that somebody may miss.
_WORK = (LAST, "model_*.pth", "results.json")
_LOCK = ".lock"
_SAVED_AT_ONCE = 2  # a new checkpoint is written before an old one goes
_COPIES = {"SGD": 1, "Adam": 2, "AdamW": 2}  # SOLVER.OPTIMIZER -> numbers kept for each weight


def check_free(output_dir: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Checks that a training may start here, or go on.

    Args:
        output_dir: OUTPUT_DIR.
        resume: go on with the run that lies there.
        overwrite: a run that lies there may go.

    Raises:
        ConfigError: there is no run to go on with, or one that would be lost.
    """
    folder = Path(output_dir)
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite deletes it; leave one out")
    if resume:
        _check_resumable(folder)
        return
    found = sorted(path.name for pattern in _WORK for path in folder.glob(pattern))
    if found and not overwrite:
        goes_on = "--resume goes on with it, " if has_checkpoint(folder) else ""
        raise ConfigError(
            f"OUTPUT_DIR {folder} holds a run already ({', '.join(found[:3])}"
            f"{', ...' if len(found) > 3 else ''}): {goes_on}--overwrite deletes it and starts"
            " anew, and another OUTPUT_DIR leaves it as it is"
        )


def clear(output_dir: str | Path, *, overwrite: bool = False) -> None:
    """Deletes what an earlier run left, by the names that runs give; nothing else.

    Args:
        output_dir: OUTPUT_DIR.
        overwrite: all of it; otherwise only the curves of a run that left nothing to go on with,
            which would be taken for this one's.
    """
    own = _LEFT if overwrite else _CURVES
    for path in Path(output_dir).iterdir():
        if own.fullmatch(path.name) and not path.is_dir():
            path.unlink()


def check_weights_stay(weights: str, output_dir: str | Path) -> None:
    """Checks that `--overwrite` does not delete the weights to start from.

    Raises:
        ConfigError: they are among what it deletes.
    """
    path = Path(weights)
    within = path.exists() and path.resolve().parent == Path(output_dir).resolve()
    if within and _LEFT.fullmatch(path.name):
        raise ConfigError(
            f"MODEL.WEIGHTS {weights} lies in OUTPUT_DIR, and --overwrite deletes what a run left"
            " there; move it, or give another OUTPUT_DIR"
        )


@contextmanager
def locked(output_dir: str | Path) -> Iterator[None]:
    """Holds the folder, which is made if need be; it is free again when the process ends.

    Raises:
        ConfigError: another run holds it.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    _check_links(folder)
    with open(folder / _LOCK, "a+", encoding="utf-8") as file:
        try:
            # Not flock: the loader's workers would hold it too, and longer.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ConfigError(
                f"OUTPUT_DIR {folder} is in use by another run (process {holder}); wait for its"
                " end, stop it, or give another OUTPUT_DIR"
            ) from None
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s): keep other runs out of it", folder, error)
        file.truncate(0)
        file.write(f"{os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield


def check_space(output_dir: str | Path, model: nn.Module, optimizer: str, averaged: bool) -> None:
    """Checks that two checkpoints fit on the disk.

    Args:
        output_dir: OUTPUT_DIR, which need not be there yet.
        model: that is trained.
        optimizer: SOLVER.OPTIMIZER.
        averaged: averaged weights are saved too.

    Raises:
        ConfigError: how much is free, and how much is needed.
    """
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    needed = _SAVED_AT_ONCE * weights * (1 + _COPIES[optimizer] + averaged)
    folder = Path(output_dir).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ConfigError(
            f"OUTPUT_DIR {output_dir} has {free / 1e6:,.0f} MB free, and two checkpoints of this"
            f" model take {needed / 1e6:,.0f} MB; make room, or set OUTPUT_DIR to another disk"
        )


def _check_links(folder: Path) -> None:
    """A run writes into its own folder: not to where a link of a stranger's folder leads."""
    for path in sorted(folder.iterdir()):
        is_own = _LEFT.fullmatch(path.name) or _LOG.fullmatch(path.name)
        if is_own and path.is_symlink():
            raise ConfigError(
                f"OUTPUT_DIR {folder}: {path.name} is a link to {os.readlink(path)}, and a run"
                " writes to files of that name; put the file itself there, or remove the link"
            )


def _check_resumable(folder: Path) -> None:
    # A run that was killed before it tagged its first checkpoint can go on with it.
    if not has_checkpoint(folder):
        runs = [str(path.parent) for path in folder.parent.glob(f"*/{LAST}")]
        raise ConfigError(
            f"--resume: OUTPUT_DIR {folder} holds no {LAST}, so there is no run to go on with;"
            f" leave --resume out to start one.{nearest(str(folder), runs)}"
        )
