"""Objects drawn at random, through every format that is written and through augmentation."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from detectron2.utils.env import seed_all_rng
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from conversions import convert, objects, semantics
from project.data.categories import IGNORE_LABEL, Categories
from project.data.dataset import DatasetInfo
from project.data.masks import decode_mask, encode_mask, measure_mask
from project.data.objects import mask_instances
from project.data.records import Annotation, Record
from project.data.spec import parse_spec
from project.data.writers import Dataset

SIDES = (12, 16)
CATEGORIES = Categories(("square", "disc"), ("background",), (3, 7))
numbers = itertools.count()
quickly = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Each pixel shows one of three objects or none; objects are of any shape, most of many parts.
maps = arrays.arrays(np.uint8, SIDES, elements=st.integers(0, 3)).filter(lambda m: m.any())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("conversions")
    Image.new("RGB", SIDES[::-1], "gray").save(root / "000.png")
    return root


def annotations_of(numbered: np.ndarray) -> list[Annotation]:
    """One object for each number of an (H, W) map but 0; classes by turns."""
    found = []
    for number in np.unique(numbered[numbered > 0]).tolist():
        box, area = measure_mask(numbered == number)
        annotation = Annotation(
            id=number,
            bbox=box,
            bbox_mode=BoxMode.XYWH_ABS,
            category_id=number % 2,
            segmentation=encode_mask(numbered == number),
            iscrowd=0,
            area=area,
        )
        found.append(annotation)
    return found


def dataset_of(numbered: np.ndarray, folder: Path) -> Dataset:
    """One image with these objects, as a COCO data set that was read."""
    spec = parse_spec(
        {
            "name": "drawn",
            "format": "coco",
            "root": str(folder),
            "splits": {"train": {"annotations": "none.json"}},
        }
    )
    record = Record(
        dataset="drawn_train",
        file_name=str(folder / "000.png"),
        image_id=1,
        height=SIDES[0],
        width=SIDES[1],
        annotations=annotations_of(numbered),
    )
    return {"train": (DatasetInfo("drawn_train", spec, "train", CATEGORIES, None), [record])}


@quickly
@given(maps)
@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_objects_come_back_from_other_formats(to, folder, numbered):
    """To the pixel, holes, parts and all: these formats lose nothing of objects side by side."""
    dataset = dataset_of(numbered, folder)
    converted, problems = convert(dataset, to, folder / str(next(numbers)))
    assert objects(converted) == objects(dataset)
    assert not problems.found or to == "yolo"  # which says how many seams it cut
    assert semantics(converted) == semantics(dataset)


@quickly
@given(maps)
def test_classes_come_back_from_label_maps(folder, numbered):
    dataset = dataset_of(numbered, folder)
    converted, _ = convert(dataset, "label_map", folder / str(next(numbers)))
    assert semantics(converted) == semantics(dataset)


@quickly
@given(maps, st.integers(0, 2**16))
def test_objects_stay_on_their_image(folder, numbered, seed):
    """The image is the map of its objects; after flips, turns and crops it still is."""
    seed_all_rng(seed)
    chain = T.AugmentationList(
        [
            T.RandomFlip(horizontal=True, vertical=False),
            T.RandomFlip(horizontal=False, vertical=True),
            T.RandomRotation([0, 90, 180, 270], sample_style="choice"),
            T.RandomCrop("relative_range", (0.5, 0.5)),
        ]
    )
    annotations = annotations_of(numbered)
    masks = [decode_mask(a["segmentation"], *SIDES) for a in annotations]
    data = T.AugInput(numbered[:, :, None].repeat(3, axis=2))
    transforms = chain(data)
    shape = data.image.shape[:2]
    instances = mask_instances(annotations, masks, transforms, shape)
    shown = data.image[:, :, 0]
    seen = [a for a in annotations if (shown == a["id"]).any()]
    assert instances.gt_classes.tolist() == [a["category_id"] for a in seen]
    for annotation, mask in zip(seen, instances.gt_masks.tensor.numpy(), strict=True):
        np.testing.assert_array_equal(mask, shown == annotation["id"])
    assert IGNORE_LABEL not in shown
