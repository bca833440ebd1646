"""Classes of the splits against each other, by name, and against a config."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from project.config import get_project_config
from project.data.problems import Problem
from project.data.spec import read_spec
from project.data.validate import check_dataset


def problems(spec: Path, cfg=None, **options) -> list[Problem]:
    return check_dataset(read_spec(spec), cfg, **options).problems.found


def edit(spec: Path, split: str, change) -> None:
    path = spec.parent / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def with_fields(spec: Path, **fields: Any) -> Path:
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | fields))
    return spec


@pytest.fixture
def spec(tmp_path):
    return factories.make_coco(tmp_path)


def rename(content, old="disc", new="Disk"):
    for category in content["categories"]:
        if category["name"] == old:
            category["name"] = new


def test_a_misspelt_class_is_said_from_both_sides(spec):
    edit(spec, "val", rename)
    found = problems(spec)
    missing = [p for p in found if p.rule == "class_missing"]
    assert [(p.split, Path(p.file).name) for p in missing] == [("val", "val.json")] * 2
    assert "it has no class 'disc'. Did you mean Disk?" in missing[0].found
    assert "split 'train' has no class 'Disk'. Did you mean disc?" in missing[1].found
    assert {p.rule for p in found} == {"class_missing"}


@pytest.mark.parametrize("chosen", [False, True])
def test_all_names_that_differ_are_said_at_once(spec, chosen):
    """With `things:`, a split is compared with them, and then checked with its own classes."""
    if chosen:
        with_fields(spec, things=["square", "disc"])
    before = check_dataset(read_spec(spec)).census["val"]
    edit(spec, "val", lambda content: rename(content, "disc", "discs"))
    edit(spec, "val", lambda content: rename(content, "square", "Square"))
    report = check_dataset(read_spec(spec))
    missing, *extra = [p for p in report.problems.found if p.rule == "class_missing"]
    assert missing.split == "val" and len(extra) == (0 if chosen else 1)
    assert "'disc' (did you mean discs?)" in missing.found
    assert "'square' (did you mean Square?)" in missing.found
    assert {p.rule for p in report.problems.found} == {"class_missing"}
    found = report.census["val"]
    assert found.objects == {
        "discs": before.objects["disc"],
        "Square": before.objects["square"],
    }


@pytest.mark.parametrize("chosen", [False, True])
def test_the_rest_is_checked_all_the_same(spec, chosen):
    """Classes that differ hide nothing of what else is wrong in either split."""
    if chosen:
        with_fields(spec, things=["square", "disc"])
    edit(spec, "val", rename)
    for split in ("train", "val"):
        (spec.parent / "images" / split / "003.png").write_bytes(b"")
    found = [(p.split, Path(p.file).name) for p in problems(spec) if p.rule == "image_unreadable"]
    assert found == [("train", "003.png"), ("val", "003.png")]


def swap_ids(content):
    first, second = content["categories"]
    first["id"], second["id"] = second["id"], first["id"]
    for annotation in content["annotations"]:
        annotation["category_id"] = {3: 7, 7: 3}[annotation["category_id"]]


def test_another_order_is_followed_by_name(spec):
    before = check_dataset(read_spec(spec)).census["val"].objects
    edit(spec, "val", swap_ids)
    report = check_dataset(read_spec(spec))
    assert report.census["val"].objects == before and len(before) == 2
    (one,) = report.problems.found
    assert (one.rule, one.level, one.split) == ("class_order", "warning", "val")
    assert "3 disc, 7 square" in one.found and "3 square, 7 disc" in one.expected
    assert problems(with_fields(spec, things=["square", "disc"])) == [], "an order was chosen"


def without(name: str):
    number = factories.DATASET_IDS[name]

    def change(content):
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] != number]

    return change


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_never_shown(spec, quick):
    edit(spec, "train", without("disc"))
    (one,) = problems(spec, quick=quick)
    assert (one.rule, one.split, Path(one.file).name) == ("class_untaught", "train", "train.json")
    edit(spec, "val", without("disc"))
    found = [(p.rule, p.split) for p in problems(spec, quick=quick)]
    assert found == [("class_unused", "train"), ("class_unused", "val")]
    chosen = with_fields(spec, things=["square"])
    assert problems(chosen, quick=quick) == []


def test_pixels_count_where_nothing_is_countable(tmp_path):
    spec = factories.make_label_map(tmp_path, num_images=2)
    for path in (tmp_path / "labels" / "train").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values == 2, 0, values).astype(np.uint8)).save(path)
    (one,) = problems(spec)
    assert (one.rule, one.file) == ("class_untaught", str(tmp_path / "labels" / "train"))
    assert problems(spec, quick=True) == [], "pixels are not counted"


def test_a_config_that_counts_other_classes(spec):
    cfg = get_project_config()
    cfg.MODEL.META_ARCHITECTURE = "MaskUNet"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2, 3
    assert problems(spec, cfg) == []
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 80
    found = problems(spec, cfg)
    assert [(p.rule, p.split) for p in found] == [("class_count", "train"), ("class_count", "val")]
    assert "2 classes (square, disc), but MODEL.ROI_HEADS.NUM_CLASSES is 80" in found[0].found
    cfg.MODEL.MASK_UNET.INSTANCES = False
    assert problems(spec, cfg) == []


def test_more_objects_than_a_model_returns(spec):
    cfg = get_project_config()
    counts = check_dataset(read_spec(spec)).census["train"].per_image
    assert counts[0] < counts[-1]
    cfg.TEST.DETECTIONS_PER_IMAGE = counts[-1] - 1
    found = [p for p in problems(spec, cfg) if p.split == "train"]
    assert [p.rule for p in found] == ["too_many_objects"]
    over = sum(count == counts[-1] for count in counts)
    assert f"{over} of 6 images" in found[0].found
    assert f"TEST.DETECTIONS_PER_IMAGE {counts[-1]}" in found[0].repair
    report = check_dataset(read_spec(spec), cfg)
    most = max(census.per_image[-1] for census in report.census.values())
    cfg.TEST.DETECTIONS_PER_IMAGE = 1
    found = [p for p in problems(spec, cfg) if p.rule == "too_many_objects"]
    assert [p.split for p in found] == ["train", "val"]
    assert len({p.repair for p in found}) == 1, "one key has one value, whatever the split"
    assert f"TEST.DETECTIONS_PER_IMAGE {most}," in found[0].repair
