"""Scores that stand still lower the learning rate or end the training, also of a resumed run."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import factories
from project.config import load_config
from project.engine.optim import PlateauLR, build_optimizer, build_scheduler
from project.engine.patience import Patience
from project.engine.setup import prepare_config
from project.engine.trainer import Trainer
from project.errors import ConfigError
from project.safe_yaml import read_yaml
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
# What the evaluations after 1, 2, ... iterations give: the rise ends with the second.
SCORES = {1: 10.0, 2: 30.0, 3: 20.0, 4: 25.0, 5: 5.0, 6: 90.0}


def given_scores(monkeypatch, trainer: Trainer) -> None:
    def evaluate() -> dict:
        score = SCORES[trainer.scheduler.last_epoch]
        return {"val": {"images": 1, "segm": {"AP": score}, "notes": []}}

    monkeypatch.setattr(trainer.hook_of_scores, "evaluate", evaluate)


def early_stopping(spec: Path, output: Path, monkeypatch, resume: bool, *words: str) -> Trainer:
    words = (*WORDS, "SOLVER.EARLY_STOPPING.METRIC", "segm/AP", "TEST.BEST_METRIC", *words)
    cfg = prepare_config(TINY, spec, [*words, "OUTPUT_DIR", str(output)], purpose="train")
    trainer = Trainer(cfg)
    (hook,) = (h for h in trainer._hooks if type(h).__name__ == "EvaluationHook")
    trainer.hook_of_scores = hook
    given_scores(monkeypatch, trainer)
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer


@pytest.mark.parametrize("interrupted", [None, 1, 2, 3])
def test_early_stopping(coco_spec, tmp_path, monkeypatch, interrupted):
    trainer = early_stopping(coco_spec, tmp_path, monkeypatch, False, "segm/AP")
    if interrupted:
        # As a kill after this iteration leaves it: the checkpoint does not know its evaluation.
        for later in range(interrupted + 1, 6):
            (tmp_path / f"model_{later:07}.pth").unlink(missing_ok=True)
        (tmp_path / "last_checkpoint").write_text(f"model_{interrupted:07}.pth")
        trainer = early_stopping(coco_spec, tmp_path, monkeypatch, True, "segm/AP")
    assert trainer.max_iter == 4
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    best = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert final["iteration"] == 3
    assert best["best"] == {"metric": "segm/AP", "value": 30.0, "iteration": 1}


def test_a_run_that_was_stopped_stays_so_until_it_is_given_more_patience(
    coco_spec, tmp_path, monkeypatch
):
    early_stopping(coco_spec, tmp_path, monkeypatch, False, "segm/AP")
    steps = []
    monkeypatch.setattr(Trainer, "run_step", lambda self: steps.append(self.iter))
    trainer = early_stopping(coco_spec, tmp_path, monkeypatch, True, "segm/AP")
    assert steps == [] and trainer.max_iter == 4
    # Two evaluations without a rise are known; the third of patience 3 follows iteration 4.
    more = ("segm/AP", "SOLVER.EARLY_STOPPING.PATIENCE", "3")
    trainer = early_stopping(coco_spec, tmp_path, monkeypatch, True, *more)
    assert steps == [4] and trainer.max_iter == 5


def test_a_run_that_goes_on_knows_its_validation_loss(coco_spec, tmp_path):
    """The evaluation behind the checkpoint is made up for, with the loss itself, and once."""
    words = [*WORDS, "SOLVER.EARLY_STOPPING.METRIC", "validation/total_loss"]
    words += ["TEST.VALIDATION_LOSS_IMAGES", "2", "SOLVER.EARLY_STOPPING.PATIENCE", "9"]
    cfg = prepare_config(TINY, coco_spec, [*words, "OUTPUT_DIR", str(tmp_path)], purpose="train")

    def run(resume: bool) -> list[dict]:
        trainer = Trainer(cfg)
        (hook,) = (h for h in trainer._hooks if type(h).__name__ == "EarlyStoppingHook")
        told = []
        inner = hook.patience.ends
        hook.patience.ends = lambda value: (told.append(value), inner(value))[1]
        trainer.resume_or_load(resume)
        trainer.train()
        return told

    whole = run(resume=False)
    assert len(whole) == 5 and None not in whole and len(set(whole)) == 5
    for later in (3, 4, 5):
        (tmp_path / f"model_{later:07}.pth").unlink()
    (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
    assert run(resume=True) == whole[2:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["TEST.EVAL_PERIOD", "0"], "EARLY_STOPPING waits for scores.*EVAL_PERIOD 0"),
        (["SOLVER.EARLY_STOPPING.METRIC", "segm/APP"], "Did you mean segm/AP"),
        (["SOLVER.EARLY_STOPPING.METRIC", "validation/total_loss"], "VALIDATION_LOSS_IMAGES 0"),
        (["SOLVER.EARLY_STOPPING.MIN_DELTA", "-1"], "MIN_DELTA of at least 0"),
        (["SOLVER.ACCUMULATE", "3"], "must divide SOLVER.IMS_PER_BATCH, which is 2"),
        (["SOLVER.AUTO_SCALE_LR.ENABLED", "True", "SOLVER.REFERENCE_WORLD_SIZE", "2"], "both"),
    ],
)
def test_mistakes(coco_spec, words, message):
    with pytest.raises(ConfigError, match=message):
        prepare_config(TINY, coco_spec, [*WORDS, *words], purpose="train")


def test_what_waits_for_scores_needs_images_to_score_on(tmp_path, registered):
    spec = factories.make_coco(tmp_path / "data")
    values = read_yaml(spec)
    del values["splits"]["val"]
    alone = spec.with_name("alone.yaml")
    alone.write_text(yaml.safe_dump({**values, "name": "alone"}))
    registered(alone)
    words = ["TEST.VALIDATION_LOSS_IMAGES", "5", *WORDS]
    expected = r"SOLVER\.EARLY_STOPPING and TEST\.VALIDATION_LOSS_IMAGES: there are no images"
    with pytest.raises(ConfigError, match=expected):
        prepare_config(TINY, alone, words, purpose="train")
    prepare_config(TINY, alone, [], purpose="train")


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
