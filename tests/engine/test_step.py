"""One training step against plain torch, and the number format that it runs in."""

import re
import time

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from project.config import load_config
from project.engine.checkpoint import Checkpointer
from project.engine.loader import batch_size
from project.engine.step import TrainStep
from project.errors import ConfigError
from project.modeling.precision import amp_dtype, describe_arithmetic


class Probe(nn.Module):
    """Its loss is the sum of a linear layer; remembers the layer's number format."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, data: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.linear(data)
        self.dtype = out.dtype
        return {"loss": out.float().square().sum(), "other": out.float().sum()}


def make_step(
    model: nn.Module, data: torch.Tensor, dtype: torch.dtype | None, clip: float
) -> TrainStep:
    return TrainStep(
        model,
        [data],
        torch.optim.SGD(model.parameters(), lr=0.1),
        device="cpu",
        dtype=dtype,
        clip=lambda parameters: nn.utils.clip_grad_norm_(parameters, clip),
    )


def run(step: TrainStep) -> None:
    with EventStorage():
        step.iter = 0
        step.run_step()


def step_of(model: nn.Module, data: torch.Tensor, dtype: torch.dtype | None, clip: float) -> None:
    run(make_step(model, data, dtype, clip))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_forward_runs_in_the_asked_format(dtype):
    model = Probe()
    step_of(model, torch.randn(3, 4), dtype, clip=1e9)
    assert model.dtype == (dtype or torch.float32)
    assert model.linear.weight.dtype == torch.float32


def test_step_equals_plain_torch_with_clipping():
    torch.manual_seed(0)
    model, plain, data = Probe(), Probe(), torch.randn(3, 4)
    plain.load_state_dict(model.state_dict())
    step_of(model, data, None, clip=0.5)
    sum(plain(data).values()).backward()
    norm = nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
    assert norm > 0.5, "the case must clip"
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


def test_fp16_needs_a_gpu():
    amp = ["SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.DTYPE", "fp16", "MODEL.DEVICE", "cpu"]
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        amp_dtype(load_config(None, amp))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["SOLVER.AMP.DTYPE", "fp16"], "float16 mixed precision"),
        (["SOLVER.AMP.ENABLED", "False"], "float32"),
        (["MODEL.CHANNELS_LAST", "True", "SOLVER.AMP.DTYPE", "bf16"], "bfloat16 .*, channels_last"),
        (["EXACT", "True"], "float32, as EXACT asks$"),
        (["EXACT", "True", "SOLVER.AMP.DTYPE", "fp16"], "; SOLVER.AMP.DTYPE has no part in it"),
    ],
)
def test_how_numbers_are_computed_is_told(words, expected):
    config = ["MODEL.DEVICE", "cuda", "MODEL.CHANNELS_LAST", "False", *words]
    assert re.search(expected, describe_arithmetic(load_config(None, config)))


class Batched(nn.Module):
    """Losses are means over a batch, as of heads; no batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2).double()

    def forward(self, data: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        out = self.linear(torch.stack(data))
        return {"loss": out.square().mean(), "other": out.abs().mean()}


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_accumulated_gradients_are_those_of_the_batch(parts):
    torch.manual_seed(0)
    whole, cut = Batched(), Batched()
    cut.load_state_dict(whole.state_dict())
    batch = list(torch.randn(6, 4).double())
    written = {}
    for model, number in ((whole, 1), (cut, parts)):
        step = TrainStep(
            model,
            [batch],
            torch.optim.SGD(model.parameters(), lr=0.1),
            device="cpu",
            dtype=None,
            clip=lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.1),
            parts=number,
        )
        with EventStorage() as storage:
            step.iter = 0
            step.run_step()
            written[number] = {k: v.latest() for k, v in storage.histories().items()}
    assert written[1]["total_loss"] == pytest.approx(written[parts]["total_loss"], abs=1e-9)
    for expected, found in zip(whole.parameters(), cut.parameters()):
        assert expected.grad.norm() > 0.01
        torch.testing.assert_close(found.grad, expected.grad, atol=1e-12, rtol=0)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_ranks_must_share_the_parts_evenly(monkeypatch):
    words = ["SOLVER.IMS_PER_BATCH", "8", "SOLVER.ACCUMULATE", "4"]
    assert batch_size(load_config(None, words)) == 8
    monkeypatch.setattr("project.engine.loader.comm.get_world_size", lambda: 4)
    with pytest.raises(ConfigError, match="ACCUMULATE is 4, but each of 4 ranks has 2 images"):
        batch_size(load_config(None, words))


def test_the_scale_of_half_precision_goes_on(tmp_path):
    """As it would on a GPU: a step that overflows halves the scale, which a checkpoint keeps."""
    first, second = (make_step(Probe(), torch.ones(3, 4), torch.float16, 1e9) for _ in range(2))
    assert first.scaler.get_scale() == second.scaler.get_scale() == 65536
    before = first.model.linear.weight.detach().clone()
    run(first)
    assert torch.equal(first.model.linear.weight, before), "the case must overflow"
    Checkpointer(first.model, str(tmp_path), trainer=first).save("model_0000000", iteration=0)
    Checkpointer(second.model, str(tmp_path), trainer=second).resume_or_load("", resume=True)
    assert first.scaler.get_scale() == second.scaler.get_scale() == 32768


def test_the_time_of_waiting_for_batches_is_kept():
    """Three batches that take 20 ms each to come; what the step itself takes does not count."""

    class Late:
        def __iter__(self):
            while True:
                time.sleep(0.02)
                yield torch.randn(3, 4)

    model = Probe()
    step = make_step(model, torch.randn(3, 4), None, clip=1e9)
    step.reset_data_loader(Late)
    step.after_backward = lambda: time.sleep(0.2)
    with EventStorage():
        for step.iter in range(3):
            step.run_step()
    assert 0.06 <= step.waiting_seconds < 0.5


def test_how_an_optimizer_computes_is_not_taken_up():
    """It is the config's: see `project.engine.optim`."""
    steps = []
    for fused in (True, False):
        model = Probe()
        step = make_step(model, torch.randn(3, 4), None, clip=1.0)
        step.optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, fused=fused)
        run(step)
        steps.append(step)
    written, taken_up = steps
    taken_up.load_state_dict(written.state_dict())
    assert written.optimizer.param_groups[0]["fused"]
    assert not taken_up.optimizer.param_groups[0]["fused"]
