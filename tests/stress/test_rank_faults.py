"""A rank that dies, raises, is stopped or stands still ends all others, and is named."""

import os
import re
import signal
import time
from argparse import Namespace
from pathlib import Path

import pytest

from faulty_ranks import FAULTS, WORKERS, work
from project.engine.launch import launch
from project.engine.watch import PATIENCE
from project.errors import RankError
from tool_runner import REPOSITORY, run_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")

TWO = Namespace(num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto")
SHORT = 3.0  # seconds of patience
LONG_WORK = 2 * SHORT  # seconds in which one rank waits for the other, which is no fault
DEAD, HANGING = 30, 60  # seconds until nobody is left
SAYS = {
    "exits": (RankError, r"rank 1 .*ended by itself with status 7"),
    "killed": (RankError, r"rank 1 .*was ended by SIGKILL"),
    "raises": (RuntimeError, r"rank 1 .*failed:[\s\S]*ZeroDivisionError: our own mistake"),
    "stopped": (RankError, r"rank 1 .*is stopped, by SIGSTOP"),
    "sleeps": (RankError, r"rank 1 .*stands still at .*faulty_ranks\.py:\d+ \(_sleep\)"),
}
AGAIN = range(4)  # times five faults
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = """
import sys
from argparse import Namespace
from pathlib import Path

sys.path[:0] = sys.argv[1:3]
from faulty_ranks import work
from project.engine.launch import launch

arguments, patience = (Path(sys.argv[3]), sys.argv[4]), float(sys.argv[5])
launch(work, Namespace(), arguments, device="cpu", patience=patience)
"""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def left(folder: Path) -> list[int]:
    """Those of the processes of a run that are still there, but for what nobody has waited for."""
    found = []
    for process in (int(path.name) for path in folder.iterdir() if path.name.isdigit()):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(process)
    return found


def seconds_since_fault(folder: Path) -> float:
    return time.time() - (folder / "fault").stat().st_mtime


def assert_none_is_left(folder: Path, limit: float) -> float:
    """All processes were seen, and end within the time; how long it took."""
    assert len([path for path in folder.iterdir() if path.name.isdigit()]) == 2 * (1 + WORKERS)
    while found := left(folder):
        assert seconds_since_fault(folder) < limit, found
        time.sleep(0.1)
    took = seconds_since_fault(folder)
    assert took < limit
    return took


def end_by(folder: Path, fault: str, patience: float) -> float:
    """Launches two ranks; how long after the fault nobody was left."""
    folder.mkdir()
    error, message = SAYS[fault]
    with pytest.raises(error, match=message):
        launch(work, TWO, (folder, fault, LONG_WORK), device="cpu", patience=patience)
    return assert_none_is_left(folder, HANGING if fault in ("stopped", "sleeps") else DEAD)


@pytest.mark.parametrize("fault", ["killed", "stopped", "sleeps"])
def test_a_fault_of_one_ends_all(tmp_path, fault):
    end_by(tmp_path / fault, fault, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_ends_all_again_and_again(tmp_path, fault):
    """With the patience that runs have."""
    times = [end_by(tmp_path / str(number), fault, PATIENCE) for number in AGAIN]
    print(f"{fault}: nobody left after {min(times):.1f} to {max(times):.1f} s, {len(times)} times")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_ends_all_under_torchrun(tmp_path, fault):
    """Which itself names ranks that die; we find those that stand still."""
    (tmp_path / "script.py").write_text(SCRIPT)
    folder = tmp_path / fault
    folder.mkdir()
    words = [*TORCHRUN, tmp_path / "script.py", REPOSITORY, REPOSITORY / "tests", folder, fault]
    done = run_process(*words, str(SHORT))
    assert done.returncode == 1
    took = assert_none_is_left(folder, HANGING)
    print(f"{fault} under torchrun: {took:.1f} s")
    found = SAYS[fault][1] if fault in ("stopped", "sleeps") else r"(?m)rank +: 1 \("
    assert re.search(found, done.stderr), done.stderr[-3000:]


@pytest.mark.slow
def test_ranks_end_with_the_process_that_started_them(tmp_path):
    """Killed, it can tell them nothing."""
    folder = tmp_path / "run"
    folder.mkdir()
    launcher = os.fork()
    if launcher == 0:
        launch(work, TWO, (folder, "sleeps"), device="cpu", patience=SHORT)
        os._exit(0)
    while len(list(folder.iterdir())) < 2 * (1 + WORKERS) + 1:
        time.sleep(0.1)
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    assert_none_is_left(folder, DEAD)
