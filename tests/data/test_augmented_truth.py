"""Through the mapper: an image that is its own mask stays so, whatever chain changes it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.structures import BitMasks
from detectron2.utils.env import seed_all_rng
from PIL import Image

import factories
from project.config import load_config
from project.data.augment import build_augmentations
from project.data.labels import decode_mask
from project.data.mapper import SegmentationMapper
from project.data.register import dataset_info, dataset_records, register_dataset

GREYS = np.array([20, 120, 235], np.uint8)  # of background, square and disc
LIMITS = [70, 178]
STEPS = [
    {"name": "random_resized_crop", "size": [90, 100]},
    {"name": "lsj", "scale": [0.6, 2.0], "size": [96, 96]},
    {"name": "resize_shortest_edge", "sizes": [60, 120], "style": "range"},
    {"name": "flip"},
    {"name": "flip", "direction": "vertical"},
    {"name": "rotation"},
    {"name": "colour_jitter", "brightness": 0.05, "contrast": 0.05},
    {"name": "blur", "sigma": [0.1, 0.7]},
    {"name": "noise", "std": [0, 5]},
]
ELASTIC = {"name": "elastic", "std": 5, "prob": 1}


@pytest.fixture(scope="module")
def own_masks(tmp_path_factory) -> Path:
    """The specification of a data set whose images are their own label maps, in greys."""
    root = tmp_path_factory.mktemp("own_masks")
    spec = factories.make_coco(root, size=(72, 96), labels=True)
    for label in (root / "labels" / "train").iterdir():
        Image.fromarray(GREYS[np.asarray(Image.open(label))]).save(
            root / "images" / "train" / label.name
        )
    return spec


def make_mapper(name: str, entries: list[dict], mask_format: str) -> SegmentationMapper:
    cfg = load_config(None)
    cfg.INPUT.AUGMENTATIONS = entries
    return SegmentationMapper(
        is_train=True,
        augmentations=build_augmentations(cfg, is_train=True),
        image_format="BGR",
        mask_format=mask_format,
        instances=True,
        semantics=True,
        infos={name: dataset_info(name)},
    )


def covered(item: dict) -> np.ndarray:
    """(N, H, W) bool masks; checks that the boxes are tight about them."""
    instances = item["instances"]
    height, width = instances.image_size
    exact = isinstance(instances.gt_masks, BitMasks)
    masks = (
        instances.gt_masks.tensor.numpy()
        if exact
        else np.array(
            [
                decode_mask([part.tolist() for part in parts], height, width)
                for parts in instances.gt_masks.polygons
            ]
        ).reshape(-1, height, width)
    )
    for box, mask in zip(instances.gt_boxes.tensor.numpy(), masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if exact or min(len(rows), len(columns)) > 3:  # slivers of polygons may have no pixel
            tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(box, tight, atol=0 if exact else 1.1)
        assert (box >= 0).all() and (box <= [width, height, width, height]).all()
    return masks


def agreement(item: dict, masks: np.ndarray) -> tuple[float, float]:
    """Shares of the pixels, those near an edge left out, where image and objects fit the labels."""
    labels = item["sem_seg"].numpy().astype(np.uint8)
    kernel = np.ones((7, 7), np.uint8)
    sure = (cv2.dilate(labels, kernel) == cv2.erode(labels, kernel)) & (labels != 255)
    assert sure.any()
    guess = np.digitize(item["image"].float().mean(dim=0).numpy(), LIMITS)
    painted = np.zeros(labels.shape, np.uint8)
    for mask, thing in zip(masks, item["instances"].gt_classes.tolist()):
        painted[mask] = 1 + thing
    return (guess == labels)[sure].mean(), (painted == labels)[sure].mean()


@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
def test_random_chains(own_masks, mask_format):
    name = register_dataset(own_masks)[0]
    records = dataset_records(name)
    assert all(0.1 < np.mean(Image.open(r["file_name"])) / 255 < 0.6 for r in records)
    known = [*STEPS, ELASTIC] if mask_format == "bitmask" else STEPS
    rng = np.random.default_rng(1)
    objects = changed = 0
    for seed in range(50):
        seed_all_rng(seed)
        chain = rng.choice(len(known), size=rng.integers(1, 6), replace=False)
        entries = [known[index] for index in chain]
        item = make_mapper(name, entries, mask_format)(records[seed % len(records)])
        masks = covered(item)
        of_image, of_objects = agreement(item, masks)
        assert of_image > 0.999, (entries, of_image)
        # The edge of a polygon may end a pixel before that of the image.
        assert of_objects > (0.999 if mask_format == "bitmask" else 0.99), (entries, of_objects)
        if mask_format == "bitmask":  # the same nearest pixels: equal to the last one
            labels = item["sem_seg"].numpy()
            np.testing.assert_array_equal(masks.any(axis=0), (labels > 0) & (labels != 255))
        objects += len(masks)
        changed += not np.array_equal(
            item["image"].numpy()[0], np.asarray(Image.open(item["file_name"]))
        )
    assert objects > 60 and changed > 40
