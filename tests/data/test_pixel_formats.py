"""Formats that hold objects as pixels: every pixel arrives at the model, and scores 100."""

import cv2
import numpy as np
import pytest

import factories
from format_checks import check_perfect_scores, collect, map_records, masks_of
from hard_scenes import hard_scenes
from project.data.register import choose_mask_format, dataset_info

SIZE = (64, 80)
HARD = {"holes": True, "parts": True, "cut": True}
FORMATS = {
    "voc": {},
    "mask_folder": {},
    "coco_panoptic": {"crowd": True},
}


@pytest.fixture(params=FORMATS)
def case(request, tmp_path):
    """A specification, the scenes that were written for its split train, whether with crowds."""
    keywords = {**HARD, **FORMATS[request.param]}
    spec = factories.make(request.param, tmp_path, size=SIZE, **keywords)
    scenes = hard_scenes(np.random.default_rng(0), 6, SIZE, **keywords)
    return spec, scenes, "crowd" in keywords


def key(mask: np.ndarray) -> bytes:
    return np.packbits(mask).tobytes()


def test_objects_reach_the_model_whole(case):
    spec, scenes, with_crowds = case
    rings = halves = cut = crowds = 0
    items = map_records(spec)
    for (record, item), (_, shapes) in zip(items, scenes, strict=True):
        taught = {key(s["mask"]): s for s in shapes if not s["iscrowd"]}
        found = masks_of(item)
        assert {key(mask) for mask in found} == taught.keys() and len(found) == len(taught)
        for mask, thing, box in zip(
            found, item["instances"].gt_classes.tolist(), item["instances"].gt_boxes.tensor
        ):
            assert ["square", "disc"][thing] == taught[key(mask)]["kind"]
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            assert box.tolist() == [x, y, x + width, y + height]
            around = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)[0] - 1
            rings += thing == 1 and around > 1
            halves += cv2.connectedComponents(mask.astype(np.uint8))[0] > 2
            cut += mask[-1].any() or mask[:, -1].any()
        crowds += sum(annotation["iscrowd"] for annotation in record["annotations"])
    assert rings > 2 and halves > 2 and cut > 5
    assert crowds == sum(shape["iscrowd"] for _, shapes in scenes for shape in shapes)
    assert (crowds > 2) == with_crowds
    assert choose_mask_format([items[0][0]["dataset"]]) == "bitmask"


def test_semantic_truth_is_that_of_the_scene(case):
    spec, scenes, _ = case
    for (record, item), (_, shapes) in zip(map_records(spec), scenes, strict=True):
        semantic = item["sem_seg"].numpy()
        first = len(dataset_info(record["dataset"]).categories.stuff)
        covered = np.zeros(SIZE, dtype=bool)
        for shape in shapes:
            thing = first + ["square", "disc"].index(shape["kind"])
            assert (semantic[shape["mask"]] == (255 if shape["iscrowd"] else thing)).all()
            covered |= shape["mask"]
        assert (semantic[~covered] < first).all() and covered.any() and not covered.all()


def test_truth_scores_100(case, tmp_path):
    check_perfect_scores(case[0], tmp_path / "perfect")


def test_clean_sets_raise_nothing(case):
    for split in factories.SPLITS:
        records, found = collect(case[0], split)
        assert len(records) == 6 and not found


@pytest.mark.parametrize(
    ("format", "keywords"),
    [
        ("voc", {"void": True}),
        ("voc", {}),
        ("mask_folder", {"flat": True}),
        ("mask_folder", {"white": 1}),
        ("coco_panoptic", {"void": True}),
    ],
)
def test_variants_score_100_too(tmp_path, format, keywords):
    spec = factories.make(format, tmp_path, **keywords)
    assert not collect(spec)[1]
    check_perfect_scores(spec, tmp_path / "perfect")
