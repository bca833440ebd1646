"""tools/report.py writes the report of a finished run again."""

import json
import shutil

import pytest

from project.engine.evaluate import evaluate
from project.engine.setup import prepare_config
from project.errors import UserError
from project.evaluation.results import write_results
from project.inference.predictor import Predictor
from tool_runner import TINY, load_tool


@pytest.fixture
def run_dir(trained, tmp_path):
    """A copy of the run's folder, with its results."""
    folder = tmp_path / "moved"
    shutil.copytree(trained.run_dir, folder)
    cfg = prepare_config(TINY, trained.spec, ["MODEL.WEIGHTS", str(trained.weights)])
    evaluations = evaluate(cfg, Predictor(cfg).model)
    weights = {"path": "gone/model_final.pth", "sha256": "00", "iteration": 49}
    datasets = {name: evaluation.results for name, evaluation in evaluations.items()}
    results = {"config": "c.yaml", "weights": weights, "backend": "b", "datasets": datasets}
    write_results(results, folder / "results.json")
    return folder


def report(run_dir, *words: str) -> str:
    assert load_tool("tools/report.py").main([str(run_dir), *words]) == 0
    return (run_dir / "report.html").read_text(encoding="utf-8")


def test_report_with_pictures_and_curves(run_dir, capsys):
    text = report(run_dir, "--images", "1")
    # Input, and truth, prediction and difference of three tasks, of three images.
    assert text.count("<img") == 3 * 10
    assert text.count('class="plot"') == 2, "loss and learning rate"
    scores = json.loads((run_dir / "results.json").read_text())["datasets"]
    (found,) = scores.values()
    assert f"{found['panoptic_seg']['PQ']:.1f}" in text
    assert str(run_dir / "report.html") in capsys.readouterr().out


def test_report_without_pictures_needs_neither_weights_nor_data(run_dir):
    for name in ("model_final.pth", "config.yaml", "metrics.json"):
        (run_dir / name).unlink()
    text = report(run_dir, "--images", "0")
    assert "<img" not in text and 'class="plot"' not in text


def test_missing_parts_are_named(run_dir, tmp_path):
    (run_dir / "model_final.pth").unlink()
    with pytest.raises(UserError, match=r"gone/model_final\.pth"):
        report(run_dir)
    with pytest.raises(UserError, match=r"results\.json"):
        report(tmp_path)
