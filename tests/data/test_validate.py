"""Mistakes that must show within a second, before a model is built."""

import json
import shutil
import time

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from project.data.register import register_dataset
from project.data.validate import check_dataset_quick
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
    with pytest.raises(DatasetError, match=r"000\.png is 10 x 20 .*train\.json says 64 x 64"):
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
    start = time.perf_counter()
    check_dataset_quick(name)
    assert time.perf_counter() - start < 1
