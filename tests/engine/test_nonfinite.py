"""Numbers that are not finite end a training before anything is saved, and can be looked at."""

import json
from pathlib import Path

import pytest
import torch

import factories
from project.engine import nonfinite
from project.engine.batch_file import from_plain, to_plain
from project.engine.checkpoint import Checkpointer
from project.engine.described_config import written_config
from project.engine.nonfinite import FiniteGuard, Step
from project.engine.replay import replay
from project.engine.step import TrainStep
from project.errors import TrainingError, WeightsError
from tool_runner import TINY, load_tool

QUICK = ["TEST.EVAL_PERIOD", "0", "TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"]


def train(spec: Path, output: Path, *words: str) -> int:
    flags = ["--config-file", str(TINY), "--dataset", str(spec), "--overwrite"]
    keys = ["OUTPUT_DIR", str(output), *QUICK, "SOLVER.CHECKPOINT_PERIOD", "1"]
    return load_tool("tools/train_net.py").main([*flags, *keys, *words])


@pytest.fixture(scope="module")
def spoilt_step(tmp_path_factory) -> Path:
    """A step that a training wrote because of one gradient."""
    from project.data.register import register_dataset, unregister_dataset

    folder = tmp_path_factory.mktemp("spoilt")
    spec = factories.make_coco(folder / "coco")
    names = register_dataset(spec)
    with pytest.MonkeyPatch.context() as monkeypatch:
        spoil(monkeypatch, {1}, "gradient")
        with pytest.raises(TrainingError):
            train(spec, folder / "run")
    for name in names:
        unregister_dataset(name)
    return folder / "run" / "nonfinite_0000001.pth"


def spoil(monkeypatch, iterations: set[int], what: str) -> None:
    """Makes the loss, or one gradient alone, not a number in some iterations."""
    add = TrainStep.add_gradients

    def spoilt(self, data):
        losses = add(self, data)
        if self.iter in iterations and what == "loss":
            losses["loss_mask"] = losses["loss_mask"] * float("nan")
        if self.iter in iterations and what == "gradient":
            next(p for p in self.model.parameters() if p.grad is not None).grad[0] = float("inf")
        return losses

    monkeypatch.setattr(TrainStep, "add_gradients", spoilt)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_training_ends_and_says_where(coco_spec, tmp_path, monkeypatch, what):
    spoil(monkeypatch, {2}, what)
    with pytest.raises(TrainingError) as error:
        train(coco_spec, tmp_path)
    said = str(error.value)
    assert "iteration 2: loss_" in said and ("loss_mask nan" in said) == (what == "loss")
    assert ("gradient norm inf" in said) == (what == "gradient")
    assert "learning rate 0.01" in said and said.count(" (id ") == 2
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert not (tmp_path / "model_0000002.pth").exists()
    assert not (tmp_path / "model_final.pth").exists()
    kept = torch.load(tmp_path / "nonfinite_0000002.pth", weights_only=True)
    assert kept["iteration"] == 2 and len(kept["batch"]) == 2
    before = torch.load(tmp_path / "model_0000001.pth", weights_only=True)["model"]
    weights = {k: v for k, v in before.items() if "running" not in k and "num_batches" not in k}
    assert all(torch.equal(kept["model"][name], value) for name, value in weights.items())


def test_steps_may_be_left_out(coco_spec, tmp_path, monkeypatch):
    """Weights and statistics of a run that leaves one out are those from before the step."""
    spoil(monkeypatch, {2}, "loss")
    assert train(coco_spec, tmp_path, "SOLVER.NONFINITE_SKIPS", "1") == 0
    assert "left out, 1 of 1: iteration 2: " in (tmp_path / "log.txt").read_text()
    before, after = (torch.load(tmp_path / f"model_{i:07}.pth", weights_only=True) for i in (1, 2))
    moved = [k for k, v in before["model"].items() if not torch.equal(v, after["model"][k])]
    assert all("num_batches_tracked" in name for name in moved)
    assert after["trainer"]["_trainer"]["skipped"] == 1
    last = torch.load(tmp_path / "model_0000003.pth", weights_only=True)
    assert any(not torch.equal(v, last["model"][k]) for k, v in before["model"].items())
    losses = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert all(line.get("total_loss", 1.0) == line.get("total_loss", 1.0) for line in losses)


def test_a_step_left_out_does_not_enter_the_average(coco_spec, tmp_path, monkeypatch):
    spoil(monkeypatch, {2}, "loss")
    words = ["SOLVER.NONFINITE_SKIPS", "1", "SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.0"]
    assert train(coco_spec, tmp_path, *words, "SOLVER.EMA.START", "0.0") == 0
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert final["average_count"] == 3  # of 4 iterations


def test_the_step_is_told_where_it_cannot_be_written(coco_spec, tmp_path, monkeypatch):
    spoil(monkeypatch, {2}, "loss")

    def fail(path, write):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nonfinite, "write_whole", fail)
    with pytest.raises(TrainingError, match=r"iteration 2: .*could not be written .*No space"):
        train(coco_spec, tmp_path)


@pytest.mark.parametrize(("iteration", "way"), [(0, "Nothing was saved"), (2, "--accept-changes")])
def test_the_way_on_depends_on_what_was_saved(coco_spec, tmp_path, monkeypatch, iteration, way):
    spoil(monkeypatch, {iteration}, "loss")
    with pytest.raises(TrainingError, match=way):
        train(coco_spec, tmp_path)


def test_one_more_than_may_be_left_out_ends_the_training(coco_spec, tmp_path, monkeypatch):
    spoil(monkeypatch, {1, 3}, "loss")
    with pytest.raises(TrainingError, match="iteration 3: "):
        train(coco_spec, tmp_path, "SOLVER.NONFINITE_SKIPS", "1")


def test_fp16_leaves_out_infinite_gradients_by_itself_but_not_for_ever(tmp_path):
    model = torch.nn.Linear(1, 1)
    guard = FiniteGuard(model, output_dir=str(tmp_path), config="", seed=0, skips=0)
    step = Step(3, [], {"loss": 1.0}, float("inf"), 0.1)
    assert guard.passes(step, scale=1024.0)
    with pytest.raises(TrainingError, match="gradient norm inf"):
        guard.passes(step, scale=1e-5)
    with pytest.raises(TrainingError, match="loss nan"):
        guard.passes(Step(3, [], {"loss": float("nan")}, 1.0, 0.1), scale=1024.0)


@pytest.mark.parametrize("name", ["weight", "running_var"])
def test_weights_that_are_not_finite_are_never_written(tmp_path, name):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    checkpointer = Checkpointer(model, str(tmp_path))
    checkpointer.save("model_0000000", iteration=0)
    with torch.no_grad():
        dict(model[1].named_parameters(), **dict(model[1].named_buffers()))[name][1] = float("nan")
    with pytest.raises(TrainingError, match=rf"model_0000001\.pth is not written: 1\.{name} hold"):
        checkpointer.save("model_0000001", iteration=1)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000000.pth"
    assert not (tmp_path / "model_0000001.pth").exists()


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
def test_batches_survive_a_file(coco_spec, tmp_path, mask_format):
    from project.data.mapper import SegmentationMapper
    from project.data.register import dataset_records
    from project.engine.setup import prepare_config

    cfg = prepare_config(TINY, coco_spec, ["INPUT.MASK_FORMAT", mask_format], purpose="train")
    mapper = SegmentationMapper(cfg, is_train=True)
    batch = [mapper(record) for record in dataset_records(cfg.DATASETS.TRAIN[0])[:3]]
    assert sum(len(item["instances"]) for item in batch) > 2, "nothing would be compared"
    path = tmp_path / "batch.pth"
    torch.save(to_plain(batch), path)
    again = from_plain(torch.load(path, weights_only=True))
    for item, found in zip(batch, again, strict=True):
        assert item.keys() == found.keys()
        assert torch.equal(item["image"], found["image"])
        assert torch.equal(item["sem_seg"], found["sem_seg"])
        boxes = item["instances"].gt_boxes.tensor
        assert torch.equal(boxes, found["instances"].gt_boxes.tensor)
        assert torch.equal(item["instances"].gt_classes, found["instances"].gt_classes)
        masks, others = (i["instances"].gt_masks.crop_and_resize(boxes, 14) for i in (item, found))
        assert torch.equal(masks, others) and 0 < masks.float().mean() < 1


def test_a_spoilt_layer_is_named(coco_spec, tmp_path, monkeypatch):
    """A weight so large that its layer's output is infinite, though the weight is finite."""
    spoil(monkeypatch, {2}, "loss")
    with pytest.raises(TrainingError):
        train(coco_spec, tmp_path)
    path = tmp_path / "nonfinite_0000002.pth"
    content = torch.load(path, weights_only=True)
    content["model"]["sem_seg_head.predictor.weight"].fill_(1e38)
    torch.save(content, path)
    out = tmp_path / "out.json"
    assert load_tool("tools/replay_batch.py").main([str(path), "--json", str(out)]) == 1
    found = json.loads(out.read_text())
    assert found["iteration"] == 2 and len(found["images"]) == 2
    assert found["weights"] == []
    assert found["layers"][0] == "sem_seg_head.predictor (Conv2d)"
    assert "sem_seg_head.predictor.weight" in found["gradients"]


def test_the_same_losses_as_in_the_training(coco_spec, tmp_path, monkeypatch, capsys):
    """What was spoilt here was no layer: the step itself is good, and equal to the last digit."""
    spoil(monkeypatch, {2}, "gradient")
    with pytest.raises(TrainingError):
        train(coco_spec, tmp_path)
    found = replay(tmp_path / "nonfinite_0000002.pth")
    then = dict(found.then)
    assert then.pop("gradient norm") == float("inf")
    assert found.losses == then and len(then) > 4
    assert found.gradient_norm > 0 and not found.gradients
    assert load_tool("tools/replay_batch.py").main([str(tmp_path / "nonfinite_0000002.pth")]) == 0
    assert "loss_mask" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("config", "[1]"), ("config", "MODEL: {META_ARCHITECTURE: Nothing}"), ("config", 5)),
        *(("config", "MODEL: {BACKBONE: {NAME: nothing}}"), ("model", {"a": torch.zeros(1)})),
        *(("batch", 3), ("batch", [{"instances": 1}])),
    ],
)
def test_steps_that_cannot_be_taken_again_are_told(tmp_path, key, value, spoilt_step):
    content = torch.load(spoilt_step, weights_only=True)
    torch.save({**content, key: value}, tmp_path / "nonfinite_0000009.pth")
    with pytest.raises(
        WeightsError, match=r"nonfinite_0000009.pth: its step cannot be taken again"
    ):
        replay(tmp_path / "nonfinite_0000009.pth")


def test_a_step_fetches_no_weights_that_its_config_names(tmp_path, spoilt_step):
    content = torch.load(spoilt_step, weights_only=True)
    named = "MODEL: {WEIGHTS: /none.pth, TIMM: {WEIGHTS: /none.pth}}\nOUTPUT_DIR: /none\n"
    cfg = written_config(named)
    assert cfg.MODEL.WEIGHTS != "/none.pth" and cfg.MODEL.TIMM.WEIGHTS != "/none.pth"
    assert cfg.OUTPUT_DIR != "/none"
    assert replay(spoilt_step).iteration == content["iteration"]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        replay(tmp_path / "none.pth")
    torch.save({"model": {"w": torch.zeros(1)}}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"holds no training step .*nonfinite_"):
        replay(tmp_path / "weights.pth")
