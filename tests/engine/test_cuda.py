"""A whole run on a GPU, where there is one."""

import json
import math

import pytest
import torch

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
