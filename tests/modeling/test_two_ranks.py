"""Two ranks train every architecture, backbone and head as one, without a search for unused parts.

A rank whose images have no objects must still give a gradient to every parameter: otherwise the
ranks wait for each other forever.
"""

import json
import signal
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from detectron2.engine import create_ddp_model
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import project.modeling  # noqa: F401
from model_cases import CASES, make_input, tiny_config
from project.engine.launch import launch

TWO = Namespace(num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto")
# Each rank has other sizes, and one of them no objects.
BATCHES = [
    [make_input(48, 56, seed=1), make_input(40, 48, seed=2)],
    [make_input(40, 33, objects=0, seed=3), make_input(33, 40, objects=0, seed=4)],
]
PATIENCE = 120  # seconds of one case, for ranks that wait for each other


def gradients_of_step(name: str, rank: int) -> tuple[Tensor, Tensor]:
    """One step of a case: this rank's own gradients, and what both ranks made of them."""
    torch.manual_seed(0)
    model = build_model(tiny_config(*CASES[name])).train()
    both = create_ddp_model(model, broadcast_buffers=False, device_ids=None)
    own: dict[nn.Parameter, Tensor] = {}

    def keep_own(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        for p, gradient in zip(bucket.parameters(), bucket.gradients()):
            # Its shape is that of the parameter, its numbers lie in the order of the memory.
            own[p] = gradient.flatten().clone().as_strided(p.shape, p.stride())
        return allreduce_hook(state, bucket)

    both.register_comm_hook(None, keep_own)
    torch.manual_seed(rank)
    with EventStorage():
        sum(both(BATCHES[rank]).values()).backward()
    parameters = list(model.parameters())
    assert len(own) == len(parameters)
    return (
        torch.cat([own[p].flatten() for p in parameters]),
        torch.cat([p.grad.flatten() for p in parameters]),
    )


def compare(name: str, rank: int) -> dict[str, float]:
    """How far gradients are from each other; see the test for the numbers."""
    own, joined = gradients_of_step(name, rank)
    owns = [torch.empty_like(own) for _ in BATCHES]
    dist.all_gather(owns, own)
    joineds = [torch.empty_like(joined) for _ in BATCHES]
    dist.all_gather(joineds, joined)
    scale = float(torch.stack(owns).abs().max())
    return {
        "apart": float((owns[0] - owns[1]).abs().max()) / scale,
        "ranks": float((joineds[0] - joineds[1]).abs().max()),
        "mean": float((joined - (owns[0] + owns[1]) / 2).abs().max()) / scale,
    }


def work(folder: Path) -> None:
    rank = dist.get_rank()
    torch.set_num_threads(1)
    found = {}
    for name in CASES:
        print(f"rank {rank}: {name}", flush=True)  # the last one is to blame for a wait
        signal.alarm(PATIENCE)
        found[name] = compare(name, rank)
    signal.alarm(0)
    (folder / f"{rank}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, float]]:
    """Case -> what the ranks found; both processes are started once for all cases."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        launch(work, TWO, (folder,), device="cpu")
    return json.loads((folder / "0.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_step_of_two_ranks(found, name):
    numbers = found[name]
    assert numbers["apart"] > 0.01, "ranks that agree anyway prove nothing"
    assert numbers["ranks"] == 0
    assert numbers["mean"] < 1e-5
