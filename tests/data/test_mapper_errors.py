"""Whatever goes wrong with one sample says where, in one paragraph."""

from pathlib import Path

import pytest
from detectron2.data import build_detection_train_loader
from detectron2.data import transforms as T

import factories
from project.data.mapper import SegmentationMapper
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import DatasetError


def make_mapper(name: str, **changes) -> SegmentationMapper:
    settings = {
        "is_train": True,
        "augmentations": [],
        "image_format": "RGB",
        "mask_format": "bitmask",
        "instances": True,
        "semantics": True,
        "infos": {name: dataset_info(name)},
    }
    return SegmentationMapper(**(settings | changes))


def break_image(record: dict) -> None:
    path = Path(record["file_name"])
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_told_in_one_paragraph(tmp_path, workers):
    """PyTorch puts the traceback of a worker process in front of the text."""
    name = register_dataset(factories.make_coco(tmp_path))[0]
    records = dataset_records(name)
    break_image(records[0])
    loader = build_detection_train_loader(
        records, mapper=make_mapper(name), total_batch_size=2, num_workers=workers
    )
    with pytest.raises(DatasetError) as raised:
        for _ in zip(range(20), loader):
            pass
    text = str(raised.value)
    assert text.startswith(f"{name}, image {records[0]['image_id']}: {records[0]['file_name']}: it")
    assert "\n" not in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("mask_format", "changed", "expected"),
    [
        ("bitmask", {"segmentation": {"size": [64, 64], "counts": [1, 2]}}, "sum to 3"),
        ("bitmask", {"segmentation": {}}, ""),
        ("polygon", {"segmentation": [[1.0, 2.0, None, 3.0, 4.0, 5.0]]}, "not finite"),
        ("polygon", {"segmentation": [[1.0, 2.0, 3.0]]}, "reshape"),
        ("polygon", {"category_id": None}, "None"),
    ],
)
def test_whatever_is_wrong_with_an_annotation_is_named(tmp_path, mask_format, changed, expected):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    record = dataset_records(name)[0]
    annotations = [{**a} for a in record["annotations"]]
    annotations[1] |= changed
    mapper = make_mapper(name, mask_format=mask_format, semantics=False)
    with pytest.raises(DatasetError) as raised:
        mapper({**record, "annotations": annotations})
    text = str(raised.value)
    assert text.startswith(f"{name}, image {record['image_id']}, {record['file_name']}: ")
    assert expected in text and "\n" not in text and raised.value.__cause__ is not None
    if "category_id" not in changed:
        assert f": annotation {annotations[1]['id']}: " in text


def test_objects_that_cannot_be_augmented_name_the_image(tmp_path):
    class Broken(T.Augmentation):
        def get_transform(self, image):
            raise ZeroDivisionError("no size")

    name = register_dataset(factories.make_coco(tmp_path))[0]
    record = dataset_records(name)[0]
    with pytest.raises(DatasetError, match=r"image 10, .*000\.png: ZeroDivisionError: no size"):
        make_mapper(name, augmentations=[Broken()])(record)
