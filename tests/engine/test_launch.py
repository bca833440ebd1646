"""Ranks meet through the backend of their device, and a mistake of one ends all, told once."""

import os
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from project.engine.launch import launch
from project.errors import ConfigError, DatasetError
from tool_runner import REPOSITORY, run_process

TWO = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def note_rank(folder: Path) -> None:
    rank = dist.get_rank() if dist.is_initialized() else "alone"
    backend = dist.get_backend() if dist.is_initialized() else ""
    (folder / f"{rank}").write_text(backend)


def fail_on_rank_one() -> None:
    if dist.get_rank() == 1:
        raise DatasetError("d.yaml: no such image")
    dist.barrier()


def break_down() -> None:
    raise ZeroDivisionError("our own mistake")


def pretend_gpus(monkeypatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def noted(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_one_rank_needs_no_process(tmp_path):
    launch(note_rank, Namespace(**{**TWO, "num_gpus": 1}), (tmp_path,), device="cpu")
    assert noted(tmp_path) == {"alone": ""}


def test_cpu_ranks_use_gloo_even_where_there_are_gpus(tmp_path, monkeypatch):
    # Ranks are new processes, which the pretence does not reach, but what starts them is here.
    pretend_gpus(monkeypatch, 1)
    launch(note_rank, Namespace(**TWO), (tmp_path,), device="cpu")
    assert noted(tmp_path) == {"0": "gloo", "1": "gloo"}


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_backend_follows_the_device_under_torchrun(tmp_path, monkeypatch, device, backend):
    pretend_gpus(monkeypatch, 1)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(dist, "init_process_group", lambda name, **_: chosen.append(name))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr("detectron2.utils.comm.create_local_process_group", chosen.append)
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    launch(note_rank, Namespace(**TWO), (tmp_path,), device=device)
    assert [c for c in chosen if isinstance(c, str)] == [backend]
    assert noted(tmp_path) == {"alone": ""}


A_RANK_THAT_TALKS = """
import os, sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import torch
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel
from project.engine.launch import launch


def talking() -> int:
    tasks = Path("/proc/self/task").iterdir()
    return sum("gloo" in (task / "comm").read_text() for task in tasks)


def work() -> None:
    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    model(torch.ones(1, 2)).sum().backward()
    comm.gather(comm.get_local_rank())
    counts.append(talking())


counts = []
launch(work, Namespace(), (), device="cpu")
counts.append(talking())
Path(sys.argv[2], os.environ["RANK"]).write_text(" ".join(map(str, counts)))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_thread_of_a_group_outlives_it(tmp_path):
    # One that held a tensor while the interpreter ended aborted one run of thirty.
    script = tmp_path / "rank.py"
    script.write_text(A_RANK_THAT_TALKS)
    (tmp_path / "noted").mkdir()
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run_process(*torchrun, script, REPOSITORY, tmp_path / "noted")
    assert done.returncode == 0, done.stderr[-2000:]
    for counts in noted(tmp_path / "noted").values():
        during, after = map(int, counts.split())
        assert during > 0, "nothing talked, so nothing can be left"
        assert after == 0


def test_ranks_must_have_a_gpu_each(monkeypatch):
    pretend_gpus(monkeypatch, 1)
    with pytest.raises(ConfigError, match=r"--num-gpus 2.*this machine has 1.*MODEL\.DEVICE cpu"):
        launch(note_rank, Namespace(**TWO), (), device="cuda")
    with pytest.raises(ConfigError, match="one GPU for 2 ranks"):
        launch(note_rank, Namespace(**TWO), (), device="cuda:0")


def test_several_machines_need_an_address():
    with pytest.raises(ConfigError, match="--num-machines 3 needs --dist-url"):
        launch(note_rank, Namespace(**{**TWO, "num_machines": 3}), (), device="cpu")


def test_a_mistake_on_one_rank_is_raised_as_it_is():
    with pytest.raises(DatasetError, match=r"^d\.yaml: no such image$"):
        launch(fail_on_rank_one, Namespace(**TWO), (), device="cpu")


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(Exception, match="ZeroDivisionError: our own mistake"):
        launch(break_down, Namespace(**TWO), (), device="cpu")


def test_the_tool_ends_with_one_paragraph(tmp_path):
    script = tmp_path / "tool.py"
    script.write_text(
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
        "from argparse import Namespace\n"
        "from project.cli import run_tool\n"
        "from project.engine.launch import launch\n"
        "from project.errors import DatasetError\n"
        "def work(): raise DatasetError('d.yaml: no such image')\n"
        "def main():\n"
        f"    launch(work, Namespace(**{TWO!r}), (), device='cpu'); return 0\n"
        "if __name__ == '__main__': run_tool(main)\n"
    )
    done = run_process(
        script, PYTHONWARNINGS="ignore", OMP_NUM_THREADS=os.environ["OMP_NUM_THREADS"]
    )
    assert done.returncode == 1
    assert done.stderr.splitlines().count("error: d.yaml: no such image") == 1
    assert "Traceback" not in done.stderr and "ProcessRaised" not in done.stderr
