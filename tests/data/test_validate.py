"""Mistakes that must show within a second, before a model is built."""

import json
import shutil
import time

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from conftest import REPOSITORY
from project.data.register import dataset_records, register_dataset
from project.data.spec import read_spec
from project.data.validate import check_dataset, check_dataset_quick
from project.errors import DatasetError


@pytest.mark.parametrize("labels", [False, True])
def test_good_data_pass(tmp_path, labels):
    specs = [factories.make_coco(tmp_path / "a", labels=labels, crowd=labels)]
    specs += [
        factories.make_label_map(tmp_path / encoding, encoding=encoding, things=labels)
        for encoding in ("index", "palette", "binary_255", "rgb")
    ]
    for spec in specs:
        for name in register_dataset(spec):
            check_dataset_quick(name)


def test_missing_images_are_counted(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    for index in (2, 4):
        (tmp_path / "images" / "train" / f"00{index}.png").unlink()
    with pytest.raises(DatasetError, match=r"2 of the images do not exist: .*002\.png, .*004\.png"):
        check_dataset_quick(name)


def test_an_empty_folder(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    shutil.rmtree(tmp_path / "images" / "train")
    (tmp_path / "images" / "train").mkdir()
    with pytest.raises(DatasetError, match=r"splits\.train\.images: there are no images in"):
        check_dataset_quick(name)


def test_a_mistyped_folder(tmp_path):
    path = factories.make_coco(tmp_path)
    spec = yaml.safe_load(path.read_text())
    spec["splits"]["train"]["images"] = "image/train"
    path.write_text(yaml.safe_dump(spec))
    with pytest.raises(DatasetError, match=r"image/train does not exist.*Did you mean images"):
        check_dataset_quick(register_dataset(path)[0])


@pytest.mark.parametrize("make", [factories.make_label_map, factories.make_coco])
def test_a_missing_folder_is_said_once(tmp_path, caplog, make):
    """Only who scores without images is told that they are not there."""
    spec = make(tmp_path)
    shutil.rmtree(tmp_path / "images" / "train")
    found = check_dataset(read_spec(spec)).problems.by_rule()["image_missing"]
    assert [p.split for p in found] == ["train"]
    name = register_dataset(spec)[0]
    with pytest.raises(DatasetError, match="does not exist"):
        check_dataset_quick(name)
    assert "scoring only" not in caplog.text
    assert len(dataset_records(name)) == 6
    assert ("scoring only" in caplog.text) == (make is factories.make_label_map)


@pytest.mark.parametrize("format", ["coco", "label_map"])
def test_one_folder_for_images_and_label_maps(tmp_path, format):
    maker = factories.make_coco if format == "coco" else factories.make_label_map
    spec = maker(tmp_path, **({"labels": True} if format == "coco" else {}))
    fields = yaml.safe_load(spec.read_text())
    fields["splits"]["train"]["labels"] = fields["splits"]["train"]["images"] + "/../train"
    spec.write_text(yaml.safe_dump(fields))
    (one,) = check_dataset(read_spec(spec)).problems.found
    assert (one.rule, one.split, one.file) == ("file_invalid", "train", str(spec))
    assert "`images` and `labels` are the same folder" in one.found


def test_no_objects_at_all(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    path = tmp_path / "train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    with pytest.raises(
        DatasetError, match=r"none of its 6 images has an object of square, .*train\.json"
    ):
        check_dataset_quick(name)


def test_a_size_that_disagrees(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(tmp_path / "images/train/000.png")
    with pytest.raises(
        DatasetError, match=r"000\.png: .* 10 x 20 .* 64 x 64, as .*train\.json says"
    ):
        check_dataset_quick(name)


def test_a_label_map_that_nothing_explains(tmp_path):
    path = factories.make_label_map(tmp_path, encoding="binary_255", num_images=20)
    spec = yaml.safe_load(path.read_text())
    spec["classes"] = ["background", "shape"]
    path.write_text(yaml.safe_dump(spec))
    with pytest.raises(DatasetError, match=r"classes: \{background: 0, shape: 255\}"):
        check_dataset_quick(register_dataset(path)[0])


def test_it_is_quick_on_many_images(tmp_path):
    path = factories.make_coco(tmp_path, num_images=2)
    content = json.loads((tmp_path / "train.json").read_text())
    one = content["images"][0]
    content["images"] += [{**one, "id": i, "file_name": f"{i}.png"} for i in range(100, 2100)]
    (tmp_path / "train.json").write_text(json.dumps(content))
    for i in range(100, 2100):
        (tmp_path / "images" / "train" / f"{i}.png").symlink_to("000.png")
    name = register_dataset(path)[0]
    start = time.process_time()  # others may use the machine
    check_dataset_quick(name)
    assert time.process_time() - start < 1


def rules(spec, **options):
    report = check_dataset(read_spec(spec), **options)
    return {(problem.rule, problem.split) for problem in report.problems.found}


def test_everything_is_found_in_one_run(tmp_path):
    spec = factories.make_coco(tmp_path)
    images = tmp_path / "images"
    (images / "train" / "001.png").unlink()
    (images / "train" / "002.png").write_bytes(b"")
    (images / "val" / "003.png").write_bytes((images / "train" / "003.png").read_bytes())
    content = json.loads((tmp_path / "val.json").read_text())
    content["annotations"][0]["category_id"] = 99
    content["annotations"].append({**content["annotations"][1], "id": 1000})
    (tmp_path / "val.json").write_text(json.dumps(content))
    assert rules(spec) == {
        ("image_missing", "train"),
        ("image_unreadable", "train"),
        ("class_unknown", "val"),
        ("annotation_copied", "val"),
        ("leak_exact", "val"),
    }


def test_a_split_that_cannot_be_read_hides_no_other(tmp_path):
    spec = factories.make_coco(tmp_path)
    (tmp_path / "train.json").write_text("{")
    (tmp_path / "images" / "val" / "000.png").write_bytes(b"")
    report = check_dataset(read_spec(spec))
    found = [(p.rule, p.split, p.file) for p in report.problems.found]
    assert ("file_invalid", "train", str(tmp_path / "train.json")) in found
    assert ("image_unreadable", "val", str(tmp_path / "images/val/000.png")) in found
    assert len(found) == 2
    assert list(report.records) == list(report.census) == ["val"]
    (tmp_path / "train.json").unlink()
    found = [(p.rule, p.split, p.file) for p in check_dataset(read_spec(spec)).problems.found]
    assert ("file_invalid", "train", str(tmp_path / "train.json")) in found


def test_what_is_left_is_what_is_right(tmp_path):
    spec = factories.make_coco(tmp_path)
    content = json.loads((tmp_path / "train.json").read_text())
    total = len(content["annotations"])
    content["annotations"][0]["category_id"] = 99
    (tmp_path / "train.json").write_text(json.dumps(content))
    info, records = check_dataset(read_spec(spec)).records["train"]
    assert info.split == "train" and len(records) == 6
    assert sum(len(record["annotations"]) for record in records) == total - 1 > 6


@pytest.mark.parametrize("name", ["fruits_nuts", "isbi2012"])
def test_real_data_raise_no_false_alarm(shared_data, monkeypatch, name):
    monkeypatch.setenv("MASKUNET_SHARED_DATA", str(shared_data))
    expected = {("split_reused", "val")} if name == "fruits_nuts" else set()
    assert rules(REPOSITORY / "datasets" / f"{name}.yaml") == expected


def test_the_same_photographs_in_two_formats(shared_data, tmp_path):
    """Three photographs with 12 objects of 20 classes, of which 6 occur."""
    examples = shared_data / "labelme_voc" / "examples"
    coco = examples / "instance_segmentation" / "data_dataset_coco"
    spec = tmp_path / "coco.yaml"
    fields = {
        "name": "photographs",
        "format": "coco",
        "root": str(coco),
        "stuff": ["rest"],
        "splits": {"train": {"annotations": "annotations.json"}},
    }
    spec.write_text(yaml.safe_dump(fields))
    report = check_dataset(read_spec(spec))
    assert sum(report.census["train"].objects.values()) == 12
    assert report.problems.errors == []
    assert report.problems.counts().keys() <= {"class_unused", "field_missing"}


def test_nuclei(shared_data, tmp_path):
    """More nuclei than a model returns, and nothing else, is odd there."""
    spec = tmp_path / "nuclei.yaml"
    splits = {s: {"images": s, "annotations": f"{s}.json"} for s in ("train", "val")}
    fields = {"name": "nuclei", "format": "coco", "root": str(shared_data / "nuclei")}
    spec.write_text(yaml.safe_dump(fields | {"splits": splits}))
    report = check_dataset(read_spec(spec), quick=True)
    assert report.census["train"].objects["nucleus"] == 11_845
    assert report.problems.counts() == {"too_many_objects": 2}
    assert "up to 375" in report.problems.found[1].found
