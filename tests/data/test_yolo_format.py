"""YOLO's text files: what they hold arrives whole, and what is wrong with them is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from factories_yolo import make_yolo
from format_checks import categories_of, check_perfect_scores, collect, map_records, masks_of
from hard_scenes import hard_scenes
from project.data.labels import decode_mask
from project.data.register import choose_mask_format
from project.errors import DatasetError

SQUARE = "0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"
HARD = {"holes": True, "parts": True, "cut": True}


def write_lines(spec: Path, *lines: str, image: str = "000") -> Path:
    """Puts lines in the place of those of an image of the split train."""
    path = spec.parent / "labels" / "train" / f"{image}.txt"
    path.write_text("\n".join(lines))
    return path


def change_names(spec: Path, names) -> None:
    (spec.parent / "data.yaml").write_text(yaml.safe_dump({"names": names}, sort_keys=False))


def change_spec(spec: Path, **changes) -> None:
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | changes))


def test_holes_parts_and_cut_objects_reach_the_model(tmp_path):
    spec = make_yolo(tmp_path, size=(64, 80), **HARD)
    scenes = hard_scenes(np.random.default_rng(0), 6, (64, 80), **HARD)
    rings = halves = cut = 0
    for (record, item), (_, shapes) in zip(map_records(spec), scenes, strict=True):
        expected = np.stack([shape["mask"] for shape in shapes])
        found = masks_of(item)
        # A bridge of no width is drawn as a line at most.
        assert (found & expected).sum() > 0.97 * (found | expected).sum()
        semantic = np.zeros((64, 80), dtype=int)
        for mask, annotation in zip(found, record["annotations"]):
            semantic[mask] = 1 + annotation["category_id"]
        np.testing.assert_array_equal(item["sem_seg"].numpy(), semantic)
        for shape, mask in zip(shapes, found):
            outside = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)[0] - 1
            rings += shape["kind"] == "disc" and outside > 1
            halves += len(shape["polygons"]) > 1
            cut += mask[-1].any() or mask[:, -1].any()
    assert rings > 2 and halves > 2 and cut > 5
    assert choose_mask_format([record["dataset"]]) == "polygon"


def test_plain_polygons_are_exact(tmp_path):
    spec = make_yolo(tmp_path, size=(64, 80))
    scenes = hard_scenes(np.random.default_rng(0), 6, (64, 80))
    for (record, item), (_, shapes) in zip(map_records(spec), scenes, strict=True):
        expected = np.stack([shape["mask"] for shape in shapes])
        np.testing.assert_array_equal(masks_of(item), expected)
        assert [a["area"] for a in record["annotations"]] == expected.sum(axis=(1, 2)).tolist()
        assert [a["bbox"] for a in record["annotations"]] == [
            factories._bbox(mask) for mask in expected
        ]


@pytest.mark.parametrize("keywords", [{}, HARD])
def test_perfect_predictions_score_100(tmp_path, keywords):
    check_perfect_scores(make_yolo(tmp_path / "data", **keywords), tmp_path / "predictions")


def test_clean_files_have_no_problems(tmp_path):
    for number, keywords in enumerate([{}, HARD, {"boxes": True}]):
        records, found = collect(make_yolo(tmp_path / str(number), **keywords))
        assert not found and sum(len(r["annotations"]) for r in records) > 10


def test_values_by_hand(tmp_path):
    """Fractions are of the width, then of the height; a box is its centre and its size."""
    spec = make_yolo(tmp_path, size=(40, 80))
    for split in ("train", "val"):
        for path in (tmp_path / "labels" / split).glob("*.txt"):
            path.write_text("")
    write_lines(spec, "", f"1 {SQUARE}\r")
    (annotation,) = collect(spec)[0][0]["annotations"]
    assert annotation["id"] == 2 and annotation["category_id"] == 1
    assert annotation["segmentation"] == [[20, 10, 60, 10, 60, 30, 20, 30]]
    assert annotation["bbox"] == [20, 10, 40, 20] and annotation["area"] == 800
    assert decode_mask(annotation["segmentation"], 40, 80)[10:30, 20:60].all()
    write_lines(spec, "0.0 0.5 0.25 0.5 0.5")
    (annotation,) = collect(spec)[0][0]["annotations"]
    assert annotation["bbox"] == [20, 0, 40, 20] and annotation["area"] == 800
    assert "segmentation" not in annotation


@pytest.mark.parametrize(("exif", "size"), [("auto", (80, 40)), ("ignore", (40, 80))])
def test_fractions_are_of_the_image_as_it_is_turned(tmp_path, exif, size):
    spec = make_yolo(tmp_path, size=(40, 80))
    change_spec(spec, exif=exif)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    path = tmp_path / "images/train/000.png"
    Image.open(path).save(path, exif=turned)
    write_lines(spec, f"1 {SQUARE}")
    record, item = map_records(spec)[0]
    height, width = size
    assert (record["height"], record["width"]) == item["image"].shape[1:] == size
    assert record["annotations"][0]["bbox"] == [width / 4, height / 4, width / 2, height / 2]


def test_images_without_lines_are_images_without_objects(tmp_path):
    spec = make_yolo(tmp_path)
    (tmp_path / "labels/train/000.txt").unlink()
    write_lines(spec, " ", "", image="001")
    (tmp_path / "labels/train/classes.txt").write_text("square\ndisc\n")
    records, found = collect(spec)
    assert not found and len(records) == 6
    assert [not record["annotations"] for record in records] == [True] * 2 + [False] * 4


def test_names_may_have_gaps_and_things_choose(tmp_path):
    spec = make_yolo(tmp_path)
    change_names(spec, {4: "cat", 1: "disc", 0: "square"})
    assert categories_of(spec).thing_dataset_ids == (0, 1, 4)
    change_spec(spec, things=["disc"])
    categories = categories_of(spec)
    assert categories.semantic == ("background", "disc") and categories.thing_dataset_ids == (1,)
    records, found = collect(spec)
    assert {a["category_id"] for r in records for a in r["annotations"]} == {0}
    assert [p.rule for p in found] == ["class_left_out"] and "square" in found[0].found


def test_splits_are_matched_by_name(tmp_path):
    spec = make_yolo(tmp_path)
    (tmp_path / "val.yaml").write_text("names: [disc, square]")
    splits = yaml.safe_load(spec.read_text())["splits"]
    splits["val"]["names"] = "val.yaml"
    change_spec(spec, splits=splits)
    train, val = (categories_of(spec, split) for split in ("train", "val"))
    assert train.things == val.things == ("square", "disc")
    assert (train.thing_dataset_ids, val.thing_dataset_ids) == ((0, 1), (1, 0))
    (tmp_path / "val.yaml").write_text("names: [disc, cube]")
    with pytest.raises(DatasetError, match="does not name square") as error:
        categories_of(spec, "val")
    assert error.value.problem.rule == "class_missing"


BAD_LINES = {
    "2 " + SQUARE: ("class_unknown", "0 (square), 1 (disc)"),
    "0.5 " + SQUARE: ("class_unknown", "'0.5'"),
    "-1 " + SQUARE: ("class_unknown", "'-1'"),
    "nan " + SQUARE: ("class_unknown", "'nan'"),
    "square " + SQUARE: ("class_unknown", "'square'"),
    "0 0.1 0.1 0.9 nan 0.9 0.9": ("polygon_hostile", "nan"),
    "0 0.1 0.1 0.9 inf 0.9 0.9": ("polygon_hostile", "inf"),
    "0 0.1 0.1 0.9 1e9 0.9 0.9": ("polygon_hostile", "1e+09"),
    "0 0.1,0.1 0.9,0.1 0.9,0.9": ("segmentation_invalid", "'0.1,0.1' is no number"),
    "0 16 16 48 16 48 48": ("polygon_normalised", "divide x by the width"),
    "0 0.1 0.1 1.3 0.1 1.3 0.9": ("polygon_normalised", "1.3"),
    "0 0.1 0.1 0.9 0.1 0.9 0.9 0.5": ("segmentation_invalid", "7 coordinates"),
    "0 0.1 0.1": ("polygon_flat", "1 points"),
    "0": ("polygon_flat", "0 points"),
    "0 0.5 0.5 0.2 0.2": ("segmentation_missing", "box"),
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_wrong_lines_are_named_and_left_out(tmp_path, line):
    spec = make_yolo(tmp_path)
    path = write_lines(spec, f"0 {SQUARE}", "", line)
    records, (problem,) = collect(spec)
    rule, text = BAD_LINES[line]
    assert (problem.rule, problem.file, problem.annotation) == (rule, str(path), 3)
    assert (problem.split, problem.image) == ("train", "000")
    assert text in problem.text
    assert [a["id"] for a in records[0]["annotations"]] == [1]


def test_a_box_without_a_size_is_refused(tmp_path):
    spec = make_yolo(tmp_path, boxes=True)
    write_lines(spec, "0 0.5 0.5 0 0.1")
    _, (problem,) = collect(spec)
    assert (problem.rule, problem.annotation) == ("box_invalid", 1)


def test_training_stops_at_the_first_wrong_line(tmp_path):
    spec = make_yolo(tmp_path)
    path = write_lines(spec, "7 " + SQUARE)
    with pytest.raises(DatasetError, match="annotation 1: its class is '7'") as error:
        map_records(spec)
    assert str(path) in str(error.value)


def test_files_without_a_partner(tmp_path):
    spec = make_yolo(tmp_path)
    (tmp_path / "labels/train/typo.txt").write_text("0 " + SQUARE)
    _, (problem,) = collect(spec)
    assert problem.rule == "unpaired" and problem.file.endswith("typo.txt")


def test_damaged_files_are_named(tmp_path):
    spec = make_yolo(tmp_path)
    (tmp_path / "labels/train/000.txt").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "images/train/001.png").write_bytes(b"no image")
    records, found = collect(spec)
    assert [(p.rule, Path(p.file).name) for p in found] == [
        ("file_invalid", "000.txt"),
        ("image_unreadable", "001.png"),
    ]
    assert [record["image_id"] for record in records] == ["002", "003", "004", "005"]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "classes_missing"),
        ("nc: 2", "classes_missing"),
        ("names: []", "classes_missing"),
        ("names: square", "classes_missing"),
        ("names: [square, square]", "class_duplicate"),
        ("names: {0: square, 0: disc}", "classes_missing"),
        ("names: {a: square}", "class_unknown"),
        ("names: [no, disc]", "class_unknown"),
        ("names: !!python/object/apply:os.system [touch ran]", "classes_missing"),
    ],
)
def test_wrong_names(tmp_path, content, rule):
    spec = make_yolo(tmp_path)
    path = tmp_path / "data.yaml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DatasetError, match=r"data\.yaml") as error:
        categories_of(spec)
    assert error.value.problem.rule == rule
    assert not Path("ran").exists()


def test_a_class_cannot_be_both_countable_and_stuff(tmp_path):
    spec = make_yolo(tmp_path)
    change_spec(spec, stuff=["disc"])
    with pytest.raises(DatasetError, match="'disc' is both countable and stuff"):
        categories_of(spec)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_empty_folders(tmp_path, folder):
    spec = make_yolo(tmp_path)
    for path in (tmp_path / folder / "train").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=f"splits.train.{folder}: there are no"):
        collect(spec)
