"""EXACT: what the mapper gives is to the last bit what Detectron2's mapper gives."""

import copy
import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.utils.env import seed_all_rng
from PIL import Image

from photographs import photograph
from project.config import get_project_config
from project.data.augment import build_augmentations
from project.data.labels import encode_mask
from project.data.mapper import SegmentationMapper
from project.data.register import dataset_info, dataset_records, register_dataset

# numpy 2.4 warns of how pycocotools makes arrays; Detectron2's own mapper calls it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIZES = [(60, 80), (97, 61), (1, 5), (200, 30)]


def random_outline(rng, height: int, width: int) -> list[float]:
    """Three to nine points, large or small, some a little outside, some on fifths of a pixel."""
    centre, size = rng.random(2), rng.choice([0.05, 0.3, 0.9])
    points = centre + size * (rng.random((rng.integers(3, 10), 2)) - 0.5)
    points = points.clip(-0.005, 1.005) * (width, height)
    return points.round(rng.choice([0, 1, 2])).ravel().tolist()


def random_object(rng, height: int, width: int, form: str) -> dict:
    parts = [random_outline(rng, height, width) for _ in range(rng.integers(1, 3))]
    segmentation = parts if form == "polygon" else encode_mask(rng.random((height, width)) < 0.3)
    points = np.concatenate([np.reshape(part, (-1, 2)) for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    if form == "rle":
        low, high = np.zeros(2), np.array([width, height])
    return {
        "category_id": int(rng.integers(1, 3)),
        "segmentation": segmentation,
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": 1.0,
    }


def make_data(tmp_path, form: str, extension: str) -> str:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    content: dict = {
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "images": [],
        "annotations": [],
    }
    for number in range(12):
        height, width = SIZES[number % len(SIZES)]
        name = f"{number}.{extension}"
        Image.fromarray(photograph(rng, (height, width))).save(tmp_path / "images" / name)
        content["images"].append(
            {"id": number, "file_name": name, "height": height, "width": width}
        )
        for _ in range(rng.integers(0, 6)):
            identity = {"id": 1 + len(content["annotations"]), "image_id": number, "iscrowd": 0}
            content["annotations"].append(identity | random_object(rng, height, width, form))
    (tmp_path / "train.json").write_text(json.dumps(content))
    spec = tmp_path / "exact.yaml"
    spec.write_text(
        f"name: exact\nformat: coco\nroot: {tmp_path}\n"
        "splits:\n  train: {images: images, annotations: train.json}\n"
    )
    return register_dataset(spec)[0]


def mappers(name: str, mask_format: str, order: str, *, exact: bool):
    """Ours by the config, and Detectron2's with the same augmentations."""
    cfg = get_project_config()
    cfg.EXACT = exact
    cfg.INPUT.FORMAT, cfg.INPUT.MIN_SIZE_TRAIN = order, (40, 90, 130)
    cfg.INPUT.MASK_FORMAT, cfg.DATASETS.TRAIN = mask_format, (name,)
    ours = SegmentationMapper(
        is_train=True,
        augmentations=build_augmentations(cfg, is_train=True),
        image_format=order,
        mask_format=mask_format,
        instances=True,
        semantics=False,
        infos={name: dataset_info(name)},
        exact=cfg.EXACT,
    )
    theirs = DatasetMapper(
        is_train=True,
        augmentations=[
            T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, "choice"),
            T.RandomFlip(),
        ],
        image_format=order,
        use_instance_mask=True,
        instance_mask_format=mask_format,
    )
    return ours, theirs


@pytest.mark.parametrize("order", ["BGR", "RGB"])
@pytest.mark.parametrize(
    ("mask_format", "form"), [("polygon", "polygon"), ("bitmask", "polygon"), ("bitmask", "rle")]
)
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_all_is_that_of_detectron2(tmp_path, mask_format, form, order, extension):
    name = make_data(tmp_path, form, extension)
    ours, theirs = mappers(name, mask_format, order, exact=True)
    objects = 0
    for seed, record in enumerate(dataset_records(name) * 3):
        before = copy.deepcopy(record)
        found = []
        for mapper in (ours, theirs):
            seed_all_rng(seed)
            found.append(mapper(record))
        assert record == before
        first, second = found
        assert torch.equal(first["image"], second["image"])
        mine, reference = first["instances"], second["instances"]
        assert torch.equal(mine.gt_classes, reference.gt_classes)
        assert torch.equal(mine.gt_boxes.tensor, reference.gt_boxes.tensor)
        objects += len(reference)
        if not reference.has("gt_masks"):  # an image without objects
            assert len(mine.gt_masks) == 0
        elif mask_format == "bitmask":
            assert torch.equal(mine.gt_masks.tensor, reference.gt_masks.tensor)
        else:
            for polygons, expected in zip(mine.gt_masks.polygons, reference.gt_masks.polygons):
                assert len(polygons) == len(expected)
                assert all(map(np.array_equal, polygons, expected))
    assert objects > 50


def test_without_it_pixels_are_within_a_level_and_outlines_the_same(tmp_path):
    name = make_data(tmp_path, "polygon", "jpg")
    ours, theirs = mappers(name, "bitmask", "BGR", exact=False)
    differing = 0
    for seed, record in enumerate(dataset_records(name) * 3):
        found = []
        for mapper in (ours, theirs):
            seed_all_rng(seed)
            found.append(mapper(record))
        images = [item["image"].int() for item in found]
        assert (images[0] - images[1]).abs().max() <= 1
        differing += not torch.equal(*images)
        first, second = (item["instances"] for item in found)
        if second.has("gt_masks"):
            kept = second.gt_masks.nonempty()  # Detectron2 keeps some without a pixel
            assert torch.equal(first.gt_masks.tensor, second.gt_masks.tensor[kept])
    assert differing > 5
