"""Two ranks train every architecture, backbone and head as one, without a search for unused parts.

A rank whose images have no objects must still give a gradient to every parameter: otherwise the
ranks wait for each other forever.
"""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from detectron2.engine import create_ddp_model
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

import project.modeling  # noqa: F401
from model_cases import CASES, make_input, tiny_config
from project.engine.launch import launch

TWO = Namespace(num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto")
# Each rank has another size and another number of objects.
BATCHES = [
    [make_input(48, 56, seed=1), make_input(40, 48, seed=2)],
    [make_input(40, 33, objects=0, seed=3), make_input(33, 40, objects=0, seed=4)],
]


def gradients(call: nn.Module, model: nn.Module, rank: int) -> Tensor:
    """All gradients of one step in one vector; a missing one is NaN.

    Args:
        call: computes the losses: the model, or the model in what joins the ranks.
        model: whose parameters they are.
        rank: seeds the choice of proposals, so that both calls choose the same.
    """
    model.zero_grad(set_to_none=True)
    torch.manual_seed(rank)
    with EventStorage():
        sum(call(BATCHES[rank]).values()).backward()
    return torch.cat(
        [
            torch.full_like(p, torch.nan).flatten() if p.grad is None else p.grad.flatten()
            for p in model.parameters()
        ]
    )


def step(name: str, rank: int) -> dict[str, float]:
    """One step of a case on this rank, alone and with the other; see the test for the numbers."""
    torch.manual_seed(0)
    model = build_model(tiny_config(*CASES[name])).train()
    alone = gradients(model, model, rank)
    missing = alone.isnan().sum()
    dist.all_reduce(missing)
    if missing:
        return {"missing": int(missing)}
    of_both = [torch.empty_like(alone) for _ in range(2)]
    dist.all_gather(of_both, alone)
    both = create_ddp_model(model, broadcast_buffers=False, device_ids=None)
    joined = gradients(both, model, rank)
    others = [torch.empty_like(joined) for _ in range(2)]
    dist.all_gather(others, joined)
    scale = float(torch.stack(of_both).abs().max())
    return {
        "missing": 0,
        "apart": float((of_both[0] - of_both[1]).abs().max()) / scale,
        "ranks": float((others[0] - others[1]).abs().max()),
        "mean": float((joined - (of_both[0] + of_both[1]) / 2).abs().max()) / scale,
    }


def work(folder: Path) -> None:
    rank = dist.get_rank()
    torch.set_num_threads(1)
    found = {name: step(name, rank) for name in CASES}
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
    assert numbers["missing"] == 0, "parameters without a gradient on one of the ranks"
    assert numbers["apart"] > 0.01, "ranks that agree anyway prove nothing"
    assert numbers["ranks"] == 0
    assert numbers["mean"] < 1e-5
