"""results.json: shape, writing, reading, and what is shown of it."""

import json

import pytest

from project.errors import ConfigError, UserError
from project.evaluation import results as module
from project.evaluation.results import (
    best_metric,
    dataset_results,
    headline,
    read_results,
    scalars,
    table,
    write_results,
)

SEGM = {
    "AP": 41.256,
    "AP50": 60.0,
    "AP75": 44.0,
    "APs": None,
    "APm": 40.0,
    "APl": 50.0,
    "AR100": 55.0,
    "per_class": {"cat": {"AP": 41.256, "AP50": 60.0}, "dog": {"AP": None, "AP50": None}},
}
SEM_SEG = {
    "mIoU": 70.0,
    "fwIoU": 71.0,
    "mACC": 72.0,
    "pACC": 73.0,
    "mDice": 74.0,
    "per_class": {"sky": {"IoU": 70.0, "Dice": 74.0, "ACC": 72.0}},
}
NOTES = ["segm: APs and ARs are not defined: the truth has no small objects"]


@pytest.fixture
def dataset():
    scores = {"notes": NOTES, "sem_seg": SEM_SEG, "segm": SEGM, "panoptic_seg": None}
    return dataset_results(7, scores)


@pytest.fixture
def results(dataset):
    weights = {"path": "w.pth", "sha256": "ab" * 32, "iteration": 99}
    return {
        "config": "c.yaml",
        "weights": weights,
        "backend": "pycocotools",
        "datasets": {"pets_val": dataset},
    }


def test_shape_is_the_promised_one(dataset):
    assert list(dataset) == ["images", "segm", "sem_seg", "panoptic_seg", "notes"]
    assert dataset["panoptic_seg"] is None
    assert "bbox" not in dataset, "a task that nobody asked for is absent"


def test_written_results_are_read_again(results, tmp_path):
    path = tmp_path / "new" / "results.json"
    write_results(results, path)
    assert read_results(path) == results
    assert json.loads(path.read_text()) == results
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_an_interrupted_write_leaves_the_old_file(results, tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_results(results, path)

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_results({**results, "config": "other"}, path)
    assert read_results(path) == results
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_nan_is_never_written(results, tmp_path):
    results["datasets"]["pets_val"]["segm"] = {**SEGM, "AP": float("nan")}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(results, tmp_path / "results.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as results"),
        ("[]", "lacks backend, config, datasets, weights"),
        ('{"config": 1, "weights": 1, "backend": 1, "datasets": {"a": {}}}', "lacks images, notes"),
        ('{"config": 1, "weights": 1, "backend": 1, "datasets": {"a": 1}}', "lacks images"),
    ],
)
def test_other_files_are_told(tmp_path, text, message):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"r\.json: .*{message}"):
        read_results(path)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_results(tmp_path / "r.json")


def test_headline(results):
    found = headline(results)
    assert ("pets_val", "segm", "AP", 41.256) in found
    assert ("pets_val", "segm", "APs", None) in found
    assert ("pets_val", "sem_seg", "mIoU", 70.0) in found
    assert {task for _, task, _, _ in found} == {"segm", "sem_seg"}


def test_scalars_are_numbers_only(dataset):
    found = scalars(dataset)
    assert found["segm"] == {k: v for k, v in SEGM.items() if k not in ("APs", "per_class")}
    assert found.keys() == {"segm", "sem_seg"}


def test_best_metric(dataset):
    assert best_metric(dataset) == ("segm/AP", 41.256)
    assert best_metric(dataset, "sem_seg/mIoU") == ("sem_seg/mIoU", 70.0)
    assert best_metric(dataset, "segm/APs") == ("segm/APs", None)
    assert best_metric(dataset, "panoptic_seg/PQ") == ("panoptic_seg/PQ", None)
    assert best_metric({**dataset, "panoptic_seg": {"PQ": 5.0}}) == ("panoptic_seg/PQ", 5.0)
    assert best_metric({"images": 0, "notes": []}) == ("auto", None)
    with pytest.raises(ConfigError, match="Did you mean sem_seg/mIoU"):
        best_metric(dataset, "sem_seg/miou")
    with pytest.raises(ConfigError, match="not scored"):
        best_metric(dataset, "bbox/AP")


def test_table_is_plain_and_complete(results):
    text = table(results)
    assert text.isascii()
    lines = [line.split() for line in text.splitlines()]
    assert ["all", "41.26", "60.00", "44.00", "-", "40.00", "50.00"] in lines
    assert ["dog", "-", "-"] in lines
    assert "pets_val (7 images)" in text
    assert f"note: {NOTES[0]}" in text


def test_table_leaves_out_many_classes(results):
    per_class = {f"class{i}": {"AP": 1.0, "AP50": 2.0} for i in range(21)}
    results["datasets"]["pets_val"]["segm"] = {**SEGM, "per_class": per_class}
    assert "class3" not in table(results)
    del per_class["class20"]
    assert "class3" in table(results)
