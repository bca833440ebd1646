"""The check at the start of a training: what stops it, what is only told, how much is read."""

import json
import logging
from pathlib import Path

import pytest

import factories
from project.data.register import dataset_records
from project.engine import data_check
from project.engine.setup import prepare_config
from project.errors import ConfigError, DatasetError
from tool_runner import TINY


def prepare(spec: Path, *words: str):
    return prepare_config(TINY, spec, list(words), purpose="train")


@pytest.fixture
def spec(tmp_path):
    return factories.make_coco(tmp_path, num_images=20)


def train_image(spec: Path, number: int) -> Path:
    return spec.parent / "images" / "train" / f"{number:03}.png"


def test_errors_stop_it_in_one_paragraph(spec):
    train_image(spec, 3).write_bytes(b"")
    train_image(spec, 4).unlink()
    train_image(spec, 5).unlink()
    with pytest.raises(DatasetError) as raised:
        prepare(spec)
    text = str(raised.value)
    assert "\n" not in text and f"tools/check_dataset.py {spec}" in text
    assert "does not exist (2): " in text and "003.png" in text
    assert "has errors (3)" in text
    assert raised.value.problem.rule == "image_missing"


def test_what_touches_scores_only_is_told(spec, caplog):
    leaked = spec.parent / "images" / "val" / "000.png"
    leaked.write_bytes(train_image(spec, 0).read_bytes())
    assert prepare(spec).DATASETS.TRAIN
    assert "the same image in two splits (findings: 1)" in caplog.text
    assert str(leaked) in caplog.text


def test_the_quick_check_is_chosen_by_cost(spec, monkeypatch, caplog):
    """The fourth of 20 images is not among the eight that a quick check decodes."""
    train_image(spec, 3).write_bytes(train_image(spec, 3).read_bytes()[:1000])
    assert prepare(spec, "DATASETS.CHECK", "quick").DATASETS.TRAIN
    # Other tests may have opened the log for lesser news.
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    for words in ((), ("DATASETS.CHECK", "full")):
        with pytest.raises(DatasetError, match=r"003\.png"):
            prepare(spec, *words)
    monkeypatch.setattr(data_check, "_AFFORDABLE", 0.01)
    with caplog.at_level(logging.WARNING):
        prepare(spec)
    assert "a quick check" in caplog.text and f"check_dataset.py {spec}" in caplog.text
    with pytest.raises(ConfigError, match=r"DATASETS\.CHECK"):
        prepare(spec, "DATASETS.CHECK", "some")


def test_nothing_is_read_twice(spec, monkeypatch):
    cfg = prepare(spec)
    (spec.parent / "train.json").write_text("gone")
    assert len(dataset_records(cfg.DATASETS.TRAIN[0])) == 20


def test_splits_that_are_not_used_need_not_be_there(spec):
    lines = "  test: {images: images/test, annotations: test.json}\n"
    spec.write_text(spec.read_text().rstrip() + "\n" + lines)
    assert prepare(spec).DATASETS.TEST


def test_images_that_are_only_scored_are_checked_too(spec):
    content = json.loads((spec.parent / "val.json").read_text())
    content["images"][0]["width"] = 60
    (spec.parent / "val.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"val/000\.png: its size is 64 x 64.*64 x 60"):
        prepare(spec)
