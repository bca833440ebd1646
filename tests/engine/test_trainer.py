"""The trainer takes up a run: step, learning rate, momentum and average, not only the weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.utils import comm

import factories
from project.data.labels import read_semantic
from project.data.register import dataset_info
from project.engine.checkpoint import Checkpointer
from project.engine.hooks import EvaluationHook
from project.engine.setup import prepare_config
from project.engine.trainer import Trainer
from project.errors import WeightsError
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


def test_loaders_are_ours_by_detectron2s_names_too(tmp_path, registered):
    """Detectron2's own would take a palette's colours for classes."""
    spec = factories.make_label_map(tmp_path / "data", encoding="palette")
    words = ["INPUT.RANDOM_FLIP", "none", "OUTPUT_DIR", str(tmp_path / "run")]
    words += ["MODEL.MASK_UNET.INSTANCES", "False", "DATALOADER.ASPECT_RATIO_GROUPING", "False"]
    cfg = prepare_config(TINY, spec, words, purpose="train")
    batch = next(iter(Trainer.build_train_loader(cfg)))
    info = dataset_info(cfg.DATASETS.TRAIN[0])
    records = {r["file_name"]: r for r in DatasetCatalog.get(cfg.DATASETS.TRAIN[0])}
    assert len(batch) > 1
    for item in batch:
        truth = read_semantic(records[item["file_name"]], info)
        assert len(np.unique(truth)) > 1
        assert np.array_equal(item["sem_seg"].numpy(), truth)
    again = next(iter(Trainer.build_train_loader(cfg, seed=5)))
    assert [x["file_name"] for x in again] != [x["file_name"] for x in batch]
    tested = list(Trainer.build_test_loader(cfg, cfg.DATASETS.TEST[0]))
    images = [r["file_name"] for r in DatasetCatalog.get(cfg.DATASETS.TEST[0])]
    assert [item["file_name"] for (item,) in tested] == images


def test_a_run_can_go_on_from_its_first_evaluation(coco_spec, tmp_path):
    """A kill after it would otherwise leave the best weights alone."""
    words = ["TEST.EVAL_PERIOD", "2", "SOLVER.CHECKPOINT_PERIOD", "50"]
    argv = ["--config-file", str(TINY), "--dataset", str(coco_spec), "OUTPUT_DIR", str(tmp_path)]
    assert load_tool("tools/train_net.py").main([*argv, *words]) == 0
    saved = {path.name for path in tmp_path.glob("model_*.pth")}
    assert saved == {"model_0000001.pth", "model_best.pth", "model_final.pth"}


def test_ranks_that_see_other_checkpoints_are_refused(monkeypatch):
    monkeypatch.setattr(comm, "all_gather", lambda path: ["run/model_0000001.pth", path])
    with pytest.raises(WeightsError, match=r"run/model_0000001.pth and rank 1 from nothing"):
        Checkpointer(torch.nn.Linear(1, 1)).resume_or_load("")


@pytest.mark.parametrize("content", [{"model": {}}, {"best": 1}, [1]])
def test_best_weights_that_say_nothing_are_none(tmp_path, content, caplog):
    torch.save(content, tmp_path / "model_best.pth")
    hook = EvaluationHook(
        1,
        dict,
        checkpointer=Checkpointer(torch.nn.Linear(1, 1), str(tmp_path)),
        best_metric_name="",
    )
    assert hook._read_best() is None
    assert "the next evaluation is the best so far" in caplog.text
