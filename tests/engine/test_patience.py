"""Scores that stand still lower the learning rate or end the training, also of a resumed run."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from project.config import load_config
from project.engine.optim import PlateauLR, build_optimizer, build_scheduler
from project.engine.patience import Patience
from project.engine.setup import prepare_config
from project.engine.trainer import Trainer
from project.errors import ConfigError
from tool_runner import TINY, load_tool


@pytest.mark.parametrize(
    ("values", "delta", "ends"),
    [
        ([1, 2, 3, 4], 0, []),
        ([3, 2, 1, 0], 0, [2]),
        ([3, 2, 1, 0, 0], 0, [2, 4]),
        ([1, 1.5, 1.4, 2.6], 0.5, [2]),
        ([None, None, 1, 2], 0, [1]),
        ([5, None, 6, 5, None], 0, [4]),
    ],
)
def test_patience(values, delta, ends):
    """Of two: the second value in a row that is no rise ends it, and it starts anew."""
    patience = Patience(2, delta)
    found = []
    for index, value in enumerate(values):
        other = Patience(2, delta)
        other.load_state_dict(patience.state_dict())
        ended = patience.ends(value)
        assert other.ends(value) == ended and other.state_dict() == patience.state_dict()
        found += [index] * ended
    assert found == ends


def test_lowered_rates():
    words = ["SOLVER.LR_SCHEDULER_NAME", "WarmupReduceOnPlateau", "SOLVER.MAX_ITER", "10"]
    words += ["SOLVER.BASE_LR", "0.4", "SOLVER.WARMUP_ITERS", "2", "SOLVER.WARMUP_FACTOR", "0.5"]
    cfg = load_config(None, words)
    optimizer = build_optimizer(cfg, nn.Linear(2, 2))
    scheduler = build_scheduler(cfg, optimizer)
    assert isinstance(scheduler, PlateauLR)
    found = []
    for i in range(10):
        found.append(optimizer.param_groups[0]["lr"])
        if i in (4, 6):
            scheduler.lower(0.1, lowest=0.05)
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx([0.2, 0.3, *[0.4] * 3, *[0.04] * 2, *[0.02] * 3])
    again = build_scheduler(cfg, build_optimizer(cfg, nn.Linear(2, 2)))
    again.load_state_dict(scheduler.state_dict())
    assert again.scale == 0.05


WORDS = ["SOLVER.MAX_ITER", "6", "SOLVER.CHECKPOINT_PERIOD", "1", "TEST.EVAL_PERIOD", "1"]
WORDS += ["SOLVER.EARLY_STOPPING.PATIENCE", "2", "TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"]
# What the evaluations after each iteration give: the rise ends with the second.
SCORES = [10.0, 30.0, 20.0, 25.0, 90.0]


def given_scores(monkeypatch, trainer: Trainer) -> None:
    def evaluate() -> dict:
        iteration = min(trainer.iter, len(SCORES) - 1)
        return {"val": {"images": 1, "segm": {"AP": SCORES[iteration]}, "notes": []}}

    monkeypatch.setattr(trainer.hook_of_scores, "evaluate", evaluate)


@pytest.mark.parametrize("interrupted", [False, True])
def test_early_stopping(coco_spec, tmp_path, monkeypatch, interrupted):
    words = [*WORDS, "SOLVER.EARLY_STOPPING.METRIC", "segm/AP", "TEST.BEST_METRIC", "segm/AP"]
    cfg = prepare_config(TINY, coco_spec, [*words, "OUTPUT_DIR", str(tmp_path)], purpose="train")

    def run(resume: bool) -> Trainer:
        trainer = Trainer(cfg)
        (hook,) = (h for h in trainer._hooks if type(h).__name__ == "EvaluationHook")
        trainer.hook_of_scores = hook
        given_scores(monkeypatch, trainer)
        trainer.resume_or_load(resume)
        trainer.train()
        return trainer

    trainer = run(resume=False)
    if interrupted:
        # As a kill after iteration 2 leaves it: the checkpoint does not know its evaluation.
        for later in (3, 4, 5):
            (tmp_path / f"model_{later:07}.pth").unlink(missing_ok=True)
        (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
        trainer = run(resume=True)
    assert trainer.max_iter == 4 == trainer.iter
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert final["iteration"] == 3
    # Scored once more when it has ended: SCORES has its highest value there.
    assert best["best"] == {"metric": "segm/AP", "value": 90.0, "iteration": 3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["TEST.EVAL_PERIOD", "0"], "EARLY_STOPPING waits for scores.*EVAL_PERIOD 0"),
        (["SOLVER.EARLY_STOPPING.METRIC", "segm/APP"], "Did you mean segm/AP"),
        (["SOLVER.EARLY_STOPPING.METRIC", "validation/total_loss"], "VALIDATION_LOSS_IMAGES 0"),
        (["SOLVER.EARLY_STOPPING.MIN_DELTA", "-1"], "MIN_DELTA of at least 0"),
        (["SOLVER.ACCUMULATE", "3"], "must divide SOLVER.IMS_PER_BATCH, which is 2"),
    ],
)
def test_mistakes(coco_spec, words, message):
    with pytest.raises(ConfigError, match=message):
        prepare_config(TINY, coco_spec, [*WORDS, *words], purpose="train")


def trained(spec: Path, output: Path, *words: str) -> dict[str, torch.Tensor]:
    base = ["--config-file", str(TINY), "--dataset", str(spec), "OUTPUT_DIR", str(output)]
    base += ["TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0", "TEST.EVAL_PERIOD", "2"]
    assert load_tool("tools/train_net.py").main([*base, *words]) == 0
    return torch.load(output / "model_final.pth", weights_only=True)["model"]


def test_validation_losses_leave_no_trace(coco_spec, tmp_path):
    """The same weights, statistics included, with and without."""
    without = trained(coco_spec, tmp_path / "without")
    words = ["TEST.VALIDATION_LOSS_IMAGES", "3"]
    within = trained(coco_spec, tmp_path / "with", *words)
    assert all(torch.equal(without[key], within[key]) for key in without)
    lines = [json.loads(line) for line in (tmp_path / "with/metrics.json").read_text().splitlines()]
    found = [line for line in lines if "validation/total_loss" in line]
    parts = [key for key in found[-1] if key.startswith("validation/loss")]
    assert len(parts) == 7
    total = sum(found[-1][key] for key in parts)
    assert found[-1]["validation/total_loss"] == pytest.approx(total, rel=1e-6)
    assert "validation" in (tmp_path / "with" / "report.html").read_text()
