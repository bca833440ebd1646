"""The same three photos as labelme's files and as what labelme itself exported of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from project.data.categories import IGNORE_LABEL
from project.data.labels import decode_mask, read_semantic
from project.data.register import dataset_info, dataset_records, register_dataset

FOLDER = "labelme_voc/examples/instance_segmentation"


def register(shared_data: Path, format: str, annotations: str, **keys) -> str:
    root, splits = str(shared_data / FOLDER), {"all": {"annotations": annotations}}
    return register_dataset(
        name=f"photos_{format}", format=format, root=root, splits=splits, **keys
    )[0]


def test_objects_are_those_of_the_coco_file(shared_data):
    """Classes are matched by their names, objects by their order."""
    name = register(shared_data, "labelme", "data_annotated")
    things = list(dataset_info(name).categories.things)
    other = register(shared_data, "coco", "data_dataset_coco/annotations.json", things=things)
    exported = {Path(r["file_name"]).stem: r for r in dataset_records(other)}
    compared = 0
    for record in dataset_records(name):
        size = record["height"], record["width"]
        drawn = [a for a in record["annotations"] if not a["iscrowd"]]
        for own, its in zip(drawn, exported[record["image_id"]]["annotations"], strict=True):
            assert own["category_id"] == its["category_id"]
            np.testing.assert_array_equal(
                decode_mask(own["segmentation"], *size), decode_mask(its["segmentation"], *size)
            )
            # The export counts the pixels of the outline too.
            assert own["area"] == pytest.approx(its["area"], rel=0.08)
            compared += 1
    assert compared == 12


def test_semantic_truth_is_that_of_the_voc_files(shared_data):
    """All but pixels on outlines, which the export counts as inside; what is ignored, too."""
    info = dataset_info(register(shared_data, "labelme", "data_annotated"))
    folder = shared_data / FOLDER / "data_dataset_voc"
    numbers = {n: i for i, n in enumerate((folder / "class_names.txt").read_text().splitlines())}
    values = [numbers["_background_"], *(numbers[name] for name in info.categories.things)]
    ignored = 0
    for record in dataset_records(info.name):
        semantic = read_semantic(record, info)
        exported = np.asarray(
            Image.open(folder / "SegmentationClass" / f"{record['image_id']}.png")
        )
        assert len(np.unique(exported)) >= 3
        table = np.full(256, IGNORE_LABEL)
        table[: len(values)] = values
        assert (table[semantic] == exported).mean() > 0.99
        both = (semantic == IGNORE_LABEL) & (exported == IGNORE_LABEL)
        either = (semantic == IGNORE_LABEL) | (exported == IGNORE_LABEL)
        assert both.sum() >= 0.95 * either.sum()
        ignored += either.any()
    assert ignored == 2
