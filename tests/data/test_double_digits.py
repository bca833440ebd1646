"""The built-in data set: repeatable, readable, and its splits share no digit."""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import yaml

from project.data.labels import decode_mask, read_semantic, semantic_from_annotations
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.validate import check_dataset_quick

DATASETS = Path(__file__).parents[2] / "datasets"
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "prepare_double_digits", DATASETS / "prepare_double_digits.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tool, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("double_digits")
    assert tool.main(["--output", str(folder), "--train", "120", "--val", "40"]) == 0
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(tool, made, tmp_path):
    for seed in (0, 1):
        words = ["--output", str(tmp_path / str(seed)), "--train", "120", "--val", "40"]
        tool.main([*words, "--seed", str(seed)])
    assert len(digest(made)) == 2 * (120 + 40) + 2
    assert digest(tmp_path / "0") == digest(made)
    assert all(digest(tmp_path / "1")[name] != value for name, value in digest(made).items())


def test_it_reads_as_anybodys_data(made, tmp_path):
    spec = yaml.safe_load((DATASETS / "double_digits.yaml").read_text())
    train, val = register_dataset(**(spec | {"root": str(made), "name": "digits_of_a_test"}))
    for name, count in ((train, 120), (val, 40)):
        check_dataset_quick(name)
        info, records = dataset_info(name), dataset_records(name)
        assert info.categories.things == tuple("0123456789")
        assert info.categories.thing_dataset_ids == tuple(range(1, 11))
        assert len(records) == count
        for record in records:
            annotations = record["annotations"]
            assert len(annotations) == 2
            masks = [decode_mask(a["segmentation"], 64, 64) for a in annotations]
            assert not (masks[0] & masks[1]).any()
            for annotation, mask in zip(annotations, masks):
                x, y, w, h = annotation["bbox"]
                assert annotation["area"] == mask.sum() > 40
                assert 18 <= h <= 32 or mask.sum() < 150  # unless partly hidden
                assert x >= 0 and x + w <= 64 and y >= 0 and y + h <= 64
            np.testing.assert_array_equal(
                read_semantic(record, info),
                semantic_from_annotations(annotations, 64, 64, info.categories),
            )


def test_digits_can_be_seen_and_told_apart(made):
    content = json.loads((made / "train.json").read_text())
    of_image = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        pixels = cv2.imread(str(made / "images" / "train" / image["file_name"])).astype(float)
        first, second = (decode_mask(a["segmentation"], 64, 64) for a in of_image[image["id"]])
        colours = [np.median(pixels[m], axis=0) for m in (~first & ~second, first, second)]
        assert np.linalg.norm(colours[0] - colours[1]) > 60
        assert np.linalg.norm(colours[0] - colours[2]) > 60
        assert np.linalg.norm(colours[1] - colours[2]) > 30
    classes = {a["category_id"] for a in content["annotations"]}
    assert classes == set(range(1, 11))


def test_digits_touch_or_overlap_now_and_then(made):
    content = json.loads((made / "train.json").read_text())
    masks = [decode_mask(a["segmentation"], 64, 64) for a in content["annotations"]]
    grown = [cv2.dilate(m.astype(np.uint8), np.ones((3, 3))).astype(bool) for m in masks[::2]]
    share = np.mean([(g & m).any() for g, m in zip(grown, masks[1::2])])
    assert 0.05 < share < 0.5


def test_a_quarter_each_has_no_noise_and_the_three_kinds(made):
    """Background pixels without noise are all alike; impulses are black or white."""
    kinds = {"none": 0, "impulse": 0, "spread": 0}
    for path in sorted((made / "images" / "train").iterdir()):
        label = cv2.imread(str(made / "labels" / "train" / path.name), cv2.IMREAD_GRAYSCALE)
        away = cv2.dilate((label > 0).astype(np.uint8), np.ones((7, 7))) == 0
        background = cv2.imread(str(path))[away]
        colours, counts = np.unique(background, axis=0, return_counts=True)
        if len(colours) == 1:
            kinds["none"] += 1
        elif counts.max() > 0.9 * len(background):
            kinds["impulse"] += 1
            rest = colours[np.arange(len(colours)) != counts.argmax()]
            assert set(np.unique(rest)) <= {0, 255}
        else:
            kinds["spread"] += 1
    assert kinds == {"none": 30, "impulse": 30, "spread": 60}


def test_splits_show_different_digits(tool):
    (train, _), (val, _) = tool.split_sources(0).values()
    assert len(train) + len(val) == 1797 and len(val) == 360
    as_bytes = lambda digits: {d.tobytes() for d in digits}  # noqa: E731
    assert len(as_bytes(train)) > 1400
    assert not as_bytes(train) & as_bytes(val)


def test_wrong_words(tool, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main(["--train", "0"])
    assert ended.value.code == 2
    assert "--train" in capsys.readouterr().err
