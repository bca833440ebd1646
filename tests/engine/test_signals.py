"""A signal ends a training after its iteration, with a checkpoint; resumed, nothing has changed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import factories
from project.engine.signals import EXIT_STATUS, SignalCatcher
from project.engine.step import TrainStep
from tool_runner import REPOSITORY, TINY, load_tool

QUICK = ["TEST.EVAL_PERIOD", "0", "TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"]


def argv(spec: Path, output: Path, *flags: str) -> list[str]:
    known = ["--config-file", str(TINY), "--dataset", str(spec), *flags]
    return [*known, "OUTPUT_DIR", str(output), *QUICK, "SOLVER.CHECKPOINT_PERIOD", "100"]


def run(spec: Path, output: Path, *flags: str) -> int:
    return load_tool("tools/train_net.py").main(argv(spec, output, *flags))


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "model_final.pth", weights_only=True)["model"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch, capsys, number):
    spec = factories.make_coco(tmp_path, num_images=4)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert run(spec, whole) == 0
    step, steps = TrainStep.run_step, []

    def told_in_the_second(self):
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), number)
        step(self)

    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    monkeypatch.setattr(TrainStep, "run_step", told_in_the_second)
    assert run(spec, parted) == EXIT_STATUS
    said = capsys.readouterr().err
    assert f"{number.name}: stopped after 2 of 4 iterations" in said and "--resume" in said
    assert len(steps) == 2
    assert (parted / "last_checkpoint").read_text() == "model_0000001.pth"
    assert not (parted / "model_final.pth").exists() and not (parted / "results.json").exists()
    assert [
        signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    ] == handlers

    monkeypatch.setattr(TrainStep, "run_step", step)
    assert run(spec, parted, "--resume") == 0
    expected, found = weights(whole), weights(parted)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_signal_in_the_last_iteration_changes_nothing(tmp_path, coco_spec, monkeypatch):
    step = TrainStep.run_step

    def told_always(self):
        os.kill(os.getpid(), signal.SIGTERM)
        step(self)

    monkeypatch.setattr(TrainStep, "run_step", told_always)
    output = tmp_path / "run"
    assert run(coco_spec, output, "SOLVER.MAX_ITER", "1") == 0
    assert (output / "results.json").is_file()


def test_two_ranks_stop_together(tmp_path):
    """One process is told; the ranks are told by it, and none is left."""
    spec = factories.make_coco(tmp_path, num_images=4)
    words = [*argv(spec, tmp_path / "run", "--num-gpus", "2"), "SOLVER.MAX_ITER", "100000"]
    process = subprocess.Popen(
        [sys.executable, "tools/train_net.py", *words, "SOLVER.CHECKPOINTS_KEPT", "1"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(tmp_path / "run" / "last_checkpoint")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    finally:
        left = left_after(process.pid, seconds=10)
        if left:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == EXIT_STATUS, said[-2000:]
    assert "SIGTERM: stopped after" in said
    assert not left
    last = (tmp_path / "run" / "last_checkpoint").read_text()
    stopped_at = int(said.split("stopped after ")[1].split()[0])
    assert last == f"model_{stopped_at - 1:07}.pth"


def test_second_signal_ends_at_once():
    script = (
        "import os, signal, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from project.engine.signals import SignalCatcher\n"
        "catcher = SignalCatcher(); catcher.start()\n"
        "os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(catcher.received, flush=True)\n"
        "time.sleep(1.1); os.kill(os.getpid(), signal.SIGINT); print('still there')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, REPOSITORY], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(int(signal.SIGTERM))], done.stderr
    assert done.returncode == -signal.SIGINT


def test_workers_of_the_loader_hear_nothing_but_their_end():
    catcher = SignalCatcher(forward=lambda _: pytest.fail("a worker passes nothing on"))
    catcher.start()
    try:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
    finally:
        catcher.stop()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert catcher.received == 0


def wait_for(path: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} has not come"
        time.sleep(0.1)


def left_after(session: int, seconds: float) -> list[int]:
    """Processes that live on; Python's own tracker of resources ends a moment after the rest."""
    end = time.monotonic() + seconds
    while (left := processes_of(session)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def processes_of(session: int) -> list[int]:
    """Live processes of a session, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[3]) == session and after_name[0] != "Z":
            found.append(int(stat.parent.name))
    return found
