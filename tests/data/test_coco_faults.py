"""What is wrong in a COCO file: all of it is found in one run, or the first is raised."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import factories
from project.data.dataset import read_info, read_records
from project.data.problems import Problem, Problems
from project.data.records import Record
from project.data.spec import read_spec
from project.errors import DatasetError

NAN, INF = float("nan"), float("inf")


def rle(counts: Any, size: tuple[Any, Any] = (64, 64)) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


def read(spec: Path, *, strict: bool = False) -> tuple[list[Record], list[Problem]]:
    """The records of the train split, and what was reported."""
    problems = Problems(strict=strict)
    records = read_records(read_info(read_spec(spec), "train"), problems)
    return records, problems.found


def change(spec: Path, key: str, index: int, **fields: Any) -> None:
    """Rewrites fields of one entry of a list of the file; `...` removes one."""
    path = spec.parent / "train.json"
    content = json.loads(path.read_text())
    entry = {**content[key][index], **fields}
    content[key][index] = {k: v for k, v in entry.items() if v is not ...}
    path.write_text(json.dumps(content))


def ids(records: list[Record]) -> list[Any]:
    return [a["id"] for r in records for a in r["annotations"]]


@pytest.mark.parametrize(
    ("field", "value", "rule", "message"),
    [
        ("image_id", 99, "image_unknown", "its image_id is 99; expected the id of one"),
        ("image_id", ..., "image_unknown", "its image_id is None"),
        ("image_id", True, "image_unknown", "its image_id is True"),
        ("image_id", [10], "image_unknown", r"its image_id is \[10\]"),
        ("category_id", 4, "class_unknown", r"is 4; expected one of 3 \(square\), 7 \(disc\)"),
        ("category_id", 3.0, "class_unknown", r"is 3\.0; expected one of"),
        ("category_id", 1.7, "class_unknown", r"is 1\.7; expected one of"),
        ("category_id", True, "class_unknown", "is True; expected one of"),
        ("category_id", "3", "class_unknown", "is '3'; expected one of"),
        ("id", 2.5, "file_invalid", r"an annotation has the id 2\.5"),
        ("bbox", [1, 2, 3], "box_invalid", r"its bbox is \[1, 2, 3\]; expected \[x, y, width"),
        ("bbox", [1, 2, -3, 4], "box_invalid", r"\[1, 2, -3, 4\]"),
        ("bbox", [1, 2, 3, 0], "box_invalid", "sizes above zero"),
        ("bbox", [1, 2, NAN, 4], "box_invalid", "nan"),
        ("bbox", [1, 2, INF, 4], "box_invalid", "inf"),
        ("bbox", ["1", 2, 3, 4], "box_invalid", "'1'"),
        ("bbox", [1, 2, True, 4], "box_invalid", "True"),
        ("bbox", [10**400, 2, 3, 4], "box_invalid", "its bbox is"),
        ("bbox", None, "box_invalid", "its bbox is None"),
        ("area", NAN, "area_invalid", "its area is nan"),
        ("area", -1, "area_invalid", "its area is -1"),
        ("area", "400", "area_invalid", "its area is '400'"),
        ("area", 10**400, "area_invalid", "its area is"),
        ("iscrowd", "0", "crowd_invalid", "its iscrowd is '0'; expected 0, or 1"),
        ("iscrowd", 2, "crowd_invalid", "its iscrowd is 2"),
        ("segmentation", [[1, 2, NAN, 4, 5, 6]], "polygon_hostile", "nan, far outside"),
        ("segmentation", [[1, 2, -INF, 4, 5, 6]], "polygon_hostile", "inf, far outside"),
        ("segmentation", [[1, 2, 1e9, 4, 5, 6]], "polygon_hostile", "expected 0 to 64 across"),
        ("segmentation", [[1, 2, 10**400, 4, 5, 6]], "polygon_hostile", "far outside"),
        ("segmentation", [1, 2, 3, 4, 5, 6], "segmentation_invalid", "it has the polygon 1;"),
        ("segmentation", [[1, 2, 3]], "segmentation_invalid", r"the polygon \[1, 2, 3\]"),
        ("segmentation", [[1, 2, 3, 4, 5, "6"]], "segmentation_invalid", "'6'"),
        ("segmentation", [[[1, 2], [3, 4], [5, 6]]], "segmentation_invalid", "three points"),
        ("segmentation", [[True, 2, 3, 4, 5, 6]], "segmentation_invalid", "three points"),
        ("segmentation", "", "segmentation_invalid", r"is '' \(str\); expected polygons or run"),
        ("segmentation", 7, "segmentation_invalid", r"is 7 \(int\)"),
        ("segmentation", {"a": 1}, "segmentation_invalid", r"the keys \['a'\]"),
        (
            "segmentation",
            {"size": [64, 64], "png": "/etc/hostname", "id": 0},
            "segmentation_invalid",
            "expected size and counts",
        ),
        ("segmentation", rle([9]), "rle_damaged", "sum to 9; expected 64 x 64 = 4096; export"),
        ("segmentation", rle("zz"), "rle_damaged", "the counts 'zz'"),
        ("segmentation", rle(None), "rle_damaged", "the counts None"),
        ("segmentation", rle([4100, -4]), "rle_damaged", "negative"),
        ("segmentation", rle([4096.0]), "rle_damaged", "the counts"),
        ("segmentation", rle([2**62] * 4), "rle_damaged", "longer than the image"),
        ("segmentation", rle([4096], (64, 63)), "rle_size", r"\[64, 63\]; expected .* \[64, 64\]"),
        ("segmentation", rle([2**40], (2**20, 2**20)), "rle_size", "1048576"),
        ("segmentation", rle([4096], (64.0, 64)), "rle_size", r"64\.0"),
        ("segmentation", rle([4096], ("64", 64)), "rle_size", "'64'"),
        ("segmentation", [], "segmentation_missing", r"it has no segmentation, as 1 of \d+"),
        ("segmentation", None, "segmentation_missing", "one for all objects, or for none"),
        ("segmentation", ..., "segmentation_missing", "outline the object"),
    ],
)
def test_a_wrong_annotation_is_told_and_left_out(tmp_path, field, value, rule, message):
    spec = factories.make_coco(tmp_path)
    whole = ids(read(spec)[0])
    assert len(whole) > 10 and whole[0] == 1
    change(spec, "annotations", 0, **{field: value})
    with pytest.raises(DatasetError) as raised:
        read(spec, strict=True)
    text = str(raised.value)
    assert raised.value.problem.rule == rule and text.count(" (image 000.png)") <= 1
    assert (" (image 000.png)" in text) == (field != "image_id"), "known by its file, not its id"
    assert re.search(message, text.replace(" (image 000.png)", ""))
    records, (problem,) = read(spec)
    assert problem.text == text
    assert (problem.rule, problem.file) == (rule, str(tmp_path / "train.json"))
    assert problem.annotation == (None if field == "id" else 1)
    assert problem.image == (None if field == "image_id" else 10)
    assert problem.split == "train"
    # What its mask tells too is measured from it.
    kept = rule in ("box_invalid", "area_invalid")
    assert ids(records) == whole[0 if kept else 1 :]


@pytest.mark.parametrize(
    ("fields", "rule", "message"),
    [
        ({"id": None}, "file_invalid", "at position 1 of its list is .*'000.png'"),
        ({"id": True}, "file_invalid", "at position 1"),
        ({"file_name": ...}, "file_invalid", "and a file_name"),
        ({"file_name": ""}, "file_invalid", "at position 1"),
        ({"file_name": "http://example.org/a.png"}, "image_missing", "nothing is fetched"),
        ({"height": 0}, "image_size_invalid", "the height 0; expected 1 to"),
        ({"width": 1e6}, "image_size_invalid", r"the width 1000000\.0"),
        ({"width": 10**6}, "image_size_invalid", "the width 1000000"),
        ({"width": NAN}, "image_size_invalid", "the width nan"),
        ({"width": "64"}, "image_size_invalid", "the width '64'"),
        ({"height": 8000, "width": 8000}, "image_too_large", "64000000 pixels; expected at most"),
    ],
)
def test_a_wrong_image_is_told_once_and_left_out(tmp_path, fields, rule, message):
    """What is annotated in it is no news."""
    spec = factories.make_coco(tmp_path)
    whole = [r["image_id"] for r in read(spec)[0]]
    change(spec, "images", 0, **fields)
    with pytest.raises(DatasetError, match=message) as raised:
        read(spec, strict=True)
    assert raised.value.problem.rule == rule
    records, found = read(spec)
    assert [r["image_id"] for r in records] == whole[1:]
    told = [p for p in found if p.rule == rule]
    assert len(told) == 1 and told[0].file == str(tmp_path / "train.json")
    if "id" not in fields:
        assert (len(found), told[0].image) == (1, 10)


def test_two_images_of_one_id(tmp_path):
    """Whose the annotations are, nobody knows."""
    spec = factories.make_coco(tmp_path)
    before = [r["image_id"] for r in read(spec)[0]]
    change(spec, "images", 1, id=10)
    records, found = read(spec)
    assert found[0].rule == "image_id_duplicate"
    assert "two images have the id 10: 000.png and 001.png" in found[0].text
    assert {p.rule for p in found[1:]} == {"image_unknown"}
    assert [r["image_id"] for r in records] == before[2:]


@pytest.mark.parametrize("name", ["000.png", "./000.png"])
def test_one_file_listed_twice(tmp_path, name):
    spec = factories.make_coco(tmp_path)
    before = [r["image_id"] for r in read(spec)[0]]
    change(spec, "images", 1, file_name=name)
    records, (problem,) = read(spec)
    assert (problem.rule, problem.image) == ("image_listed_twice", 11)
    assert [r["image_id"] for r in records] == [10, *before[2:]]


def test_two_annotations_of_one_id(tmp_path):
    spec = factories.make_coco(tmp_path)
    whole = ids(read(spec)[0])
    change(spec, "annotations", 1, id=1)
    records, (problem,) = read(spec)
    assert (problem.rule, problem.annotation) == ("annotation_id_duplicate", 1)
    assert ids(records) == [1, *whole[2:]]


def test_all_faults_of_one_annotation_are_told(tmp_path):
    spec = factories.make_coco(tmp_path)
    change(spec, "annotations", 0, bbox=[0, 0, 0, 0], area=NAN, segmentation=rle([1]))
    change(spec, "annotations", 1, image_id=99, category_id=99)
    found = [(p.annotation, p.rule) for p in read(spec)[1]]
    assert found == [
        *((1, "rle_damaged"), (1, "box_invalid"), (1, "area_invalid")),
        *((2, "image_unknown"), (2, "class_unknown")),
    ]


def test_missing_fields_are_told_once(tmp_path):
    spec = factories.make_coco(tmp_path)
    for index in (0, 1, 2):
        change(spec, "annotations", index, area=..., iscrowd=...)
    records, found = read(spec)
    assert {(p.rule, p.level, p.found.split(";")[0]) for p in found} == {
        ("field_missing", "warning", "3 annotations have no area"),
        ("field_missing", "warning", "3 annotations have no iscrowd"),
    }
    assert len(found) == 2 and ids(records)[:3] == [1, 2, 3]


def test_boxes_alone_are_no_fault(tmp_path):
    spec = factories.make_coco(tmp_path)
    for index in range(len(ids(read(spec)[0]))):
        change(spec, "annotations", index, segmentation=[])
    records, found = read(spec)
    assert not found and len(ids(records)) > 10


def test_a_box_or_a_mask_is_needed(tmp_path):
    spec = factories.make_coco(tmp_path)
    change(spec, "annotations", 0, segmentation=..., bbox=...)
    _, (problem,) = read(spec)
    assert problem.rule == "box_invalid" and "neither a segmentation nor a bbox" in problem.found


def test_images_without_label_map_are_left_out(tmp_path):
    spec = factories.make_coco(tmp_path, labels=True)
    for stem in ("000", "003"):
        (tmp_path / "labels" / "train" / f"{stem}.png").unlink()
    records, found = read(spec)
    assert [p.rule for p in found] == ["unpaired", "unpaired"]
    assert [Path(p.file).name for p in found] == ["000.png", "003.png"]
    assert len(records) == 4


def test_sizes_that_cannot_be_read(tmp_path):
    spec = factories.make_coco(tmp_path)
    change(spec, "images", 0, width=...)
    (tmp_path / "images" / "train" / "000.png").unlink()
    records, (problem,) = read(spec)
    assert problem.file.endswith("000.png") and problem.level == "error"
    assert len(records) == 5
