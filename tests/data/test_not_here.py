"""Hazards of stock Detectron2 that cannot be had here, each shown by trying."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factories
from corpus.case import edit_json, records_of
from corpus.pixels import flip_byte
from project.data.labels import read_semantic
from project.data.pixels import read_pixels
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.spec import read_spec
from project.data.validate import check_dataset
from project.engine.setup import prepare_config
from project.errors import ConfigError
from project.evaluation.prediction_files import score_predictions
from tool_runner import TINY


def objects_to_score(spec: Path) -> int:
    register_dataset(spec)
    name = f"{read_spec(spec).name}_val"
    return sum(len(record["annotations"]) for record in dataset_records(name))


def another_object(content: dict[str, Any]) -> None:
    """Adds the first object of the first image to the second."""
    second = content["images"][1]["id"]
    content["annotations"].append({**content["annotations"][0], "id": 999, "image_id": second})


def test_no_truth_is_cached_between_runs(tmp_path: Path):
    """S8: of an annotation file that has grown, stock evaluators score the old one."""
    spec = factories.make_coco(tmp_path, num_images=2)
    before = objects_to_score(spec)
    paths = factories.write_perfect_predictions(spec, "val", tmp_path / "perfect")
    name = f"{read_spec(spec).name}_val"
    assert score_predictions(name, paths["coco"])["segm"]["AP"] == 100.0
    edit_json(tmp_path / "val.json", another_object)
    assert objects_to_score(spec) == before + 1
    assert 0 < score_predictions(name, paths["coco"])["segm"]["AP"] < 100, "one is not found"
    assert not [path for path in tmp_path.rglob("*") if "coco_format" in path.name]


def test_palettes_are_read_by_index(tmp_path: Path):
    """S2: converted to grey, the colours of a palette become class numbers."""
    specs = [factories.make_label_map(tmp_path / e, encoding=e) for e in ("index", "palette")]
    truths = []
    for spec in specs:
        name = register_dataset(spec)[0]
        truths.append([read_semantic(r, dataset_info(name)) for r in dataset_records(name)])
    assert Image.open(tmp_path / "palette/labels/train/000.png").mode == "P"
    np.testing.assert_array_equal(*truths)
    assert set(np.unique(truths)) == {0, 1, 2}


@pytest.mark.parametrize("number", [1, 3, 80])
def test_a_wrong_number_of_classes_stops_the_start(tmp_path: Path, number: int):
    """S13: one too few and the last class is taught as background."""
    spec = factories.make_coco(tmp_path)
    with pytest.raises(ConfigError, match=f"NUM_CLASSES is {number}, but .* has 2 classes"):
        prepare_config(TINY, spec, ["MODEL.ROI_HEADS.NUM_CLASSES", str(number)], purpose="train")


@pytest.mark.parametrize("form", ["coco", "coco_panoptic", "voc", "cityscapes", "yolo", "labelme"])
def test_every_data_set_knows_its_classes(tmp_path: Path, form: str):
    """S14: without their names, stock Detectron2 skips the check of class numbers."""
    from detectron2.data import MetadataCatalog

    for name in register_dataset(factories.make(form, tmp_path)):
        things = dataset_info(name).categories.things
        assert things and MetadataCatalog.get(name).thing_classes == list(things)
        for record in dataset_records(name):
            assert all(0 <= a["category_id"] < len(things) for a in record["annotations"])


def test_images_of_one_name_in_two_folders_keep_their_predictions(tmp_path: Path):
    """S23: both predictions would be written to one file."""
    spec = factories.make_label_map(tmp_path, num_images=2)
    for kind in ("images", "labels"):
        folder = tmp_path / kind / "val"
        (folder / "more").mkdir()
        (folder / "001.png").rename(folder / "more" / "000.png")
    first, second = (Image.open(r["sem_seg_file_name"]) for r in records_of(spec, "val"))
    assert (np.asarray(first) != np.asarray(second)).any()
    name = register_dataset(spec)[1]
    scores = score_predictions(name, tmp_path / "labels" / "val")
    assert scores["sem_seg"]["mIoU"] == 100.0
    assert not check_dataset(read_spec(spec)).problems.errors


def test_panoptic_scores_need_no_further_package(tmp_path: Path):
    """Stock evaluators find the package panopticapi missing after the first image."""
    spec = factories.make_coco(tmp_path, num_images=2)
    paths = factories.write_perfect_predictions(spec, "val", tmp_path / "perfect")
    name = register_dataset(spec)[1]
    assert score_predictions(name, paths["panoptic"])["panoptic_seg"]["PQ"] == 100.0
    assert "panopticapi" not in sys.modules


def test_a_file_without_box_area_and_crowd_mark_is_scored(tmp_path: Path):
    """Stock evaluators stop with a KeyError after the first inference."""
    spec = factories.make_coco(tmp_path, num_images=2)
    content = json.loads((tmp_path / "val.json").read_text())
    for annotation in content["annotations"]:
        for key in ("bbox", "area", "iscrowd"):
            del annotation[key]
    (tmp_path / "val.json").write_text(json.dumps(content))
    paths = factories.write_perfect_predictions(spec, "val", tmp_path / "perfect")
    name = register_dataset(spec)[1]
    scores = score_predictions(name, paths["coco"])
    assert scores["bbox"]["AP"] == scores["segm"]["AP"] == 100.0
    assert not check_dataset(read_spec(spec)).problems.errors


POSITIONS = np.linspace(0.02, 0.99, 40)


def share_found(spec: Path, damaged: Path) -> float:
    """Of how many single flipped bits in a file the check tells."""
    whole = damaged.read_bytes()
    found = 0
    for position in POSITIONS:
        flip_byte(damaged, position)
        problems = check_dataset(read_spec(spec)).problems.errors
        found += any(Path(p.file) == damaged for p in problems)
        damaged.write_bytes(whole)
    return found / len(POSITIONS)


def test_a_flipped_bit_is_found_in_every_png_and_in_some_jpeg(tmp_path: Path):
    """S20: a PNG file has check sums. JPEG has none: most flips only change the picture.

    Of 400 random places in a JPEG of 0.8, 1.3 and 7 kB, 13, 9 and 2 % were told by decoding.
    """
    spec = factories.make_coco(tmp_path, num_images=2, size=(32, 32))
    record = records_of(spec)[0]
    image = Path(record["file_name"])
    assert share_found(spec, image) == 1.0
    Image.open(image).save(image, "JPEG")
    whole = read_pixels(record, dataset_info(register_dataset(spec)[0]))
    assert whole.shape == (32, 32, 3)
    assert 0 < share_found(spec, image) < 0.6
