"""Which training images are drawn and how often, and what the log says of it."""

import itertools
import json
from collections import Counter
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from PIL import Image

import factories
from project.data.mapper import SegmentationMapper
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.sampling import (
    classes_of_images,
    limit_empty,
    repeat_factors,
    weights_table,
)
from project.engine.loader import build_train_loader, training_records
from project.engine.setup import prepare_config, start_run
from project.engine.trainer import Trainer
from project.errors import ConfigError
from tool_runner import TINY

A, B, NONE = frozenset({1}), frozenset({2}), frozenset[int]()
INSTANCES = ("MODEL.MASK_UNET.SEMANTICS", "False")
SEMANTICS = ("MODEL.MASK_UNET.INSTANCES", "False")


def emptied(spec: Path, count: int) -> Path:
    """Takes the objects of the first images out of the training split."""
    path = spec.parent / "train.json"
    content = json.loads(path.read_text())
    gone = {image["id"] for image in content["images"][:count]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in gone]
    path.write_text(json.dumps(content))
    return spec


def chosen(spec: Path, *words: str) -> list[int]:
    cfg = prepare_config(TINY, spec, list(words), purpose="train")
    records = training_records(cfg, SegmentationMapper(cfg, is_train=True))
    return [record["image_id"] for record in records]


def test_classes_of_objects_and_of_label_maps_agree(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path, labels=True, crowd=True))[0]
    infos = {name: dataset_info(name)}
    records = dataset_records(name)
    by_objects = classes_of_images(records, infos)
    plain = [{k: v for k, v in r.items() if k != "annotations"} for r in records]
    assert by_objects == classes_of_images(plain, infos)
    assert set().union(*by_objects) == {1, 2}
    crowd = [a for a in records[0]["annotations"] if a["iscrowd"]]
    assert crowd and classes_of_images([{**records[0], "annotations": crowd}], infos) == [NONE]


@pytest.mark.parametrize(("ratio", "kept"), [(0, 0), (0.5, 1), (1, 3), (1.9, 5), (9, 6)])
def test_ratio_of_empty_images(ratio, kept, caplog):
    classes = [NONE, A, NONE, NONE, B, NONE, A, NONE, NONE]
    with caplog.at_level("INFO"):
        found = limit_empty(classes, ratio, seed=1)
    assert [i for i in found if classes[i]] == [1, 4, 6]
    assert len(found) == 3 + kept and found == sorted(set(found))
    assert f"with objects: 3; without: {kept} kept, {6 - kept} dropped" in caplog.text
    assert found == limit_empty(classes, ratio, seed=1)


def test_the_choice_of_empty_images_follows_the_seed():
    classes = [A] * 10 + [NONE] * 40
    choices = {tuple(limit_empty(classes, 1, seed)) for seed in range(5)}
    assert len(choices) == 5 and all(len(choice) == 20 for choice in choices)


def test_no_image_left():
    with pytest.raises(ConfigError, match=r"none of the 2 .*EMPTY_RATIO"):
        limit_empty([NONE, NONE], 1, seed=0)
    assert limit_empty([NONE, NONE], inf, seed=0) == [0, 1]


def test_by_default_empty_images_teach_semantics_only(tmp_path, caplog):
    caplog.set_level("INFO")
    spec = emptied(factories.make_coco(tmp_path), 4)
    assert len(chosen(spec)) == len(chosen(spec, *SEMANTICS)) == 6
    assert "with objects: 2; without: 4 kept, 0 dropped" in caplog.text
    assert chosen(spec, *INSTANCES) == [14, 15]
    assert "with objects: 2; without: 0 kept, 4 dropped" in caplog.text
    assert len(chosen(spec, *INSTANCES, "DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False")) == 6


@pytest.mark.parametrize("parts", [(), INSTANCES, SEMANTICS], ids=["joint", "objects", "semantics"])
def test_a_ratio_holds_whatever_is_taught(tmp_path, parts):
    spec = emptied(factories.make_coco(tmp_path), 4)
    counts = [len(chosen(spec, *parts, "DATALOADER.EMPTY_RATIO", r)) for r in ("0", "0.5", "9")]
    assert counts == [2, 3, 6]


def test_label_maps_of_background_are_empty(tmp_path):
    spec = factories.make_label_map(tmp_path)
    for label in sorted((tmp_path / "labels" / "train").iterdir())[:3]:
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(label)
    counts = [len(chosen(spec, *SEMANTICS, "DATALOADER.EMPTY_RATIO", r)) for r in ("0", "0.4")]
    assert counts == [3, 4]


def test_factors_by_the_formula():
    """f(1) = 8/10, f(2) = 2/10; with t = 0.5: r(1) = 1, r(2) = sqrt(0.5 / 0.2)."""
    classes = [A] * 7 + [A | B] + [B] + [NONE]
    factors = repeat_factors(classes, 0.5, sqrt=True, names=["background", "a", "b"])
    expected = [1.0] * 7 + [2.5**0.5] * 2 + [1.0]
    assert factors.tolist() == pytest.approx(expected)
    assert repeat_factors(classes, 0.5, sqrt=False, names="xab")[8] == pytest.approx(2.5)


def test_factors_are_logged_by_name(caplog):
    with caplog.at_level("INFO", logger="project"):
        repeat_factors([A] * 7 + [A | B], 0.5, sqrt=True, names=["background", "fig", "date"])
    lines = [line.split() for line in caplog.text.splitlines()]
    assert ["fig", "8", "100.0%", "1.12"] in lines  # (7 + 2) / 8
    assert ["date", "1", "12.5%", "2.00"] in lines


def rare_maps(root: Path) -> Path:
    """Label maps of which one shows discs."""
    spec = factories.make_label_map(root)
    for label in sorted((root / "labels" / "train").iterdir())[:-1]:
        ids = np.asarray(Image.open(label))
        Image.fromarray(np.minimum(ids, 1)).save(label)
    return spec


def test_rare_classes_of_label_maps_are_drawn_more_often(tmp_path):
    words = ["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"]
    words += ["DATALOADER.REPEAT_THRESHOLD", "1.0", "SOLVER.IMS_PER_BATCH", "1", *SEMANTICS]
    cfg = prepare_config(TINY, rare_maps(tmp_path), words, purpose="train")
    loader = build_train_loader(cfg, seed=0)
    drawn = Counter(batch[0]["image_id"] for batch in itertools.islice(loader, 300))
    rare = dataset_records(cfg.DATASETS.TRAIN[0])[-1]["image_id"]
    others = (300 - drawn[rare]) / 5
    assert drawn[rare] / others == pytest.approx(6**0.5, rel=0.25)
    sampler = RepeatFactorTrainingSampler(torch.tensor([1.0] * 5 + [6**0.5]), seed=0)
    reference = Counter(itertools.islice(sampler, 300))
    assert drawn[rare] == pytest.approx(reference[5], rel=0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"], r"REPEAT_THRESHOLD.* 0\.0"),
        (["DATALOADER.SAMPLER_TRAIN", "TraningSampler"], "Did you mean TrainingSampler"),
        (["DATALOADER.SAMPLER_TRAIN", "WeightedTrainingSampler"], "is no DATALOADER.SAMPLER_TRAIN"),
    ],
)
def test_samplers_that_cannot_be_used(coco_spec, words, message):
    with pytest.raises(ConfigError, match=message):
        prepare_config(TINY, coco_spec, words, purpose="train")


def test_weights_are_shown_with_shares(tmp_path, caplog):
    rows = weights_table(["sky", "tree"], [300, 100], [0.5, 1.5]).splitlines()[2:]
    assert [row.split() for row in rows] == [
        ["sky", "75.00%", "0.500"],
        ["tree", "25.00%", "1.500"],
    ]
    words = ["MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING", "inverse_frequency", *SEMANTICS]
    words += ["OUTPUT_DIR", str(tmp_path / "run")]
    cfg = prepare_config(TINY, factories.make_label_map(tmp_path), words, purpose="train")
    with caplog.at_level("INFO", logger="project"):
        start_run(cfg)
    log = (tmp_path / "run" / "log.txt").read_text()
    line = next(line for line in log.splitlines() if line.startswith("disc"))
    assert line.split()[2] == f"{cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS[2]:.3f}"
    assert "PIXEL_COUNTS" not in (tmp_path / "run" / "config.yaml").read_text()


def test_batches_of_empty_images_train(tmp_path):
    """Batches of one, so that five of six are of an image without objects."""
    words = ["DATALOADER.EMPTY_RATIO", "9", "SOLVER.IMS_PER_BATCH", "1"]
    words += ["OUTPUT_DIR", str(tmp_path / "run"), "SOLVER.MAX_ITER", "4", "TEST.EVAL_PERIOD", "0"]
    spec = emptied(factories.make_coco(tmp_path), 5)
    trainer = Trainer(prepare_config(TINY, spec, words, purpose="train"))
    before = [p.clone() for p in trainer.raw_model.parameters()]
    trainer.train()
    after = list(trainer.raw_model.parameters())
    assert all(torch.isfinite(p).all() for p in after)
    assert any(not torch.equal(p, q) for p, q in zip(before, after))
