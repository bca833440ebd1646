"""COCO panoptic files: segments arrive as they are, undecoded, and what is wrong is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from evaluation_cases import score
from factories_coco_panoptic import make_coco_panoptic
from format_checks import collect
from project.data.dataset import read_info
from project.data.labels import decode_mask, panoptic_truth, read_semantic
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.spec import read_spec
from project.errors import DatasetError


def change(spec: Path, function, split: str = "train") -> None:
    """Rewrites the json of a split by `function(content)`, in place."""
    path = spec.parent / f"panoptic_{split}.json"
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def change_spec(spec: Path, **changes) -> None:
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | changes))


def info_of(spec: Path, split: str = "train"):
    return read_info(read_spec(spec), split)


def ids_of(path: Path) -> np.ndarray:
    """(H, W) segment ids by Pillow and COCO's formula."""
    return np.asarray(Image.open(path)).astype(np.int64) @ [1, 256, 65536]


def test_classes_are_stuff_then_things_by_their_ids(tmp_path):
    spec = make_coco_panoptic(tmp_path)
    categories = info_of(spec).categories
    assert categories.semantic == ("ground", "sky", "square", "disc")
    assert categories.thing_dataset_ids == (3, 7) and categories.stuff_dataset_ids == (5, 9)
    change_spec(spec, things=["disc", "square"], stuff=["sky", "ground"])
    categories = info_of(spec).categories
    assert categories.semantic == ("sky", "ground", "disc", "square")
    assert categories.thing_dataset_ids == (7, 3) and categories.stuff_dataset_ids == (9, 5)


def test_nothing_is_decoded_when_it_is_read(tmp_path):
    spec = make_coco_panoptic(tmp_path, crowd=True)
    for path in (tmp_path / "panoptic_train").iterdir():
        path.write_bytes(b"")
    records = dataset_records(register_dataset(spec)[0])
    content = json.loads((tmp_path / "panoptic_train.json").read_text())
    for record, entry in zip(records, content["annotations"], strict=True):
        listed = {s["id"]: s for s in entry["segments_info"]}
        assert [s["id"] for s in record["segments_info"]] == list(listed)
        countable = [i for i, s in listed.items() if s["category_id"] in (3, 7)]
        assert [a["id"] for a in record["annotations"]] == countable
        for annotation in record["annotations"]:
            expected = listed[annotation["id"]]
            assert annotation["bbox"] == expected["bbox"]
            assert (annotation["area"], annotation["iscrowd"]) == (
                expected["area"],
                expected["iscrowd"],
            )
            png = str(tmp_path / "panoptic_train" / entry["file_name"])
            segment = {"size": [64, 64], "png": png, "id": annotation["id"]}
            assert annotation["segmentation"] == segment


def test_truth_is_that_of_the_png(tmp_path):
    spec = make_coco_panoptic(tmp_path, holes=True, crowd=True, void=True)
    info = info_of(spec)
    semantic_ids = {5: 0, 9: 1, 3: 2, 7: 3}
    content = json.loads((tmp_path / "panoptic_train.json").read_text())
    for record, entry in zip(collect(spec)[0], content["annotations"], strict=True):
        ids = ids_of(tmp_path / "panoptic_train" / entry["file_name"])
        found, segments = panoptic_truth(record, info)
        np.testing.assert_array_equal(found, ids)
        semantic = np.full(ids.shape, 255)
        by_id = {s["id"]: s for s in segments}
        assert by_id.keys() == {s["id"] for s in entry["segments_info"]}
        for segment in entry["segments_info"]:
            ours = by_id[segment["id"]]
            assert ours["semantic_id"] == semantic_ids[segment["category_id"]]
            assert ours["isthing"] == (segment["category_id"] in (3, 7))
            assert (ours["area"], ours["iscrowd"]) == (segment["area"], segment["iscrowd"])
            if not segment["iscrowd"]:
                semantic[ids == segment["id"]] = ours["semantic_id"]
        np.testing.assert_array_equal(read_semantic(record, info), semantic)
        assert (ids == 0).any() and any(s["iscrowd"] for s in segments)


def test_classes_that_are_not_chosen_are_ignored(tmp_path):
    spec = make_coco_panoptic(tmp_path)
    change_spec(spec, things=["disc"], stuff=["ground"])
    records, found = collect(spec)
    info = info_of(spec)
    assert [p.rule for p in found] == ["class_left_out"] * 2
    assert {"sky", "square"} == {p.found.split()[-1] for p in found}
    ids, segments = panoptic_truth(records[0], info)
    assert {s["semantic_id"] for s in segments} == {0, 1}
    semantic = read_semantic(records[0], info)
    assert (semantic == 255).mean() > 0.3
    np.testing.assert_array_equal(ids == 0, semantic == 255)


def test_the_json_scores_100_against_itself(tmp_path):
    """Also without its categories: then the numbers are those of the data set."""
    spec = make_coco_panoptic(tmp_path, holes=True, parts=True, cut=True, void=True)
    path = tmp_path / "panoptic_val.json"
    assert score(spec, path)["panoptic_seg"]["PQ"] == 100
    content = json.loads(path.read_text())
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"annotations": content["annotations"]}))
    shutil.copytree(tmp_path / "panoptic_val", tmp_path / "plain")
    scores = score(spec, plain)["panoptic_seg"]
    assert scores["PQ"] == scores["PQ_st"] == scores["PQ_th"] == 100
    assert set(scores["per_class"]) == {"ground", "sky", "square", "disc"}


def test_photos_of_coco(shared_data, tmp_path):
    """Against the same segments as run lengths, made by panopticapi's converter."""
    folder = shared_data / "panoptic_sample" / "sample_data"
    paths = {
        "images": "input_images",
        "annotations": "panoptic_examples.json",
        "panoptic": "panoptic_examples",
    }
    spec = tmp_path / "sample.yaml"
    fields = {"name": "sample", "format": "coco_panoptic", "root": str(folder)}
    spec.write_text(yaml.safe_dump({**fields, "splits": {"val": paths}}))
    assert score(spec, folder / "panoptic_examples.json")["panoptic_seg"]["PQ"] == 100
    info = dataset_info("sample_val")
    assert (len(info.categories.things), len(info.categories.stuff)) == (80, 53)
    converted = json.loads((folder / "panoptic_coco_detection_format.json").read_text())
    crowds = 0
    for record in dataset_records("sample_val"):
        size = (record["height"], record["width"])
        ids, _ = panoptic_truth(record, info)
        expected = [a for a in converted["annotations"] if a["image_id"] == record["image_id"]]
        assert len(expected) == len(record["segments_info"]) in (18, 32)
        masks = {decode_mask(a["segmentation"], *size).tobytes(): a for a in expected}
        assert len(masks) == len(expected)
        for segment in record["segments_info"]:
            assert (ids == segment["id"]).tobytes() in masks
        for annotation in record["annotations"]:
            theirs = masks[decode_mask(annotation["segmentation"], *size).tobytes()]
            number = info.categories.thing_dataset_ids[annotation["category_id"]]
            assert number == theirs["category_id"] and annotation["area"] == theirs["area"]
            crowds += annotation["iscrowd"]
        assert (ids == 0).any()
    assert crowds == 3


def first(content) -> dict:
    """The first segment of a thing in the first image."""
    segments = content["annotations"][0]["segments_info"]
    return next(s for s in segments if s["category_id"] == 3)


def put(key, value):
    return lambda content: first(content).__setitem__(key, value)


def twice(content):
    segments = content["annotations"][0]["segments_info"]
    segments.append(segments[0])


def same_png(content):
    content["annotations"][1]["file_name"] = content["annotations"][0]["file_name"]


def outside(content):
    content["annotations"][0]["file_name"] = "../panoptic_val/000.png"


BAD = {
    "image without annotation": ("unpaired", lambda c: c["annotations"].pop(0), 5),
    "two annotations": (
        "image_listed_twice",
        lambda c: c["annotations"].append(c["annotations"][0]),
        6,
    ),
    "unknown image": ("image_unknown", lambda c: c["images"].pop(0), 5),
    "one PNG for two": ("name_clash", same_png, 5),
    "PNG outside": ("file_invalid", outside, 5),
    "no list": ("file_invalid", lambda c: c["annotations"][0].pop("segments_info"), 5),
    "unknown class": ("class_unknown", put("category_id", 77), 6),
    "no box": ("box_invalid", lambda c: first(c).pop("bbox"), 6),
    "box of no number": ("box_invalid", put("bbox", [0, 0, float("nan"), 5]), 6),
    "negative area": ("area_invalid", put("area", -4), 6),
    "segment twice": ("annotation_id_duplicate", twice, 6),
    "void in the list": ("segments_mismatch", put("id", 0), 6),
    "id beyond RGB": ("segments_mismatch", put("id", 2**24), 6),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_named(tmp_path, kind):
    rule, edit, images = BAD[kind]
    spec = make_coco_panoptic(tmp_path)
    change(spec, edit)
    records, (problem,) = collect(spec)
    assert (problem.rule, problem.level, problem.split) == (rule, "error", "train")
    assert problem.file == str(tmp_path / "panoptic_train.json")
    assert len(records) == images
    with pytest.raises(DatasetError) as error:
        dataset_records(register_dataset(spec)[0])
    assert str(error.value) == problem.text


def test_a_missing_png_is_named(tmp_path):
    spec = make_coco_panoptic(tmp_path)
    (tmp_path / "panoptic_train" / "002.png").unlink()
    records, (problem,) = collect(spec)
    assert problem.rule == "unpaired" and "002.png" in problem.found
    assert problem.image == 12 and 12 not in [r["image_id"] for r in records]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda cs: cs[0].update(id=cs[1]["id"]), "stands twice"),
        (lambda cs: cs[0].pop("isthing"), "isthing: None; expected 1"),
        (lambda cs: cs[0].update(isthing=0), "'square' has isthing: [01]"),
        (lambda cs: cs[0].update(name="squares"), "no class 'square'. Did you mean squares"),
    ],
)
def test_classes_that_do_not_fit(tmp_path, edit, message):
    spec = make_coco_panoptic(tmp_path)
    change(spec, lambda content: edit(content["categories"]), "val")
    with pytest.raises(DatasetError, match=message):
        info_of(spec)
