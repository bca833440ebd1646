"""Checks of objects: each rule names file and annotation, and sensible data raises nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factories
from project.data.checks.objects import check_objects
from project.data.dataset import DatasetInfo, read_info, read_records
from project.data.masks import decode_mask, encode_mask, measure_mask
from project.data.problems import Problem, Problems
from project.data.records import Annotation, Record
from project.data.spec import parse_spec, read_spec

# numpy 2.4 warns of how pycocotools makes arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Change = Callable[[Annotation], Any]


def load(spec: Path, split: str = "train") -> tuple[DatasetInfo, list[Record]]:
    info = read_info(read_spec(spec), split)
    return info, read_records(info, Problems(strict=True))


def check(info: DatasetInfo, records: list[Record], *, quick: bool) -> list[Problem]:
    problems = Problems()
    check_objects(info, records, problems, quick=quick)
    return problems.found


def square(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def object_of(polygon: list[float]) -> dict[str, Any]:
    """An object with the box and the area of its outline."""
    points = np.reshape(polygon, (-1, 2))
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    return {
        "segmentation": [polygon],
        "bbox": [*low.tolist(), *size.tolist()],
        "area": float(size.prod()),
    }


def object_of_mask(mask: np.ndarray) -> dict[str, Any]:
    box, area = measure_mask(mask)
    return {"segmentation": encode_mask(mask), "bbox": box, "area": area}


def corners(annotation: Annotation) -> dict[str, Any]:
    x, y, w, h = annotation["bbox"]
    return {"bbox": [x, y, x + w, y + h]}


def moved_box(dx: float, dy: float = 0) -> Change:
    return lambda a: {"bbox": [a["bbox"][0] + dx, a["bbox"][1] + dy, *a["bbox"][2:]]}


def full_mask(annotation: Annotation) -> dict[str, Any]:
    del annotation
    mask = np.ones((64, 64), dtype=bool)
    mask[:4, :4] = False  # 99.6 %
    return object_of_mask(mask)


def empty_mask(annotation: Annotation) -> dict[str, Any]:
    del annotation
    return {"segmentation": encode_mask(np.zeros((64, 64), dtype=bool))}


def mirrored(annotation: Annotation) -> dict[str, Any]:
    """As by a transpose: an RLE of the right size that shows another region."""
    mask = decode_mask(annotation["segmentation"], 64, 64)
    return {"segmentation": encode_mask(mask[:, ::-1])}


BOW_TIE = [10, 10, 30, 30, 30, 10, 10, 30]
RULES: list[tuple[str, Change, str]] = [
    ("polygon_outside", lambda a: object_of(square(70, 5, 20)), "quick"),
    ("polygon_outside", lambda a: {"segmentation": [square(5, -30, 20)]}, "quick"),
    ("polygon_normalised", lambda a: object_of(square(0.13, 0.2, 0.4)), "quick"),
    ("polygon_normalised", lambda a: {"segmentation": [square(0.0, 0.0, 1.0)]}, "quick"),
    ("polygon_overhang", lambda a: object_of(square(50, 20, 30)), "quick"),
    ("polygon_overhang", lambda a: object_of(square(-6, 20, 30)), "quick"),
    ("box_outside", moved_box(500), "quick"),
    ("box_not_mask", moved_box(4), "quick"),
    ("box_not_mask", moved_box(0, -4), "quick"),
    ("box_not_mask", mirrored, "quick"),
    ("box_xyxy", corners, "quick"),
    ("mask_empty", empty_mask, "quick"),
    ("mask_empty", lambda a: object_of([10.1, 10.1, 10.2, 10.1, 10.2, 10.2]), "full"),
    ("area_not_mask", lambda a: {**object_of(square(5, 5, 20)), "area": 1500.0}, "full"),
    ("mask_whole_image", full_mask, "quick"),
    ("mask_whole_image", lambda a: object_of(square(0, 0, 64)), "full"),
    ("polygon_crossing", lambda a: {**object_of(BOW_TIE), "area": 200.0}, "full"),
]


@pytest.mark.parametrize(("rule", "change", "found_by"), RULES)
def test_each_rule_names_file_and_annotation(tmp_path, rule, change, found_by):
    info, records = load(factories.make_coco(tmp_path))
    annotation = records[2]["annotations"][0]
    annotation.update(change(annotation))
    for quick in (True, False):
        found = check(info, records, quick=quick)
        if quick and found_by == "full":
            assert not found
            continue
        (problem,) = found
        assert (problem.rule, problem.annotation) == (rule, annotation["id"])
        assert (problem.split, problem.image) == ("train", records[2]["image_id"])
        assert problem.file == str(tmp_path / "train.json")
        assert "; expected " in problem.text


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("segmentation", ["polygon", "rle", "mixed"])
def test_clean_objects_raise_nothing(tmp_path, segmentation, quick):
    spec = factories.make_coco(tmp_path, segmentation=segmentation, crowd=True)
    info, records = load(spec)
    assert sum(len(r["annotations"]) for r in records) > 15
    assert not check(info, records, quick=quick)


@pytest.mark.parametrize("quick", [True, False])
def test_clean_components_raise_nothing(tmp_path, quick):
    info, records = load(factories.make_label_map(tmp_path, things=True))
    assert sum(len(r["annotations"]) for r in records) > 12
    assert not check(info, records, quick=quick)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: object_of(square(50, 20, 17)),  # three pixels beyond
        lambda a: {**object_of(square(50, 20, 17)), "bbox": [50, 20, 14, 17]},  # clipped
        lambda a: {**object_of(square(10.4, 10.4, 9.2)), "bbox": [10, 10, 11, 11]},  # whole pixels
        lambda a: object_of(square(0, 0, 1)),  # the first pixel
        lambda a: {**object_of(square(5, 5, 20)), "area": 361.0},  # by the pixels' centres
        lambda a: {**full_mask(a), "iscrowd": 1},
        lambda a: {**object_of([*BOW_TIE[:4], 31, 29, 30.5, 30, 10, 30]), "area": 200.0},
    ],
)
def test_what_tools_write_raises_nothing(tmp_path, change):
    info, records = load(factories.make_coco(tmp_path))
    annotation = records[0]["annotations"][0]
    annotation.update(change(annotation))
    records[0]["annotations"] = [annotation]
    assert not check(info, records, quick=False)


@pytest.mark.parametrize(
    ("box", "rule"),
    [
        ([70, 5, 10, 10], "box_outside"),
        ([30, 30, 60, 60], "box_xyxy"),
        ([40, 10, 34, 20], "polygon_overhang"),
        ([40, 10, 24, 20], None),
    ],
)
def test_boxes_without_masks(tmp_path, box, rule):
    info, records = load(factories.make_coco(tmp_path))
    for annotation in (a for r in records for a in r["annotations"]):
        del annotation["segmentation"]
    records[0]["annotations"][0]["bbox"] = box
    for quick in (True, False):
        found = check(info, records, quick=quick)
        assert [(p.rule, p.annotation) for p in found] == ([(rule, 1)] if rule else [])


@pytest.mark.parametrize("form", ["polygon", "rle", "box"])
def test_an_object_that_stands_twice(tmp_path, form):
    segmentation = "rle" if form == "rle" else "polygon"
    info, records = load(factories.make_coco(tmp_path, segmentation=segmentation))
    for annotation in (a for r in records for a in r["annotations"]):
        if form == "box":
            del annotation["segmentation"]
    first = records[1]["annotations"][0]
    other_class = 1 - first["category_id"]
    records[1]["annotations"] += [
        {**first, "id": 900},
        {**first, "id": 901, "category_id": other_class},  # somebody may mean that
    ]
    records[2]["annotations"] = [{**first, "id": 902}]  # as in the next picture of a film
    for quick in (True, False):
        (problem,) = check(info, records, quick=quick)
        assert (problem.rule, problem.annotation) == ("annotation_copied", 900)
        assert f"annotation {first['id']} has the same" in problem.found


def test_an_object_that_nearly_stands_twice(tmp_path):
    info, records = load(factories.make_coco(tmp_path))
    pair = [{**object_of(square(x, 5, 40)), "id": i} for i, x in ((900, 5), (901, 5.6))]
    far = {**object_of(square(9, 5, 40)), "id": 902}  # 36 / 44 in common
    records[0]["annotations"] = [{**records[0]["annotations"][0], **o} for o in (*pair, far)]
    assert not check(info, records, quick=True)
    (problem,) = check(info, records, quick=False)
    assert (problem.rule, problem.annotation) == ("annotation_copied", 901)
    for annotation in records[0]["annotations"]:
        annotation["iscrowd"] = 1
    assert not check(info, records, quick=False)


@pytest.mark.parametrize("quick", [True, False])
def test_splits_and_images_without_objects(tmp_path, quick):
    info, records = load(factories.make_coco(tmp_path, crowd=True))
    for record in records[2:4]:
        record["annotations"] = []
    (problem,) = check(info, records, quick=quick)
    assert (problem.rule, problem.level) == ("images_without_objects", "warning")
    assert "2 of 6 images" in problem.found and "002.png" in problem.found
    for record in records:  # crowds alone teach nothing
        record["annotations"] = [a for a in record["annotations"] if a["iscrowd"]]
    (problem,) = check(info, records, quick=quick)
    assert (problem.rule, problem.file) == ("split_without_objects", str(tmp_path / "train.json"))


def test_label_maps_without_objects_are_not_asked_for_them(tmp_path):
    info, records = load(factories.make_label_map(tmp_path))
    assert not check(info, records, quick=False)


def test_segments_of_a_png_are_checked_where_it_is_decoded(tmp_path, monkeypatch):
    info, records = load(factories.make_coco(tmp_path, segmentation="rle"))
    record = records[0]
    ids = np.zeros((64, 64, 3), dtype=np.uint8)
    for number, annotation in enumerate(record["annotations"], start=1):
        ids[decode_mask(annotation["segmentation"], 64, 64), 0] = number
        png = {"size": [64, 64], "png": str(tmp_path / "ids.png"), "id": number}
        annotation["segmentation"] = png
    Image.fromarray(ids).save(tmp_path / "ids.png")
    assert len(record["annotations"]) > 1
    opened = []
    open_image = Image.open
    monkeypatch.setattr(
        Image, "open", lambda p, *a, **k: opened.append(p) or open_image(p, *a, **k)
    )
    assert not check(info, records, quick=False)
    assert len(opened) == 1
    record["annotations"][0]["bbox"][0] += 5
    assert not check(info, records, quick=True)
    (problem,) = check(info, records, quick=False)
    assert (problem.rule, problem.annotation) == ("box_not_mask", record["annotations"][0]["id"])


@pytest.mark.parametrize(
    ("folder", "splits"),
    [
        ("nuclei", {s: {"images": s, "annotations": f"{s}.json"} for s in ("train", "val")}),
        ("fruits_nuts/data", {"train": {"images": "images", "annotations": "trainval.json"}}),
        (
            "labelme_voc/examples/instance_segmentation/data_dataset_coco",
            {"train": {"annotations": "annotations.json"}},
        ),
    ],
)
def test_real_objects_raise_nothing(shared_data, folder, splits):
    spec = parse_spec(
        {
            "name": "real",
            "format": "coco",
            "root": str(shared_data / folder),
            "stuff": ["rest"],
            "splits": splits,
        }
    )
    for split in splits:
        info = read_info(spec, split)
        records = read_records(info, Problems(strict=True))
        assert sum(len(r["annotations"]) for r in records) >= 12
        assert not check(info, records, quick=False)
