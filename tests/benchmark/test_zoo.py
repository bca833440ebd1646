"""The table of all small systems: rows from runs, what is reused, and one whole run."""

import json
from pathlib import Path

import pytest
import torch

import factories
from model_cases import CASES, make_input, tiny_config
from project.benchmark import zoo
from project.benchmark.zoo import Row
from project.errors import ConfigError
from tool_runner import REPOSITORY, TINY, load_tool

BLANK = Row("U-Net", "configs/a/a_digits.yaml", "abc")


def fabricate(folder: Path, task: str, **scores: float | None) -> Path:
    """A folder as a run leaves it; scores as `sem_seg_mIoU=61.0`."""
    folder.mkdir(parents=True)
    tasks: dict = {}
    for name, value in scores.items():
        key, metric = name.rsplit("_", 1)
        tasks[key] = {metric: value}
    cost = {"task": task, "parameters": 1_234_567, "gflops": 0.5, "latency_ms": 12.25}
    (folder / "results.json").write_text(json.dumps({"datasets": {"digits_val": tasks}}))
    (folder / "cost.json").write_text(json.dumps(cost))
    (folder / "log.txt").write_text("trained for 9.0 s\ntrained for 100.4 s, scored for 3.0 s\n")
    return folder


def test_row_of_a_run(tmp_path):
    folder = fabricate(tmp_path / "a", "panoptics", sem_seg_mIoU=61.26, segm_AP=49.94)
    row = zoo.make_row(BLANK, folder, cpu_seconds=130.2)
    assert row.scores == {"mIoU": 61.26, "AP": 49.94}
    assert row.missed == ("AP 49.9 is below 50",) and not row.is_good
    assert (row.train_seconds, row.cpu_seconds) == (100.4, 130.2)


@pytest.mark.parametrize(
    ("task", "scores", "good"),
    [
        ("semantics", {"sem_seg_mIoU": 60.0}, True),
        ("semantics", {"sem_seg_mIoU": 59.99}, False),
        ("semantics", {"sem_seg_mIoU": None}, False),
        ("semantics", {"sem_seg_mIoU": 70.0, "segm_AP": 1.0}, True),  # of regions, for comparison
        ("instances", {"segm_AP": 50.0, "sem_seg_mIoU": 1.0}, True),
        ("panoptics", {"segm_AP": 50.0, "sem_seg_mIoU": 1.0}, False),
    ],
)
def test_a_model_is_held_to_what_it_is_for(tmp_path, task, scores, good):
    folder = fabricate(tmp_path / "a", task, **scores)
    assert zoo.make_row(BLANK, folder, cpu_seconds=1.0).is_good == good


def test_table(tmp_path):
    from project.benchmark.zoo_table import markdown

    folder = fabricate(tmp_path / "a", "semantics", sem_seg_mIoU=59.0)
    rows = [
        zoo.make_row(BLANK, folder, cpu_seconds=130.2),
        Row("FCN", "configs/b/b_digits.yaml", "x", error="took longer than 5 s"),
    ]
    lines = markdown(rows).splitlines()
    assert lines[2] == (
        "| U-Net | `a/a_digits.yaml` | semantics | 59.0 * |  |  | 1.23 M | 0.500 | 100 s | 130 s"
        " | 12.2 ms |"
    )
    assert lines[3].startswith("| FCN | `b/b_digits.yaml` | failed: took longer than 5 s |")
    assert {line.count("|") for line in lines[:4]} == {12}
    assert "a_digits.yaml: mIoU 59.0 is below 60" in lines[-1]


def test_configs_are_found_by_a_part_of_their_path():
    (demo,) = zoo.find_configs([], "mask_unet_demo")
    assert demo == zoo.DEMO
    assert zoo.system_name(demo) == "Mask R-CNN and a U-Net head on one small encoder"
    small = set(zoo.find_configs([], ""))
    assert small == {*(REPOSITORY / "configs").rglob("*_digits.yaml"), zoo.DEMO}
    with pytest.raises(ConfigError, match=r"'nothing' is in none of these.*mask_unet_demo"):
        zoo.find_configs([], "nothing")
    with pytest.raises(ConfigError, match=r"Did you mean mask_unet_demo\.yaml"):
        zoo.find_configs([zoo.DEMO.with_name("mask_unet_dmo.yaml")], "")


def test_multiply_adds_are_those_that_fvcore_counts():
    """Of a U-Net, which has nothing but convolutions that cost."""
    from detectron2.modeling import build_model
    from detectron2.utils.analysis import FlopCountAnalysis

    from project.benchmark.cost import count_multiply_adds

    torch.manual_seed(0)
    model = build_model(tiny_config(*CASES["semantics"])).eval()
    batch = [make_input(64, 64)]
    with torch.no_grad():
        by_operator = FlopCountAnalysis(model, batch).by_operator()
        found = count_multiply_adds(model, batch)
    assert found > 1e6
    assert found == pytest.approx(by_operator["conv"], rel=1e-9)


def test_whole_path(tmp_path, capsys, monkeypatch):
    """Processes train, score and measure; then nothing is done twice, and a limit is kept."""
    spec = factories.make_coco(tmp_path / "data", num_images=2)
    config = tmp_path / "configs" / "tiny" / "tiny_digits.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"# Tiny model, for a test.\n_BASE_: {TINY}\nDATASETS: {{SPECS: [{spec}]}}\n")
    words = ["zoo", "--config-file", str(config), "--output", str(tmp_path / "zoo")]
    keys = ["SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "0", "TEST.REPORT_IMAGES", "0"]
    files = ["--json", str(tmp_path / "zoo.json"), "--markdown", str(tmp_path / "zoo.md")]
    main = load_tool("tools/benchmark.py").main
    assert main([*words, *files, *keys]) == 1, "it cannot have learnt anything"
    (row,) = json.loads((tmp_path / "zoo.json").read_text())["rows"]
    assert row["error"] == "" and row["task"] == "panoptics" and row["system"] == "Tiny model"
    assert set(row["scores"]) == {"mIoU", "AP", "PQ"}
    assert min(row[k] for k in ("parameters", "gflops", "latency_ms", "train_seconds")) > 0
    assert row["cpu_seconds"] > row["train_seconds"]
    assert "| Tiny model |" in (tmp_path / "zoo.md").read_text()

    monkeypatch.setattr(zoo, "run_one", pytest.fail)
    capsys.readouterr()
    assert main([*words, *keys]) == 1
    assert "| Tiny model |" in capsys.readouterr().out

    monkeypatch.undo()
    assert main([*words, "--time-limit", "1", "SEED", "8"]) == 1, "another seed is another row"
    assert "failed: took longer than 1 s" in capsys.readouterr().out
