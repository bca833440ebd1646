"""A look ahead at the worst batch changes nothing, and says what there is no room for."""

import re
from pathlib import Path

import pytest
import torch

import factories
from project.engine.preflight import worst_records
from project.engine.step import TrainStep
from project.errors import ConfigError
from tool_runner import TINY, load_tool, run_process

QUICK = ["TEST.EVAL_PERIOD", "0", "TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"]


def train(spec: Path, output: Path, *words: str) -> int:
    argv = ["--config-file", str(TINY), "--dataset", str(spec), "OUTPUT_DIR", str(output)]
    return load_tool("tools/train_net.py").main([*argv, *QUICK, *words])


def test_worst_images_by_size_and_by_objects():
    sizes = [(10, 10, 3), (40, 5, 0), (20, 9, 7), (8, 8, 7)]
    records = [{"height": h, "width": w, "annotations": [{}] * n} for h, w, n in sizes]
    assert worst_records(records) == (1, 2)
    assert worst_records([{"height": 2, "width": 3}]) == (0, 0)


def test_nothing_is_learnt_from_it(coco_spec, tmp_path):
    saved = {}
    for name in ("True", "False"):
        assert train(coco_spec, tmp_path / name, "PREFLIGHT", name) == 0
        log = (tmp_path / name / "log.txt").read_text(encoding="utf-8")
        assert ("preflight: 2 images of " in log) == (name == "True")
        content = torch.load(tmp_path / name / "model_final.pth", weights_only=True)
        saved[name] = content["model"]
    assert saved["True"].keys() == saved["False"].keys()
    assert all(torch.equal(saved["True"][k], saved["False"][k]) for k in saved["True"])


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()]
)
def test_lack_of_memory_is_told_before_the_first_iteration(coco_spec, tmp_path, monkeypatch, error):
    def no_room(self, data):
        raise error

    monkeypatch.setattr(TrainStep, "add_gradients", no_room)
    with pytest.raises(ConfigError, match=r"not enough memory for training .*IMS_PER_BATCH"):
        train(coco_spec, tmp_path)
    assert "iter: 0" not in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_weights_without_a_gradient_are_named_where_ranks_would_wait_for_them(tmp_path):
    """A pyramid that a U-Net head does not read."""
    spec = factories.make_coco(tmp_path, num_images=4)
    words = ["--num-gpus", "2", "OUTPUT_DIR", tmp_path / "run", *QUICK]
    words += ["MODEL.MASK_UNET.INSTANCES", "False"]
    known = ["tools/train_net.py", "--config-file", TINY, "--dataset", spec]
    done = run_process(*known, *words, OMP_NUM_THREADS="1")
    assert done.returncode == 1
    assert "weights take no part in the losses (backbone.fpn" in done.stderr, done.stderr[-2000:]


def test_the_largest_of_some_draws_is_taken(coco_spec, tmp_path):
    sizes = "[{name: resize_shortest_edge, sizes: [32, 40, 48, 96]}]"
    words = ["INPUT.AUGMENTATIONS", sizes, "SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "1"]
    assert train(coco_spec, tmp_path, *words) == 0
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    found = re.search(r"preflight: 2 images of (\S+) with", log)
    assert found, log
    assert min(map(int, found[1].split("x"))) == 96


def test_other_errors_are_not_taken_for_it(coco_spec, tmp_path, monkeypatch):
    def wrong(self, data):
        raise RuntimeError("sizes of tensors must match")

    monkeypatch.setattr(TrainStep, "add_gradients", wrong)
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        train(coco_spec, tmp_path)
