"""Panoptic PNG files against the lists of their segments, and how often they are decoded."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factories_coco_panoptic import make_coco_panoptic
from format_checks import collect
from project.data import panoptic_png
from project.data.checks.segments import check_segments
from project.data.dataset import read_info, read_records
from project.data.labels import decode_mask, panoptic_truth, read_semantic
from project.data.problems import Problems
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.spec import read_spec
from project.errors import DatasetError


def checked(spec: Path) -> list:
    """What the check of pixels finds."""
    info, problems = read_info(read_spec(spec), "train"), Problems()
    check_segments(info, read_records(info, Problems()), problems)
    return problems.found


def test_maps_and_lists_name_the_same_segments(tmp_path):
    spec = make_coco_panoptic(tmp_path)
    assert checked(spec) == []
    path = tmp_path / "panoptic_train" / "000.png"
    pixels = np.array(Image.open(path))
    ids = pixels.astype(np.int64) @ [1, 256, 65536]
    gone = json.loads((tmp_path / "panoptic_train.json").read_text())["annotations"][0]
    gone = gone["segments_info"][2]["id"]
    share = (ids == gone).mean()
    pixels[ids == gone] = 77, 0, 1
    Image.fromarray(pixels).save(path)
    stray, absent = checked(spec)
    assert stray.rule == absent.rule == "segments_mismatch"
    assert stray.file == absent.file == str(path) and stray.split == "train"
    assert f"65613 ({share:.1%})" in stray.found and absent.annotation == gone
    record = dataset_records(register_dataset(spec)[0])[0]
    for read in (read_semantic, panoptic_truth):
        with pytest.raises(DatasetError, match="65613") as error:
            read(record, dataset_info(record["dataset"]))
        assert error.value.problem.rule == "segments_mismatch"


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        ("label_kind", lambda path: Image.open(path).convert("L").save(path)),
        ("label_lossy", lambda path: Image.open(path).save(path, format="JPEG")),
        ("size_mismatch", lambda path: Image.open(path).crop((0, 0, 64, 32)).save(path)),
        ("image_unreadable", lambda path: path.write_bytes(path.read_bytes()[:60])),
    ],
)
def test_maps_that_cannot_be_read(tmp_path, rule, edit):
    spec = make_coco_panoptic(tmp_path)
    edit(tmp_path / "panoptic_train" / "001.png")
    (problem,) = checked(spec)
    assert problem.rule == rule
    assert problem.file == str(tmp_path / "panoptic_train" / "001.png")


def test_each_map_is_decoded_once_for_all_its_segments(tmp_path, monkeypatch):
    spec = make_coco_panoptic(tmp_path)
    record = collect(spec)[0][0]
    opened = []
    real = panoptic_png.open_image
    monkeypatch.setattr(
        panoptic_png, "open_image", lambda *words: opened.append(words) or real(*words)
    )
    for annotation in record["annotations"] * 3:
        assert decode_mask(annotation["segmentation"], 64, 64).sum() == annotation["area"]
    assert len(opened) <= 1 < len(record["annotations"])
