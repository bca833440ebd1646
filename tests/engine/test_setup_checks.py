"""What `prepare_config` refuses, and what it asks of the data for which purpose."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

import factories
from project.config import load_config
from project.data.architectures import ARCHITECTURES
from project.engine.setup import portable, prepare_config, resolve_device
from project.errors import ConfigError, DatasetError
from project.modeling.precision import amp_dtype
from tool_runner import TINY

BOXES = ["MODEL.MASK_ON", "False", "MODEL.MASK_UNET.SEMANTICS", "False"]


def test_masks_cannot_be_learnt_from_boxes(coco_spec):
    prepare_config(TINY, coco_spec, purpose="train")
    path = coco_spec.parent / "train.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"have boxes and no segmentation.*MODEL\.MASK_ON False"):
        prepare_config(TINY, coco_spec, purpose="train")
    assert prepare_config(TINY, coco_spec, BOXES, purpose="train").DATASETS.TRAIN


def test_instances_cannot_be_learnt_without_countable_classes(label_map_spec):
    with pytest.raises(ConfigError, match="no countable classes"):
        prepare_config(TINY, label_map_spec, purpose="train")


def without_split(spec: Path, split: str) -> Path:
    content = yaml.safe_load(spec.read_text())
    del content["splits"][split]
    spec.write_text(yaml.safe_dump(content))
    return spec


def test_each_purpose_needs_its_own_split(tmp_path):
    alone = without_split(factories.make_coco(tmp_path / "a"), "val")
    assert prepare_config(TINY, alone, purpose="train").DATASETS.TEST == ()
    assert prepare_config(TINY, alone, purpose="predict").DATASETS.TEST == ()
    with pytest.raises(ConfigError, match=r"DATASETS\.TEST is empty.*val"):
        prepare_config(TINY, alone)
    alone = without_split(factories.make_coco(tmp_path / "b"), "train")
    assert len(prepare_config(TINY, alone).DATASETS.TEST) == 1
    with pytest.raises(ConfigError, match=r"DATASETS\.TRAIN is empty.*train"):
        prepare_config(TINY, alone, purpose="train")


def test_predicting_needs_no_images(coco_spec):
    shutil.rmtree(coco_spec.parent / "images")
    cfg = prepare_config(TINY, coco_spec, purpose="predict")
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2 and cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3
    with pytest.raises(DatasetError, match="images"):
        prepare_config(TINY, coco_spec)


def test_predicting_needs_nothing_of_training_and_scoring(coco_spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    words = ["SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.DTYPE", "fp16", "MODEL.DEVICE", "cpu"]
    words += ["TEST.COCO_BACKEND", "faster-coco-eval"]
    assert prepare_config(TINY, coco_spec, words, purpose="predict").is_frozen()
    with pytest.raises(ConfigError, match="not installed"):
        prepare_config(TINY, coco_spec, words)
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        prepare_config(TINY, coco_spec, words, purpose="train")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_the_parts_that_a_model_has_are_counted(coco_spec, name):
    words = ["MODEL.META_ARCHITECTURE", name, "MODEL.ROI_HEADS.NUM_CLASSES", "80"]
    if name in ("SemanticSegmentor", "HuggingFaceSegmenter"):  # the latter by TASK
        assert prepare_config(TINY, coco_spec, words).MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3
    else:
        with pytest.raises(ConfigError, match="NUM_CLASSES is 80"):
            prepare_config(TINY, coco_spec, words)


def test_best_metric_may_be_any_that_is_scored(coco_spec):
    for metric in ("auto", "segm/AR10", "sem_seg/mDice", "panoptic_seg/PQ_st"):
        prepare_config(TINY, coco_spec, ["TEST.BEST_METRIC", metric])
    words = ["TEST.COCO_MAX_DETECTIONS", "7", "TEST.BEST_METRIC"]
    prepare_config(TINY, coco_spec, [*words, "bbox/AR7"])
    with pytest.raises(ConfigError, match="bbox/AR100"):
        prepare_config(TINY, coco_spec, [*words, "bbox/AR100"])


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match="finds no GPU"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(d) for d in ("auto", "cuda:1", "cpu")] == ["cuda", "cuda:1", "cpu"]
    with pytest.raises(ConfigError, match="finds 2 GPUs"):
        resolve_device("cuda:2")


def test_written_config_works_from_any_folder_and_on_any_machine(coco_spec, tmp_path, monkeypatch):
    monkeypatch.chdir(coco_spec.parent)
    cfg = prepare_config(TINY, coco_spec.name, ["MODEL.DEVICE", "auto"])
    assert cfg.MODEL.DEVICE in ("cpu", "cuda")
    assert list(cfg.DATASETS.SPECS) == [coco_spec.name]
    path = tmp_path / "config.yaml"
    path.write_text(portable(cfg).dump())
    monkeypatch.chdir(tmp_path)
    again = load_config(path)
    assert again.MODEL.DEVICE == "auto"
    assert list(again.DATASETS.SPECS) == [str(coco_spec)]
    assert again.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert prepare_config(path).DATASETS.TEST == cfg.DATASETS.TEST


def test_auto_is_no_mixed_precision_on_a_slow_cpu(monkeypatch, caplog):
    words = ["MODEL.DEVICE", "cpu", "SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.DTYPE"]
    found = {}
    for fast in (True, False):
        monkeypatch.setattr("project.modeling.precision.has_fast_bfloat16", lambda fast=fast: fast)
        with caplog.at_level("INFO"):
            found[fast] = [amp_dtype(load_config(None, [*words, n])) for n in ("auto", "bf16")]
        assert len(caplog.records) == (not fast)
    assert found[True] == [torch.bfloat16, torch.bfloat16]
    assert found[False] == [None, torch.bfloat16]
    assert "no mixed precision" in caplog.text
