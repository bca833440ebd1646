"""Tiny data in the folder trees of the public benchmarks, as `datasets/*.yaml` expect them."""

import json
import shutil
from pathlib import Path
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

import factories
from factories_cityscapes import make_cityscapes
from factories_coco_panoptic import STUFF_IDS, make_coco_panoptic
from factories_voc import make_voc

NUM_IMAGES = 2
# What stands for a class of the tiny data: squares and discs have the numbers of cars and trains.
_STUFF = {STUFF_IDS["sky"]: 187, STUFF_IDS["ground"]: 193}  # sky and grass of COCO


def make_benchmarks(root: Path) -> Path:
    """Writes all of them; returns the folder for the variable DETECTRON2_DATASETS."""
    _make_coco2017(root / "coco", root / "work")
    make_cityscapes(root / "cityscapes", num_images=NUM_IMAGES, name="tiny_cityscapes")
    make_voc(root / "VOC2012", num_images=NUM_IMAGES, name="tiny_voc")
    _add_sbd(root / "VOC2012")
    return root


def _make_coco2017(root: Path, work: Path) -> None:
    """Objects and panoptic segments of the same images."""
    make_coco_panoptic(work / "panoptic", num_images=NUM_IMAGES, name="tiny_panoptic")
    factories.make_coco(work / "objects", num_images=NUM_IMAGES, name="tiny_coco")
    (root / "annotations").mkdir(parents=True)
    for split in factories.SPLITS:
        shutil.move(work / "objects" / "images" / split, root / f"{split}2017")
        shutil.move(work / "panoptic" / f"panoptic_{split}", root / f"panoptic_{split}2017")
        objects = _read(work / "objects" / f"{split}.json")
        segments = _read(work / "panoptic" / f"panoptic_{split}.json")
        for segment in (s for entry in segments["annotations"] for s in entry["segments_info"]):
            segment["category_id"] = _STUFF.get(segment["category_id"], segment["category_id"])
        things = [category for category in COCO_CATEGORIES if category["isthing"]]
        for kind, content, known in (
            ("instances", objects, things),
            ("panoptic", segments, COCO_CATEGORIES),
        ):
            content["categories"] = [{k: c[k] for k in ("id", "name", "isthing")} for c in known]
            path = root / "annotations" / f"{kind}_{split}2017.json"
            path.write_text(json.dumps(content), encoding="utf-8")


def _add_sbd(root: Path) -> None:
    """Class maps and the list that SBD adds: here, those of VOC itself."""
    shutil.copytree(root / "SegmentationClass", root / "SegmentationClassAug")
    lists = root / "ImageSets" / "Segmentation"
    shutil.copy(lists / "train.txt", lists / "trainaug.txt")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
