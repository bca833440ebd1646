"""Cityscapes: what is seen after painting arrives whole, and what is wrong is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from factories_cityscapes import IDS, make_cityscapes
from format_checks import categories_of, check_perfect_scores, collect, map_records, masks_of
from project.data.categories import IGNORE_LABEL
from project.data.dataset import read_info
from project.data.formats.cityscapes_labels import ALL, IGNORED
from project.data.labels import decode_mask, read_semantic
from project.data.register import choose_mask_format
from project.data.spec import read_spec
from project.errors import DatasetError

HARD = {"holes": True, "parts": True, "cut": True, "crowd": True}
SIZE = (64, 80)
FIRST = "train/aachen/aachen_000000_000019"


def file_of(spec: Path, suffix: str = "_gtFine_polygons.json", stem: str = FIRST) -> Path:
    return spec.parent / "gtFine" / f"{stem}{suffix}"


def change(spec: Path, objects: list[Any] | None = None, **changes: Any) -> Path:
    """Rewrites the polygons of the first image; new objects are added to those there are."""
    path = file_of(spec)
    content = json.loads(path.read_text()) | changes
    content["objects"] += objects or []
    path.write_text(json.dumps(content))
    return path


def rectangle(label: Any, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "polygon": corners}


def visible_masks(objects: list[dict[str, Any]], size: tuple[int, int]) -> list[np.ndarray]:
    """What is seen of each object: its pixels without those of all that come after it."""
    masks = []
    for entry in objects:
        canvas = Image.new("1", size[::-1])
        ImageDraw.Draw(canvas).polygon([tuple(p) for p in entry["polygon"]], fill=1)
        masks.append(np.asarray(canvas))
    return [
        mask & ~np.logical_or.reduce([np.zeros(size, dtype=bool), *masks[i + 1 :]])
        for i, mask in enumerate(masks)
    ]


def parts_of(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1


def test_holes_parts_and_cut_objects_reach_the_model(tmp_path):
    spec = make_cityscapes(tmp_path, size=SIZE, **HARD)
    rings = halves = cut = 0
    mapped = map_records(spec)
    for record, item in mapped:
        objects = json.loads(file_of(spec, stem=f"train/{record['image_id']}").read_text())
        seen = visible_masks(objects["objects"], SIZE)
        labels = [entry["label"] for entry in objects["objects"]]
        taught = [i for i, label in enumerate(labels) if label in ("car", "person")]
        np.testing.assert_array_equal(masks_of(item), np.stack([seen[i] for i in taught]))
        own = [a for a in record["annotations"] if not a["iscrowd"]]
        assert [a["id"] for a in own] == taught
        things = categories_of(spec).things
        assert [things[a["category_id"]] for a in own] == [labels[i] for i in taught]
        for index, annotation in zip(taught, own):
            assert annotation["area"] == seen[index].sum()
            x, y, width, height = cv2.boundingRect(seen[index].astype(np.uint8))
            assert annotation["bbox"] == [x, y, width, height]
            rings += labels[index] == "person" and parts_of(~seen[index]) > 1
            halves += labels[index] == "car" and parts_of(seen[index]) > 1
            cut += seen[index][-1].any() or seen[index][:, -1].any()
    assert rings > 2 and halves > 2 and cut > 5
    assert choose_mask_format([mapped[0][0]["dataset"]]) == "bitmask"


def test_semantic_truth_is_that_of_the_label_ids(tmp_path):
    spec = make_cityscapes(tmp_path, size=SIZE, **HARD)
    names = categories_of(spec).semantic
    for record, item in map_records(spec):
        values = np.asarray(Image.open(record["sem_seg_file_name"]))
        assert set(np.unique(values)) == {3, 7, 23, 24, 26}
        semantic = item["sem_seg"].numpy()
        for name in ("road", "sky", "person", "car"):
            np.testing.assert_array_equal(semantic == names.index(name), values == IDS[name])
        np.testing.assert_array_equal(semantic == IGNORE_LABEL, values == IDS["out of roi"])
        masks = [decode_mask(a["segmentation"], *SIZE) for a in record["annotations"]]
        np.testing.assert_array_equal(np.logical_or.reduce(masks), values >= 24)


def test_a_group_is_a_crowd(tmp_path):
    spec = make_cityscapes(tmp_path, crowd=True)
    for record, item in map_records(spec):
        (crowd,) = [a for a in record["annotations"] if a["iscrowd"]]
        assert categories_of(spec).things[crowd["category_id"]] == "car" and crowd["area"] > 100
        assert len(item["instances"]) == len(record["annotations"]) - 1


@pytest.mark.parametrize("keywords", [{}, HARD])
def test_perfect_predictions_score_100(tmp_path, keywords):
    check_perfect_scores(make_cityscapes(tmp_path / "data", **keywords), tmp_path / "predictions")


@pytest.mark.parametrize("keywords", [{}, HARD])
def test_clean_files_have_no_problems(tmp_path, keywords):
    records, found = collect(make_cityscapes(tmp_path, **keywords))
    assert not found and sum(len(r["annotations"]) for r in records) > 10
    assert [r["image_id"] for r in records][:2] == [
        "aachen/aachen_000000_000019",
        "aachen/aachen_000002_000019",
    ]
    assert all(Path(r["file_name"]).is_file() for r in records)


def test_classes_are_those_that_the_benchmark_scores(tmp_path):
    """Train ids 0 to 18 are stuff, then things; 34 labels and the license plate are known."""
    spec = make_cityscapes(tmp_path)
    categories = categories_of(spec)
    assert len(categories.stuff) == 11 and len(categories.things) == 8
    ids = [ALL[name] for name in categories.semantic]
    assert ids == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert categories.thing_dataset_ids == (24, 25, 26, 27, 28, 31, 32, 33)
    assert sorted(ALL.values()) == [*range(34), 255]
    meaning = read_info(read_spec(spec), "train").encoding.meaning
    assert [meaning[i] for i in ids] == list(range(19))
    assert {meaning[i] for i in [*IGNORED.values(), 255]} == {IGNORE_LABEL}


def test_order_of_painting_by_hand(tmp_path):
    spec = make_cityscapes(tmp_path)
    path = file_of(spec)
    objects = [
        rectangle("car", 10, 10, 29, 29),
        rectangle("rider", 20, 20, 39, 39),  # covers a quarter of the car
        rectangle("license plate", 12, 12, 15, 15),  # leaves the car as it is
        rectangle("caravan", 30, 20, 39, 29),  # covers a quarter of the rider, is no class
        {**rectangle("sky", 0, 0, 63, 63), "deleted": 1},
        rectangle("bicycle", 50, 50, 53, 53),
        rectangle("static", 50, 50, 53, 53),  # covers the bicycle wholly
        rectangle("persongroup", 60, 60, 70, 70),
    ]
    path.write_text(json.dumps({"imgHeight": 64, "imgWidth": 64, "objects": objects}))
    records, found = collect(spec)
    assert not found
    things = categories_of(spec).things
    assert [
        (a["id"], things[a["category_id"]], a["iscrowd"], a["bbox"], a["area"])
        for a in records[0]["annotations"]
    ] == [
        (0, "car", 0, [10, 10, 20, 20], 300),
        (1, "rider", 0, [20, 20, 20, 20], 300),
        (7, "person", 1, [60, 60, 4, 4], 16),
    ]


BAD_OBJECTS = {
    "no object": ("car", "class_unknown", "None"),
    "no label": (rectangle(None, 1, 1, 9, 9), "class_unknown", "None"),
    "label": (rectangle("cart", 1, 1, 9, 9), "class_unknown", "Did you mean car"),
    "group": (rectangle("skygroup", 1, 1, 9, 9), "class_unknown", "skygroup"),
    "no polygon": ({"label": "car"}, "segmentation_invalid", "None"),
    "flat list": (
        {"label": "car", "polygon": [1, 2, 3, 4, 5, 6]},
        "segmentation_invalid",
        "[x, y]",
    ),
    "text": ({"label": "car", "polygon": [["a", 1]] * 3}, "segmentation_invalid", "'a'"),
    "two points": ({"label": "car", "polygon": [[1, 1], [9, 9]]}, "polygon_flat", "2 points"),
    "NaN": (rectangle("car", float("nan"), 1, 9, 9), "polygon_hostile", "nan"),
    "infinity": (rectangle("car", 1, 1, 9, float("inf")), "polygon_hostile", "inf"),
    "far": (rectangle("sky", 1, 1, 10**9, 9), "polygon_hostile", "1000000000"),
    "huge": (rectangle("sky", 1, 1, 10**400, 9), "polygon_hostile", "inf"),
}


@pytest.mark.parametrize("name", BAD_OBJECTS)
def test_wrong_objects_are_named_and_left_out(tmp_path, name):
    bad, rule, text = BAD_OBJECTS[name]
    spec = make_cityscapes(tmp_path)
    before = collect(spec)[0][0]["annotations"]
    path = change(spec, [bad])
    records, (problem,) = collect(spec)
    index = len(json.loads(path.read_text())["objects"]) - 1
    assert (problem.rule, problem.file, problem.annotation) == (rule, str(path), index)
    assert (problem.split, problem.image) == ("train", "aachen/aachen_000000_000019")
    assert text in problem.text
    assert records[0]["annotations"] == before


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"imgHeight": 32}, "size_mismatch"),
        ({"imgHeight": 0}, "image_size_invalid"),
        ({"imgHeight": None, "imgWidth": None}, "image_size_invalid"),
        ({"imgWidth": 1e9}, "image_size_invalid"),
    ],
)
def test_wrong_sizes(tmp_path, changes, rule):
    spec = make_cityscapes(tmp_path)
    change(spec, **changes)
    records, (problem,) = collect(spec)
    assert problem.rule == rule and "aachen_000000_000019_gtFine" in problem.file
    assert len(records) == 5


def test_wrong_files_are_named_and_left_out(tmp_path):
    spec = make_cityscapes(tmp_path)
    file_of(spec).write_text('{"objects": 3}')
    file_of(spec, "_gtFine_labelIds.png", FIRST.replace("0000_", "0002_")).write_bytes(b"no image")
    records, found = collect(spec)
    assert [p.rule for p in found] == ["file_invalid", "image_unreadable"]
    assert len(records) == 4


def test_files_without_a_partner(tmp_path):
    spec = make_cityscapes(tmp_path)
    file_of(spec, "_gtFine_labelIds.png").unlink()
    polygons = file_of(spec, stem=FIRST.replace("0000_", "0002_"))
    polygons.unlink()
    records, found = collect(spec)
    assert len(records) == 4
    assert [(p.rule, Path(p.file).name) for p in found] == [
        ("unpaired", "aachen_000002_000019_leftImg8bit.png"),
        ("unpaired", "aachen_000000_000019_gtFine_polygons.json"),
    ]
    assert str(polygons) in found[0].text
    assert "aachen_000000_000019_gtFine_labelIds.png" in found[1].text


def test_a_label_id_outside_of_the_table(tmp_path):
    spec = make_cityscapes(tmp_path)
    path = file_of(spec, "_gtFine_labelIds.png")
    values = np.array(Image.open(path))
    values[5:9, 5:9] = 77
    Image.fromarray(values).save(path)
    with pytest.raises(DatasetError, match=r"77 \(0\.4%\)") as error:
        read_semantic(collect(spec)[0][0], read_info(read_spec(spec), "train"))
    assert error.value.problem.rule == "label_unexplained"


def test_no_image_is_needed_for_scoring(tmp_path):
    spec = make_cityscapes(tmp_path / "data", **HARD)
    shutil.rmtree(tmp_path / "data" / "leftImg8bit")
    check_perfect_scores(spec, tmp_path / "predictions")


def test_a_folder_without_polygons(tmp_path):
    spec = make_cityscapes(tmp_path)
    shutil.rmtree(tmp_path / "gtFine/train/aachen")
    shutil.rmtree(tmp_path / "gtFine/train/bochum")
    with pytest.raises(DatasetError, match=r"no files \*_gtFine_polygons\.json"):
        collect(spec)
