"""Holes, many parts, crowds and objects that the border cuts, from any file to any picture."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import factories
from evaluation_cases import erase_unlisted
from hard_scenes import hard_scenes
from project.data.labels import decode_mask, read_semantic
from project.data.mapper import SegmentationMapper
from project.data.records import Record
from project.data.register import DatasetInfo, dataset_info, dataset_records, register_dataset
from project.evaluation.prediction_files import score_predictions
from project.report.overlays import draw_instances

SIZE = (96, 128)
HOLES, PARTS, CUT, CROWD = "holes", "parts", "cut", "crowd"
NUM_IMAGES = 6


@dataclass(frozen=True)
class Hard:
    """What a format can hold of what is hard.

    Attributes:
        make: writes a data set into a folder; takes `hard`, all of which the scenes have.
        holds: what it can hold.
    """

    make: Callable[[Path], Path]
    holds: tuple[str, ...] = (HOLES, PARTS, CUT, CROWD)


def of_factory(form: str, *kinds: str) -> Callable[[Path], Path]:
    """How a format's own factory writes such scenes."""
    hard = dict.fromkeys(kinds, True)
    return lambda root: factories.make(form, root, num_images=NUM_IMAGES, size=SIZE, **hard)


def hard_coco(root: Path) -> Path:
    """Masks as RLE, as polygons hold no holes."""
    rng = np.random.default_rng(0)
    spec = {"name": "hard_coco", "format": "coco", "splits": {}}
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, NUM_IMAGES, SIZE, holes=True, parts=True, cut=True, crowd=True)
        factories._write_images(root / "images" / split, [image for image, _ in scenes])
        content = factories._coco_content([shapes for _, shapes in scenes], SIZE, "rle")
        (root / f"{split}.json").write_text(json.dumps(content))
        spec["splits"][split] = {"images": f"images/{split}", "annotations": f"{split}.json"}
    return factories._write_spec(root, spec)


def hard_label_map(root: Path) -> Path:
    """Objects are what hangs together, so that parts are objects of their own."""
    rng = np.random.default_rng(0)
    names = ["background", "square", "disc"]
    spec = {"name": "hard_maps", "format": "label_map", "classes": names, "things": names[1:]}
    spec |= {"instances": "connected_components", "splits": {}}
    for split in factories.SPLITS:
        scenes = hard_scenes(rng, NUM_IMAGES, SIZE, holes=True, cut=True)
        maps = [factories._label_ids(shapes, SIZE) for _, shapes in scenes]
        factories._write_images(root / "images" / split, [image for image, _ in scenes])
        factories._write_labels(root / "labels" / split, maps, Image.fromarray)
        spec["splits"][split] = {"images": f"images/{split}", "labels": f"labels/{split}"}
    return factories._write_spec(root, spec)


FORMATS: dict[str, Hard] = {
    "coco": Hard(hard_coco),
    "label_map": Hard(hard_label_map, (HOLES, CUT)),
    "coco_panoptic": Hard(of_factory("coco_panoptic", HOLES, PARTS, CUT, CROWD)),
    "voc": Hard(of_factory("voc", HOLES, PARTS, CUT), (HOLES, PARTS, CUT)),
    "cityscapes": Hard(of_factory("cityscapes", HOLES, PARTS, CUT, CROWD)),
    "yolo": Hard(of_factory("yolo", HOLES, PARTS, CUT), (HOLES, PARTS, CUT)),
    "labelme": Hard(of_factory("labelme", HOLES, PARTS, CUT), (HOLES, PARTS, CUT)),
    "mask_folder": Hard(of_factory("mask_folder", HOLES, PARTS, CUT), (HOLES, PARTS, CUT)),
}


def kinds_of(record: Record) -> set[str]:
    """What is hard about the objects of an image, found in their pixels."""
    found: set[str] = set()
    for annotation, mask in zip(record["annotations"], masks_of(record), strict=True):
        if annotation["iscrowd"]:
            found.add(CROWD)
            continue
        background = np.pad(~mask, 1, constant_values=True).view(np.uint8)
        found |= {HOLES} if cv2.connectedComponents(background, connectivity=4)[0] > 2 else set()
        parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[0] - 1
        found |= {PARTS} if parts > 1 else set()
        found |= {CUT} if mask[-1].any() or mask[:, -1].any() else set()
    return found


def masks_of(record: Record) -> list[np.ndarray]:
    size = record["height"], record["width"]
    return [decode_mask(a["segmentation"], *size) for a in record["annotations"]]


@pytest.fixture(params=FORMATS)
def hard(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a format and a data set of it, registered."""
    spec = FORMATS[request.param].make(tmp_path / "data")
    register_dataset(spec)
    return request.param, spec


def test_they_survive_from_file_to_picture(hard: tuple[str, Path], tmp_path: Path):
    form, spec = hard
    name = register_dataset(spec)[1]
    info, records = dataset_info(name), dataset_records(name)
    kinds = set().union(*map(kinds_of, records))
    assert kinds == set(FORMATS[form].holds), "the case is not hard enough, or the reader lost it"
    for record in records:
        fed_is_the_truth(record, info)
        pictured_is_the_truth(record, info)
    perfect_predictions_are_the_truth(spec, name, tmp_path / "perfect")


def fed_is_the_truth(record: Record, info: DatasetInfo) -> None:
    """What the mapper gives a model, without augmentation."""
    mapper = SegmentationMapper(
        is_train=True,
        augmentations=[],
        image_format="RGB",
        mask_format="bitmask",
        instances=True,
        semantics=True,
        infos={info.name: info},
    )
    item = mapper(record)
    pairs = zip(record["annotations"], masks_of(record), strict=True)
    taught = [mask for annotation, mask in pairs if not annotation["iscrowd"]]
    np.testing.assert_array_equal(item["instances"].gt_masks.tensor.numpy(), np.array(taught))
    boxes = item["instances"].gt_boxes.tensor.tolist()
    for mask, (x0, y0, x1, y1) in zip(taught, boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
    np.testing.assert_array_equal(item["sem_seg"].numpy(), read_semantic(record, info))


def pictured_is_the_truth(record: Record, info: DatasetInfo) -> None:
    """Each object is painted where it is, and its holes and gaps are not."""
    plain = np.full((record["height"], record["width"], 3), 7, np.uint8)
    colours = np.full((len(info.categories.things), 3), 200, np.uint8)
    for annotation, mask in zip(record["annotations"], masks_of(record), strict=True):
        classes, names = np.array([annotation["category_id"]]), [""] * len(colours)
        picture = draw_instances(plain, mask[None], classes, None, names, colours)
        np.testing.assert_array_equal((picture != plain).any(axis=2), mask)


def perfect_predictions_are_the_truth(spec: Path, name: str, folder: Path) -> None:
    """Files of predictions that say the truth score 100."""
    paths = factories.write_perfect_predictions(spec, "val", folder)
    erase_unlisted(paths["panoptic"])
    assert score_predictions(name, paths["coco"])["segm"]["AP"] == 100.0
    assert score_predictions(name, paths["label_map"])["sem_seg"]["mIoU"] == 100.0
    assert score_predictions(name, paths["panoptic"])["panoptic_seg"]["PQ"] == 100.0
    truth = {}
    for record in dataset_records(name):
        pairs = zip(record["annotations"], masks_of(record), strict=True)
        truth[record["image_id"]] = [mask for a, mask in pairs if not a["iscrowd"]]
    for result in json.loads(paths["coco"].read_text()):
        mask = decode_mask(result["segmentation"], *SIZE)
        np.testing.assert_array_equal(mask, truth[result["image_id"]].pop(0))
    assert not any(truth.values())
