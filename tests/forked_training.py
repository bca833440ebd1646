"""Trainings in processes that begin with everything imported: made in milliseconds, killed at will.

A process of the kind `forkserver` is forked from one that has done nothing but import this module.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import faster_coco_eval  # noqa: F401
import pytest
import torch
from detectron2.utils import comm

import project.engine.launch
import project.engine.setup
import project.inference.examples
import project.inference.predictor
import project.report.page  # noqa: F401
from project.cli import run_tool
from project.engine.step import TrainStep
from project.engine.trainer import Trainer
from tool_runner import TINY, load_tool

Sabotage = Callable[[], object]


@dataclass(frozen=True)
class KillAt:
    """Kills the process when an iteration begins, and notes what is learnt from before."""

    notes: Path
    iteration: int = -1

    def __call__(self) -> None:
        """Called in the process that trains."""
        before_step, add_gradients = Trainer.before_step, TrainStep.add_gradients

        def watched_step(trainer: Trainer) -> None:
            if trainer.iter == self.iteration:
                os.kill(os.getpid(), signal.SIGKILL)
            before_step(trainer)

        def watched_gradients(step: TrainStep, data: list[Any]) -> dict[str, torch.Tensor]:
            losses = add_gradients(step, data)
            images, total = [item["image_id"] for item in data], float(sum(losses.values()))
            note = {"iteration": step.iter, "images": images, "loss": total}
            with open(self.notes.with_suffix(f".{comm.get_rank()}"), "a") as file:
                file.write(f"{json.dumps(note)}\n")
            return losses

        Trainer.before_step = watched_step
        TrainStep.add_gradients = watched_gradients


def start(
    spec: Path, output: Path, *words: str, ranks: int = 1, sabotage: Sabotage | None = None
) -> list[BaseProcess]:
    """Starts `tools/train_net.py` with the tiny config on each of `ranks` ranks.

    Args:
        spec: of the data set.
        output: OUTPUT_DIR; what the processes print goes to files beside it.
        words: flags, then KEY VALUE pairs.
        ranks: as torchrun starts them, where there are several.
        sabotage: called in each process before the training, and pickled for that.
    """
    flags = [word for word in words if word.startswith("--")]
    keys = [word for word in words if not word.startswith("--")]
    argv = ["--config-file", str(TINY), "--dataset", str(spec), *flags]
    argv += ["OUTPUT_DIR", str(output), *keys]
    output.parent.mkdir(parents=True, exist_ok=True)
    context = _context()
    port = _free_port()
    processes: list[BaseProcess] = []
    for rank in range(ranks):
        log = output.with_name(f"{output.name}.rank{rank}.txt")
        meeting = _torchrun(rank, ranks, port) if ranks > 1 else {}
        processes.append(context.Process(target=_train, args=(argv, log, meeting, sabotage)))
        processes[-1].start()
    return processes


def finish(processes: Sequence[BaseProcess], timeout: float = 300) -> list[int | None]:
    """Waits for the processes; their exit statuses."""
    for process in processes:
        process.join(timeout)
    return [process.exitcode for process in processes]


def train(spec: Path, output: Path, *words: str, ranks: int = 1) -> None:
    """A training that must come to its end."""
    found = finish(start(spec, output, *words, ranks=ranks))
    assert found == [0] * ranks, (found, printed(output))


def printed(output: Path) -> str:
    """The end of what the processes of a run printed."""
    logs = sorted(output.parent.glob(f"{output.name}.rank*.txt"))
    return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-3000:]}" for log in logs)


def leaves(path: Path) -> dict[str, Any]:
    """All tensors and plain values of a checkpoint by their place in it."""
    return dict(_leaves(torch.load(path, weights_only=True), ""))


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _leaves(inner, f"{place}/{key}")
    else:
        yield place, value


def equal(one: Any, other: Any) -> bool:
    """Bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and one == other


def assert_same(found: Path, expected: Path) -> None:
    """All that two checkpoints hold is the same, bit by bit, but for where their runs lie."""
    one, other = leaves(found), leaves(expected)
    for held in (one, other):
        held.pop("/description/config", None)
    assert one.keys() == other.keys() and len(one) > 10
    differing = [key for key, value in one.items() if not equal(value, other[key])]
    assert not differing, (found, differing[:5], len(differing))


@cache
def _context() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # Python 3.11 does not tell that process where modules are, and passes over what it misses.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONWARNINGS", "ignore")
        ensure_running()
    return context


def _train(argv: list[str], log: Path, meeting: dict[str, str], sabotage: Sabotage | None) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.environ.update(meeting)
    # For the workers of the loader, as in any training.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    if sabotage:
        sabotage()
    run_tool(partial(load_tool("tools/train_net.py").main, argv))


def _torchrun(rank: int, ranks: int, port: int) -> dict[str, str]:
    number, count = str(rank), str(ranks)
    return {
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": number,
        "LOCAL_RANK": number,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
