"""COCO files: what they hold arrives whole, and what is wrong with them is named."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import yaml
from pycocotools.coco import COCO

import factories
from project.data.labels import decode_mask, read_semantic, semantic_from_annotations
from project.data.register import (
    choose_mask_format,
    dataset_info,
    dataset_records,
    register_dataset,
)
from project.errors import DatasetError

# numpy 2.4 warns of how pycocotools makes arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def change(spec: Path, split: str, **changes) -> None:
    """Rewrites the json of a split: `annotations=f` puts f(annotations) in its place."""
    path = spec.parent / f"{split}.json"
    content = json.loads(path.read_text())
    for key, function in changes.items():
        content[key] = function(content[key])
    path.write_text(json.dumps(content))


def change_spec(spec: Path, **changes) -> None:
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | changes))


def first(**changes):
    """A function that changes the first entry of a list; None removes a key."""

    def apply(entries):
        entry = {k: v for k, v in {**entries[0], **changes}.items() if v is not None}
        return [entry, *entries[1:]]

    return apply


@pytest.mark.parametrize("segmentation", ["polygon", "rle", "uncompressed_rle", "mixed"])
def test_masks_equal_pycocotools(tmp_path, segmentation):
    holes = segmentation != "polygon"
    spec = factories.make_coco(tmp_path, segmentation=segmentation, holes=holes, crowd=True)
    name = register_dataset(spec)[1]
    reference = COCO(str(tmp_path / "val.json"))
    seen = 0
    for record in dataset_records(name):
        for annotation in record["annotations"]:
            expected = reference.loadAnns(annotation["id"])[0]
            mask = decode_mask(annotation["segmentation"], record["height"], record["width"])
            np.testing.assert_array_equal(mask, reference.annToMask(expected))
            assert annotation["iscrowd"] == expected["iscrowd"]
            assert annotation["bbox"] == expected["bbox"]
            assert annotation["area"] == expected["area"]
            assert expected["category_id"] == [3, 7][annotation["category_id"]]
            assert record["image_id"] == expected["image_id"]
            seen += 1
    assert seen == len(reference.anns) > 15


def test_a_hole_and_many_parts_survive(tmp_path):
    spec = factories.make_coco(tmp_path, segmentation="rle", holes=True)
    parts = [[0, 0, 9, 0, 9, 9, 0, 9], [20, 20, 29, 20, 29, 29, 20, 29]]
    change(spec, "train", annotations=first(segmentation=parts))
    records = dataset_records(register_dataset(spec)[0])
    two = decode_mask(records[0]["annotations"][0]["segmentation"], 64, 64)
    assert two.sum() == 162 and not two[15, 15]
    disc = next(a for r in records for a in r["annotations"] if a["category_id"] == 1)
    mask = decode_mask(disc["segmentation"], 64, 64)
    x, y, w, h = (int(v) for v in disc["bbox"])
    assert not mask[y + h // 2, x + w // 2] and mask[y + h // 2, x + 2]


def test_mask_format_follows_the_data(tmp_path, registered):
    """A crowd is RLE in every COCO file, but it is not taught."""
    expected = {"polygon": "polygon", "rle": "bitmask", "mixed": "bitmask"}
    for segmentation, chosen in expected.items():
        spec = factories.make_coco(tmp_path / segmentation, segmentation=segmentation, crowd=True)
        assert choose_mask_format(registered(spec)) == chosen


def test_classes_are_in_the_order_of_their_ids(tmp_path):
    spec = factories.make_coco(tmp_path)
    change(spec, "train", categories=lambda c: c[::-1])
    categories = dataset_info(register_dataset(spec)[0]).categories
    assert categories.things == ("square", "disc")
    assert categories.thing_dataset_ids == (3, 7)
    assert categories.semantic == ("background", "square", "disc")


def test_classes_are_matched_by_name_across_splits(tmp_path):
    """The val file numbers the classes the other way round; the classes stay the same."""
    spec = factories.make_coco(tmp_path)
    plain = [
        [a["category_id"] for a in r["annotations"]]
        for r in dataset_records(register_dataset(spec)[1])
    ]
    swap = {3: 7, 7: 3}
    change(
        spec,
        "val",
        categories=lambda cs: [{**c, "id": swap[c["id"]]} for c in cs],
        annotations=lambda aa: [{**a, "category_id": swap[a["category_id"]]} for a in aa],
    )
    train, val = register_dataset(spec)
    assert dataset_info(train).categories.things == dataset_info(val).categories.things
    assert dataset_info(train).categories.thing_dataset_ids == (3, 7)
    assert dataset_info(val).categories.thing_dataset_ids == (7, 3)
    swapped = [[a["category_id"] for a in r["annotations"]] for r in dataset_records(val)]
    assert {0, 1} == {c for cs in plain for c in cs}
    assert swapped == plain


def test_things_give_the_order(tmp_path):
    spec = factories.make_coco(tmp_path)
    change_spec(spec, things=["disc", "square"])
    name = register_dataset(spec)[0]
    assert dataset_info(name).categories.thing_dataset_ids == (7, 3)
    reference = json.loads((tmp_path / "train.json").read_text())["annotations"]
    classes = [a["category_id"] for r in dataset_records(name) for a in r["annotations"]]
    assert classes == [{7: 0, 3: 1}[a["category_id"]] for a in reference]


def test_things_choose_and_the_log_says_so(tmp_path, caplog):
    spec = factories.make_coco(tmp_path)
    change_spec(spec, things=["disc"])
    name = register_dataset(spec)[0]
    with caplog.at_level(logging.WARNING):
        records = dataset_records(name)
    reference = json.loads((tmp_path / "train.json").read_text())["annotations"]
    squares = sum(a["category_id"] == 3 for a in reference)
    assert f"{squares} annotations are of the class square; expected only disc" in caplog.text
    assert sum(len(r["annotations"]) for r in records) == len(reference) - squares > 0


@pytest.mark.parametrize(
    ("things", "message"), [(["disk"], r"no class 'disk'. Did you mean disc"), (["x"], "Known")]
)
def test_things_that_are_not_there(tmp_path, things, message):
    spec = factories.make_coco(tmp_path)
    change_spec(spec, things=things)
    with pytest.raises(DatasetError, match=message):
        dataset_info(register_dataset(spec)[0])


def test_splits_with_different_classes(tmp_path):
    spec = factories.make_coco(tmp_path)
    change(spec, "val", categories=lambda cs: [*cs, {"id": 9, "name": "star"}])
    train, val = register_dataset(spec)
    for name in (train, val):
        with pytest.raises(
            DatasetError, match=r"val\.json: it has the classes star, which .*'train'"
        ):
            dataset_info(name)
    change(spec, "val", categories=lambda cs: cs[:1])
    with pytest.raises(DatasetError, match=r"val\.json: it has no class 'disc'"):
        dataset_info(train)


def test_a_thing_called_background(tmp_path):
    spec = factories.make_coco(tmp_path)
    for split in ("train", "val"):
        change(spec, split, categories=lambda cs: [*cs, {"id": 0, "name": "background"}])
    with pytest.raises(DatasetError, match="background is both countable and stuff"):
        dataset_info(register_dataset(spec)[0])
    change_spec(spec, name="other", stuff=["rest"])
    categories = dataset_info(register_dataset(spec)[0]).categories
    assert categories.semantic == ("rest", "background", "square", "disc")


def test_what_an_annotation_lacks_is_measured(tmp_path):
    spec = factories.make_coco(tmp_path, segmentation="rle", holes=True)
    original = json.loads((tmp_path / "train.json").read_text())["annotations"][0]
    change(spec, "train", annotations=first(bbox=None, area=None, iscrowd=None))
    annotation = dataset_records(register_dataset(spec)[0])[0]["annotations"][0]
    assert annotation["bbox"] == original["bbox"]
    assert annotation["area"] == mask_util.area(original["segmentation"])
    assert annotation["iscrowd"] == 0


def test_sizes_come_from_the_images_where_the_file_has_none(tmp_path):
    spec = factories.make_coco(tmp_path, size=(48, 80))
    strip = lambda images: [{k: i[k] for k in ("id", "file_name")} for i in images]  # noqa: E731
    change(spec, "train", images=strip)
    record = dataset_records(register_dataset(spec)[0])[0]
    assert (record["height"], record["width"]) == (48, 80)


def test_image_files_are_not_needed(tmp_path):
    spec = factories.make_coco(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        path.unlink()
    assert len(dataset_records(register_dataset(spec)[0])) == 6


def test_flat_polygons_are_left_out(tmp_path, caplog):
    """Drawing tools leave points and lines behind; COCO's own file of 2017 has such an object."""
    spec = factories.make_coco(tmp_path)
    good = json.loads((tmp_path / "train.json").read_text())["annotations"][0]["segmentation"]
    change(
        spec,
        "train",
        annotations=lambda aa: [
            {**aa[0], "segmentation": [[1, 2, 3, 4], *good]},
            {**aa[1], "segmentation": [[1, 2, 3, 4]]},
            {**aa[2], "segmentation": [[1, 8, 3, 8, 5, 8]], "bbox": [1, 8, 4, 0]},
            *aa[3:],
        ],
    )
    with caplog.at_level(logging.WARNING):
        records = dataset_records(register_dataset(spec)[0])
    assert records[0]["annotations"][0]["segmentation"] == good
    assert not {2, 3} & {a["id"] for r in records for a in r["annotations"]}
    assert "polygons without an area, which are left out (findings: 3)" in caplog.text


def test_a_missing_file_is_answered_with_the_nearest(tmp_path):
    spec = factories.make_coco(tmp_path)
    (tmp_path / "val.json").rename(tmp_path / "vall.json")
    with pytest.raises(DatasetError, match=r"splits.val.annotations: .* Did you mean vall\.json"):
        dataset_info(register_dataset(spec)[1])


@pytest.mark.parametrize(("absent", "present"), [("train", 1), ("val", 0)])
def test_another_splits_file_is_not_needed(tmp_path, absent, present):
    spec = factories.make_coco(tmp_path)
    whole = dataset_info(register_dataset(spec)[present]).categories
    (tmp_path / f"{absent}.json").unlink()
    name = register_dataset(spec)[present]
    assert dataset_info(name).categories == whole
    assert len(dataset_records(name)) == 6


@pytest.mark.parametrize(("absent", "told"), [("train", True), ("val", False)])
def test_an_order_of_classes_that_is_not_known_is_told(tmp_path, caplog, absent, told):
    spec = factories.make_coco(tmp_path)
    (tmp_path / f"{absent}.json").unlink()
    names = register_dataset(spec)
    with caplog.at_level(logging.WARNING):
        dataset_info(names[absent == "train"])
    assert ("train.json does not exist, so the order of the classes" in caplog.text) == told
    caplog.clear()
    change_spec(spec, things=["disc", "square"], name="ordered")
    with caplog.at_level(logging.WARNING):
        dataset_info(register_dataset(spec)[absent == "train"])
    assert not caplog.messages


def test_classes_of_many_splits_need_one_reading_a_file(tmp_path, monkeypatch):
    spec = factories.make_coco(tmp_path)
    shutil.copy(tmp_path / "val.json", tmp_path / "test.json")
    splits = yaml.safe_load(spec.read_text())["splits"]
    change_spec(spec, splits={**splits, "test": {**splits["val"], "annotations": "test.json"}})
    parsed = []
    loads = json.loads
    monkeypatch.setattr(
        json, "loads", lambda text, **options: parsed.append(text) or loads(text, **options)
    )
    names = register_dataset(spec)
    assert len({dataset_info(name).categories for name in names}) == 1
    assert len(names) == len(parsed) == 3
    dataset_records(names[-1])
    change(spec, "val", categories=lambda cs: [*cs, {"id": 9, "name": "star"}])
    with pytest.raises(DatasetError, match=r"val\.json: it has the classes star"):
        dataset_info(register_dataset(spec)[0])


def test_label_maps_are_paired_by_name(tmp_path):
    """Detectron2 pairs by position where the numbers of files agree."""
    spec = factories.make_coco(tmp_path, labels=True)
    folder = tmp_path / "labels" / "train"
    (folder / "000.png").rename(folder / "aaa.png")
    with pytest.raises(DatasetError, match=r"000\.png: there is no label map for 000\.png;"):
        dataset_records(register_dataset(spec)[0])
    (folder / "aaa.png").rename(folder / "000.png")
    (folder / "extra.png").write_bytes(b"")
    for record in dataset_records(register_dataset(spec)[0]):
        assert Path(record["sem_seg_file_name"]).stem == Path(record["file_name"]).stem


def test_chosen_classes_need_the_values_of_the_label_maps(tmp_path):
    """Their order is not that of the files any more."""
    spec = factories.make_coco(tmp_path, labels=True)
    change_spec(spec, things=["disc", "square"])
    with pytest.raises(DatasetError, match="means which of background, disc, square"):
        dataset_info(register_dataset(spec)[0])
    change_spec(spec, classes={"background": 0, "square": 1, "disc": 2}, name="explicit")
    train, _ = register_dataset(spec)
    for record in dataset_records(train):
        info = dataset_info(train)
        derived = semantic_from_annotations(record["annotations"], 64, 64, info.categories)
        assert {1, 2} <= set(np.unique(derived))
        np.testing.assert_array_equal(read_semantic(record, info), derived)


def test_real_photographs(shared_data, registered, monkeypatch):
    monkeypatch.setenv("MASKUNET_SHARED_DATA", str(shared_data))
    spec = Path(__file__).parents[2] / "datasets" / "fruits_nuts.yaml"
    names = registered(spec)
    assert dataset_info(names[0]).categories.things == ("date", "fig", "hazelnut")
    records = dataset_records(names[0])
    assert (len(records), sum(len(r["annotations"]) for r in records)) == (18, 165)
    assert choose_mask_format(names) == "polygon"
