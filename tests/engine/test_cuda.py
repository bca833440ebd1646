"""A whole run on a GPU, where there is one."""

import json
import math

import pytest
import torch

from project.benchmark import train
from project.benchmark.train_photos import find_waits
from project.benchmark.trainers import one_step
from project.config import load_config
from project.engine.optim import build_optimizer
from tool_runner import TINY, load_tool

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")

MIXED = ["SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.DTYPE", "fp16", "MODEL.CHANNELS_LAST", "True"]


def test_half_precision_training_on_a_gpu(coco_spec, tmp_path):
    argv = ["--config-file", str(TINY), "--dataset", str(coco_spec), "MODEL.DEVICE", "cuda"]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    assert load_tool("tools/train_net.py").main([*argv, *MIXED, "OUTPUT_DIR", str(tmp_path)]) == 0
    assert torch.cuda.max_memory_allocated() > before, "nothing was computed on the GPU"
    assert "device cuda" in (tmp_path / "log.txt").read_text(encoding="utf-8")

    (found,) = json.loads((tmp_path / "results.json").read_text())["datasets"].values()
    for task, metric in (("segm", "AP"), ("sem_seg", "mIoU"), ("panoptic_seg", "PQ")):
        assert 0 <= found[task][metric] <= 100
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert len(losses) == 4 and all(map(math.isfinite, losses))


def test_a_step_waits_as_often_for_many_images_as_for_few(monkeypatch):
    """Detectron2's waits some 50 times and 25 times more for each image."""
    found = []
    for images in (2, 8):
        monkeypatch.setattr(train, "BATCH", images)
        trainer = train.make_ours("cuda", [train.make_batch(0)])
        one_step(trainer)
        found.append(find_waits(lambda trainer=trainer: one_step(trainer)))
    few, many = map(len, found)
    assert 0 < few <= 12, found[0]
    assert abs(many - few) <= 2, found  # suppression may need a round more


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_a_step_that_overflows_leaves_no_trace(name):
    """The very first, when the momentum is not there yet, and a later one."""
    words = ["SOLVER.OPTIMIZER", name, "SOLVER.AMP.DTYPE", "fp16", "MODEL.DEVICE", "cuda"]
    torch.cuda.empty_cache()
    junk = [torch.full((64, 64), torch.nan, device="cuda") for _ in range(200)]
    weights = {}
    for overflows in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Linear(64, 64, bias=False).cuda()
        optimizer = build_optimizer(load_config(None, words), model)
        scaler = torch.amp.GradScaler("cuda")
        junk.clear()  # its memory is what the optimizer gets
        for step in range(4):
            if step % 2 == 0 and not overflows:
                continue
            optimizer.zero_grad()
            scaler.scale(model.weight.square().sum()).backward()
            if step % 2 == 0:
                model.weight.grad[0, 0] = torch.inf
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        weights[overflows] = model.weight.detach().clone()
    torch.testing.assert_close(weights[True], weights[False])


@pytest.mark.parametrize("layout", ["True", "False"])
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_mixed_precision_has_the_losses_of_float32(layout, dtype):
    losses = {}
    for words in (
        ["SOLVER.AMP.ENABLED", False],
        ["SOLVER.AMP.DTYPE", dtype, "MODEL.CHANNELS_LAST", layout == "True"],
    ):
        trainer = train.make_ours("cuda", [train.make_batch(0)], words)
        torch.manual_seed(0)
        losses[words[1]] = one_step(trainer).latest()["total_loss"][0]
    assert losses[dtype] == pytest.approx(losses[False], rel=0.05)
