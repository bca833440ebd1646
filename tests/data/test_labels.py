"""Semantic and panoptic truth, by hand."""

import numpy as np
import pytest

from project.data.categories import Categories
from project.data.labels import (
    encode_mask,
    panoptic_truth,
    read_semantic,
    semantic_from_annotations,
    write_label_map,
)
from project.data.register import DatasetInfo, dataset_info, dataset_records, register_dataset
from project.data.spec import parse_spec
from project.errors import DatasetError

CATEGORIES = Categories(things=("square", "disc"), stuff=("sky", "grass"))
SPEC = parse_spec({"name": "a", "format": "coco", "splits": {"val": {"annotations": "a.json"}}})
INFO = DatasetInfo("a_val", SPEC, "val", CATEGORIES, None)


def rectangle(rows: slice, columns: slice, thing: int, crowd: int = 0) -> dict:
    mask = np.zeros((4, 6), dtype=bool)
    mask[rows, columns] = True
    return {"category_id": thing, "iscrowd": crowd, "segmentation": encode_mask(mask)}


LARGE = rectangle(slice(0, 3), slice(0, 4), 0)
SMALL = rectangle(slice(1, 2), slice(1, 3), 1)
CROWD = rectangle(slice(0, 4), slice(3, 5), 0, crowd=1)


@pytest.mark.parametrize("annotations", [[LARGE, SMALL, CROWD], [CROWD, SMALL, LARGE]])
def test_smaller_over_larger_over_crowd(annotations):
    """Whatever their order in the file: square 2, disc 3, sky 0 elsewhere, crowd ignored."""
    expected = [
        [2, 2, 2, 2, 255, 0],
        [2, 3, 3, 2, 255, 0],
        [2, 2, 2, 2, 255, 0],
        [0, 0, 0, 255, 255, 0],
    ]
    np.testing.assert_array_equal(
        semantic_from_annotations(annotations, 4, 6, CATEGORIES), expected
    )


def test_no_annotations_are_all_background():
    semantic = semantic_from_annotations([], 4, 6, CATEGORIES)
    assert semantic.shape == (4, 6) and semantic.dtype == np.uint8 and not semantic.any()


def test_the_outline_of_a_box_is_not_known():
    box = {"category_id": 0, "iscrowd": 0, "bbox": [1.5, 0, 2, 1.5]}
    expected = np.zeros((4, 6))
    expected[:2, 1:4] = 255
    np.testing.assert_array_equal(semantic_from_annotations([box], 4, 6, CATEGORIES), expected)
    record = {"height": 4, "width": 6, "annotations": [box]}
    ids, segments = panoptic_truth(record, INFO)
    assert [s["semantic_id"] for s in segments] == [0]
    np.testing.assert_array_equal(ids == 0, expected == 255)


def test_too_many_classes_for_8_bits():
    many = Categories(things=tuple(f"c{i}" for i in range(255)), stuff=("background",))
    with pytest.raises(DatasetError, match="at most 255 classes, these are 256"):
        semantic_from_annotations([], 2, 2, many)


def test_panoptic_truth_of_objects():
    record = {"height": 4, "width": 6, "annotations": [SMALL, LARGE, CROWD]}
    ids, segments = panoptic_truth(record, INFO)
    assert ids.dtype == np.int32
    found = {(s["semantic_id"], s["isthing"], s["iscrowd"], s["area"]): s["id"] for s in segments}
    # 24 pixels: square 12 without the disc's 2, crowd 8 without the square's 3, sky the rest.
    assert set(found) == {(2, True, 0, 10), (3, True, 0, 2), (2, True, 1, 5), (0, False, 0, 7)}
    assert len(set(found.values())) == 4 and 0 not in found.values()
    for segment in segments:
        assert (ids == segment["id"]).sum() == segment["area"]
    assert ids[1, 1] == found[3, True, 0, 2] and ids[3, 3] == found[2, True, 1, 5]


def test_a_hidden_object_is_no_segment():
    """Two objects of one size at one place: only one can be seen."""
    record = {"height": 4, "width": 6, "annotations": [SMALL, {**SMALL, "category_id": 0}]}
    _, segments = panoptic_truth(record, INFO)
    assert sorted(s["semantic_id"] for s in segments) == [0, 2]


def test_panoptic_truth_of_a_label_map_and_objects(tmp_path):
    """Stuff from the label map; its pixels of a countable class without an object are void."""
    labels = np.array([[0, 0, 1, 1, 2, 255]] * 4, dtype=np.uint8)
    write_label_map(tmp_path / "a.png", labels)
    register_labels = parse_spec(
        {"name": "a", "format": "coco", "splits": {"val": {"annotations": "a.json"}}}
    )
    from project.data.labels import label_encoding

    info = DatasetInfo(
        "a_val", SPEC, "val", CATEGORIES, label_encoding(register_labels, CATEGORIES)
    )
    record = {
        "height": 4,
        "width": 6,
        "file_name": "a.jpg",
        "sem_seg_file_name": str(tmp_path / "a.png"),
        "annotations": [SMALL],
    }
    ids, segments = panoptic_truth(record, info)
    areas = {s["semantic_id"]: s["area"] for s in segments}
    assert areas == {0: 7, 1: 7, 3: 2}
    assert (ids == 0).sum() == 8
    np.testing.assert_array_equal(read_semantic(record, info), labels)
    with pytest.raises(DatasetError, match=r"a\.png: .* 4 x 6 .* 5 x 6, as .*a\.jpg says"):
        read_semantic({**record, "height": 5}, info)


def test_label_maps_and_derived_truth_agree(tmp_path):
    """The factory's label maps are drawn from the same shapes as its masks."""
    import factories

    truth = []
    for labels in (True, False):
        path = factories.make_coco(
            tmp_path / str(labels), labels=labels, holes=True, crowd=True, segmentation="rle"
        )
        name = register_dataset(path)[0]
        assert ("sem_seg_file_name" in dataset_records(name)[0]) == labels
        truth.append([read_semantic(r, dataset_info(name)) for r in dataset_records(name)])
    assert {0, 1, 2, 255} == set(np.unique(truth[0]))
    np.testing.assert_array_equal(truth[0], truth[1])
