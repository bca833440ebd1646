"""The trainer takes up a run: step, learning rate, momentum and average, not only the weights."""

import json
from pathlib import Path

import pytest
import torch

from tool_runner import TINY, load_tool

WORDS = [
    *("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.EMA.ENABLED", "True"),
    *("SOLVER.EMA.DECAY", "0.0", "TEST.EVAL_PERIOD", "0"),
]


def train(spec: Path, output: Path, *flags: str) -> None:
    words = ["--config-file", str(TINY), "--dataset", str(spec), *flags]
    argv = [*words, "OUTPUT_DIR", str(output), *WORDS]
    assert load_tool("tools/train_net.py").main(argv) == 0


def rates(output: Path) -> list[float]:
    lines = map(json.loads, (output / "metrics.json").read_text().splitlines())
    return [line["lr"] for line in lines if "total_loss" in line]


def momentum(path: Path) -> dict[int, torch.Tensor]:
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["trainer"]["_trainer"]["optimizer"]["state"]
    return {index: buffers["momentum_buffer"] for index, buffers in state.items()}


def test_a_run_is_taken_up_where_its_checkpoint_left_it(coco_spec, tmp_path):
    train(coco_spec, tmp_path)
    whole = rates(tmp_path)
    assert len(whole) == 4 and len(set(whole)) == 4
    before = momentum(tmp_path / "model_0000001.pth")
    assert max(m.abs().max() for m in before.values()) > 0

    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    (tmp_path / "metrics.json").unlink()
    train(coco_spec, tmp_path, "--resume")
    assert rates(tmp_path) == whole[2:]
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert final["average_count"] == 4
    assert final["iteration"] == 3
    assert final["classes"] == {"things": ["square", "disc"], "stuff": ["background"]}


def test_momentum_is_taken_up(coco_spec, tmp_path, monkeypatch):
    train(coco_spec, tmp_path)
    before = momentum(tmp_path / "model_0000001.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")

    from project.engine.trainer import Trainer

    seen = {}

    def stop(self: Trainer) -> None:
        seen.update(self._trainer.optimizer.state_dict()["state"])
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(coco_spec, tmp_path, "--resume")
    assert seen.keys() == before.keys()
    for index, buffer in before.items():
        assert torch.equal(seen[index]["momentum_buffer"], buffer)
