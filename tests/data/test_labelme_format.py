"""labelme's json files: what they hold arrives whole, and what is wrong with them is named."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from factories_labelme import make_labelme, mask_entry
from format_checks import categories_of, check_perfect_scores, collect, map_records, masks_of
from hard_scenes import hard_scenes
from project.data.categories import IGNORE_LABEL
from project.data.labels import decode_mask
from project.errors import DatasetError

HARD = {"holes": True, "parts": True, "cut": True, "crowd": True}
CORNERS = [[8, 8], [30, 8], [30, 20], [8, 20]]


def change(spec: Path, shapes: list[Any] | None = None, image: str = "000", **changes: Any) -> Path:
    """Rewrites the json of an image of the split train."""
    path = spec.parent / "train" / f"{image}.json"
    content = json.loads(path.read_text()) | changes
    content["shapes"] = content["shapes"] if shapes is None else shapes
    path.write_text(json.dumps(content))
    return path


def shape(label: Any = "disc", **changes: Any) -> dict[str, Any]:
    return {"label": label, "points": CORNERS, "shape_type": "polygon"} | changes


def read_shapes(tmp_path: Path, *shapes: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """The objects of an image of 64 x 64 pixels, and what is wrong with it."""
    spec = make_labelme(tmp_path)
    change(spec, list(shapes))
    records, found = collect(spec)
    return records[0]["annotations"], found


def mask_of(annotation: dict[str, Any]) -> np.ndarray:
    return decode_mask(annotation["segmentation"], 64, 64)


def test_holes_parts_cut_objects_and_ignored_regions_reach_the_model(tmp_path):
    spec = make_labelme(tmp_path, size=(64, 80), **HARD)
    scenes = hard_scenes(np.random.default_rng(0), 6, (64, 80), **HARD)
    rings = halves = cut = ignored = 0
    for (_, item), (_, shapes) in zip(map_records(spec), scenes, strict=True):
        semantic = np.zeros((64, 80), dtype=int)
        for entry in sorted(shapes, key=lambda s: -s["iscrowd"]):
            value = 1 + ["disc", "square"].index(entry["kind"])
            semantic[entry["mask"]] = IGNORE_LABEL if entry["iscrowd"] else value
        np.testing.assert_array_equal(item["sem_seg"].numpy(), semantic)
        taught = [entry for entry in shapes if not entry["iscrowd"]]
        expected = np.stack([entry["mask"] for entry in taught])
        np.testing.assert_array_equal(masks_of(item), expected)
        rings += sum(bool(entry["holes"]) for entry in taught)
        halves += sum(len(entry["polygons"]) > 1 for entry in taught)
        cut += int((expected[:, -1].any(axis=1) | expected[:, :, -1].any(axis=1)).sum())
        ignored += (semantic == IGNORE_LABEL).any()
    assert rings > 2 and halves > 2 and cut > 5 and ignored == 6


@pytest.mark.parametrize("keywords", [{}, HARD])
def test_perfect_predictions_score_100(tmp_path, keywords):
    check_perfect_scores(make_labelme(tmp_path / "data", **keywords), tmp_path / "predictions")


@pytest.mark.parametrize("keywords", [{}, HARD])
def test_clean_files_have_no_problems(tmp_path, keywords):
    records, found = collect(make_labelme(tmp_path, **keywords))
    assert not found and sum(len(r["annotations"]) for r in records) > 10


def test_detections_in_an_ignored_region_do_not_count(tmp_path):
    """It is a crowd of every class."""
    annotations, found = read_shapes(tmp_path, shape(), shape("__ignore__"))
    assert not found
    assert [a["id"] for a in annotations] == [0, "1 as disc", "1 as square"]
    assert [(a["category_id"], a["iscrowd"]) for a in annotations] == [(0, 0), (0, 1), (1, 1)]


def test_types_of_shapes_by_hand(tmp_path):
    box = np.zeros((64, 64), dtype=bool)
    box[8:20, 8:30] = True
    ring = box.copy()
    ring[12:16, 12:20] = False
    annotations, found = read_shapes(
        tmp_path,
        shape(),
        {"label": "disc", "points": CORNERS},  # the first versions state no type
        shape(shape_type="rectangle", points=[[30, 20], [8, 8]]),
        shape(shape_type="rectangle"),
        shape(shape_type="circle", points=[[32, 32], [32, 52]]),
        shape(shape_type="mask", **mask_entry(ring)),
    )
    assert not found and [a["id"] for a in annotations] == [0, 1, 2, 3, 4, 5]
    for annotation in annotations[:4]:
        np.testing.assert_array_equal(mask_of(annotation), box)
        assert annotation["bbox"] == [8, 8, 22, 12] and annotation["area"] == 264
    rows, columns = np.mgrid[:64, :64] + 0.5
    disc = np.hypot(rows - 32, columns - 32) < 20
    assert (mask_of(annotations[4]) ^ disc).sum() < 0.03 * disc.sum()
    np.testing.assert_array_equal(mask_of(annotations[5]), ring)
    assert annotations[5]["area"] == 232 and annotations[5]["bbox"] == [8, 8, 22, 12]


def test_shapes_of_one_group_are_one_object(tmp_path):
    """Groups are counted for each label; a mask and a polygon become one region of pixels."""
    far = np.zeros((64, 64), dtype=bool)
    far[40:50, 40:60] = True
    annotations, found = read_shapes(
        tmp_path,
        shape(group_id=0),
        shape("square", group_id=0),
        shape(group_id=0, points=[[40, 40], [60, 40], [60, 50], [40, 50]]),
        shape(group_id=1),
        shape(group_id=1, shape_type="mask", **mask_entry(far)),
        shape(),
        shape(),
    )
    assert not found
    assert [(a["id"], a["category_id"]) for a in annotations] == [
        *((0, 0), (1, 1), (3, 0), (5, 0), (6, 0))
    ]
    assert len(annotations[0]["segmentation"]) == 2
    for annotation in (annotations[0], annotations[2]):
        mask = mask_of(annotation)
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 3
        assert annotation["area"] == mask.sum() == 264 + 200


def test_a_mask_beyond_the_border_is_cut(tmp_path):
    whole = np.ones((10, 10), dtype=bool)
    moved = {**mask_entry(whole), "points": [[-4, 58], [5, 67]]}
    (annotation,), found = read_shapes(tmp_path, shape(shape_type="mask", **moved))
    assert not found and annotation["bbox"] == [0, 58, 6, 6] and annotation["area"] == 36


def test_classes_are_those_of_all_splits_or_chosen(tmp_path):
    spec = make_labelme(tmp_path)
    change(spec, [shape("apple"), shape("_background_"), shape("__ignore__")])
    for split in ("train", "val"):
        assert categories_of(spec, split).things == ("apple", "disc", "square")
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | {"things": ["disc", "pear"]}))
    assert categories_of(spec, "val").things == ("disc", "pear")
    _, found = collect(spec)
    assert [p.rule for p in found] == ["class_left_out"] * 3
    assert {p.found.split()[-1] for p in found} == {"apple", "square", "_background_"}


def test_images_are_found_and_sizes_read(tmp_path):
    spec = make_labelme(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    change(spec, imagePath="..\\pictures\\000.png", imageHeight=None, imageWidth=None)
    change(spec, imagePath="001.json", image="001")
    change(spec, imagePath="other.png", image="002")
    (tmp_path / "train/002.png").rename(tmp_path / "train/other.png")
    names = [Path(r["file_name"]).name for r in collect(spec)[0]]
    assert names[:4] == ["000.png", "001.png", "other.png", "003.png"]
    for path in (tmp_path / "train").glob("*.png"):
        path.rename(images / path.name)
    content = yaml.safe_load(spec.read_text())
    content["splits"]["train"]["images"] = "images"
    spec.write_text(yaml.safe_dump(content))
    records, found = collect(spec)
    assert not found and len(records) == 6
    assert all(Path(r["file_name"]).is_file() for r in records)
    assert {(r["height"], r["width"]) for r in records} == {(64, 64)}
    (images / "000.png").unlink()
    _, (problem,) = collect(spec)
    assert problem.rule == "image_missing"  # only it had no size


BAD_SHAPES = {
    "no object": (7, "class_unknown", "no label"),
    "no label": (shape(None), "class_unknown", "no label"),
    "group": (shape(group_id=[1]), "segmentation_invalid", "group_id is [1]"),
    "type": (shape(shape_type="ellipse"), "segmentation_invalid", "polygon, rectangle, circle"),
    "line": (shape(shape_type="linestrip"), "polygon_flat", "linestrip"),
    "two points": (shape(points=CORNERS[:2]), "polygon_flat", "2 points"),
    "no points": (shape(points=None), "segmentation_invalid", "None"),
    "flat points": (shape(points=[1, 2, 3, 4, 5, 6]), "segmentation_invalid", "[x, y]"),
    "text": (shape(points=[*CORNERS, ["1", 2]]), "segmentation_invalid", "polygon"),
    "NaN": (shape(points=[*CORNERS, [float("nan"), 2]]), "polygon_hostile", "nan"),
    "infinity": (shape(points=[*CORNERS, [2, -float("inf")]]), "polygon_hostile", "-inf"),
    "far": (shape(points=[*CORNERS, [1e9, 2]]), "polygon_hostile", "1000000000"),
    "circle": (shape(shape_type="circle"), "segmentation_invalid", "4 points"),
    "no mask": (shape(shape_type="mask", points=CORNERS[::2]), "segmentation_invalid", "decoded"),
    "no png": (
        shape(shape_type="mask", points=CORNERS[::2], mask="aGVsbG8="),
        *("segmentation_invalid", "decoded"),
    ),
    "mask size": (
        shape(shape_type="mask", points=CORNERS[::2], mask=mask_entry(np.ones((4, 5)))["mask"]),
        *("size_mismatch", "4 x 5"),
    ),
    "empty mask": (
        shape(shape_type="mask", **mask_entry(np.ones((9, 9))) | {"points": [[70, 3], [78, 11]]}),
        *("mask_empty", "no pixel"),
    ),
}


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_wrong_shapes_are_named_and_left_out(tmp_path, name):
    bad, rule, text = BAD_SHAPES[name]
    annotations, (problem,) = read_shapes(tmp_path, shape(), bad)
    assert (problem.rule, problem.annotation, problem.image) == (rule, 1, "000")
    assert problem.file == str(tmp_path / "train" / "000.json")
    assert text in problem.text
    assert [a["id"] for a in annotations] == [0]


def test_an_object_with_a_wrong_part_is_left_out(tmp_path):
    bad = shape(group_id=1, points=[[1, 2], [3, 1e8], [4, 4]])
    annotations, (problem,) = read_shapes(tmp_path, shape(group_id=1), bad, shape(group_id=2))
    assert problem.annotation == 1 and [a["id"] for a in annotations] == [2]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "file_invalid"),
        ("[" * 100_000, "file_invalid"),
        ("[]", "file_invalid"),
        ('{"images": [], "annotations": []}', "file_invalid"),
        ('{"shapes": [], "imageHeight": 0, "imageWidth": 5}', "image_size_invalid"),
        ('{"shapes": [], "imageHeight": NaN, "imageWidth": 5}', "image_size_invalid"),
        ('{"shapes": [], "imageHeight": 5}', "image_size_invalid"),
    ],
)
def test_wrong_files_are_named_and_left_out(tmp_path, text, rule):
    spec = make_labelme(tmp_path)
    (tmp_path / "train" / "000.json").write_text(text)
    records, (problem,) = collect(spec)
    assert (problem.rule, Path(problem.file).name) == (rule, "000.json")
    assert len(records) == 5
    with pytest.raises(DatasetError, match=r"000\.json"):
        map_records(spec)


def test_folders_without_labels(tmp_path):
    spec = make_labelme(tmp_path)
    for path in tmp_path.rglob("*.json"):
        path.write_text('{"shapes": []}')
    with pytest.raises(DatasetError, match="none of its json files") as error:
        categories_of(spec)
    assert error.value.problem.rule == "classes_missing"
    for path in (tmp_path / "train").glob("*.json"):
        path.unlink()
    with pytest.raises(DatasetError, match="there are no json files"):
        categories_of(spec)


def test_no_image_is_needed_for_scoring(tmp_path):
    spec = make_labelme(tmp_path / "data")
    for path in (tmp_path / "data").rglob("*.png"):
        path.unlink()
    check_perfect_scores(spec, tmp_path / "predictions")
