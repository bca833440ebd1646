"""Label maps from instances, instances from label maps, and both scored from a config."""

import numpy as np
import pytest
import torch

from evaluation_cases import instances, rectangle
from project.config import get_project_config
from project.data.categories import Categories
from project.data.labels import decode_mask, read_semantic
from project.data.register import dataset_info, dataset_records
from project.evaluation.build import build_evaluators, metric_names
from project.evaluation.cross_tasks import instances_of, label_map_of
from project.evaluation.detections import from_instances, no_detections
from project.evaluation.results import DETAILS

PETS = Categories(things=("dog", "cat"), stuff=("background",))
FLOORS = Categories(things=("dog", "cat"), stuff=("grass", "road"))


@pytest.fixture
def record(coco_dataset) -> dict:
    """A large dog (thing 0) behind a cat (thing 1)."""
    shapes = [("dog", rectangle(5, 5, 40, 30)), ("cat", rectangle(10, 10, 8, 8))]
    return dataset_records(coco_dataset([{"name": n, "mask": m} for n, m in shapes]))[0]


def test_the_most_confident_is_on_top_and_the_unsure_are_left_out(record):
    found = instances(record)
    found.scores = torch.tensor([0.6, 0.9])
    labels = label_map_of(found, PETS, min_score=0.5)
    assert [(labels == k).sum() for k in range(3)] == [48 * 64 - 1200, 1200 - 64, 64]
    found.scores = torch.tensor([0.9, 0.6])
    assert set(np.unique(label_map_of(found, PETS, min_score=0.5))) == {0, 1}
    assert set(np.unique(label_map_of(found, PETS, min_score=0.95))) == {0}
    assert label_map_of(no_detections((4, 5)), PETS, min_score=0.5).shape == (4, 5)


def test_which_of_several_stuff_classes_is_below_cannot_be_said(record):
    labels = label_map_of(from_instances(instances(record)), FLOORS, min_score=0.5)
    assert set(np.unique(labels)) == {2, 3, 255}


def test_regions_are_scored_by_their_mean_probability():
    """Two diagonal pixels are one region of the cat; the dog has the surer one."""
    probabilities = np.full((3, 4, 6), 0.1)
    probabilities[0] = 0.8
    probabilities[:, 0, 0] = probabilities[:, 1, 1] = [0.2, 0.2, 0.6]
    probabilities[:, 1, 1] = [0.0, 0.2, 0.8]
    probabilities[:, 3, 3:] = np.array([0.05, 0.9, 0.05])[:, None]
    logits = torch.from_numpy(probabilities + 1e-9).log()
    found = instances_of(logits, PETS)
    assert found.classes.tolist() == [0, 1], "the largest comes first"
    assert found.scores.tolist() == pytest.approx([0.9, 0.7], abs=1e-6)
    assert found.boxes.tolist() == [[3, 3, 3, 1], [0, 0, 2, 2]]
    mask = decode_mask(found.rles[1], 4, 6)
    assert mask.sum() == 2 and mask[0, 0] and mask[1, 1]
    ids = instances_of(logits.argmax(dim=0), PETS)
    assert ids.scores.tolist() == [1, 1] and ids.masks == found.masks
    assert len(instances_of(np.zeros((4, 6), np.uint8), PETS)) == 0


@pytest.fixture
def cfg():
    cfg = get_project_config()
    cfg.MODEL.META_ARCHITECTURE = "MaskUNet"
    cfg.MODEL.MASK_UNET.INSTANCES = cfg.MODEL.MASK_UNET.SEMANTICS = True
    cfg.TEST.CROSS_TASKS = cfg.TEST.BOUNDARY = True
    return cfg


def test_a_config_scores_both_families_on_both_tasks(coco_dataset, cfg):
    name = coco_dataset(
        [{"name": "cat", "mask": rectangle(2, 2, 34, 40)}],
        [{"name": "dog", "mask": rectangle(40, 5, 20, 20)}],
    )
    evaluators = build_evaluators(name, cfg)
    for record in dataset_records(name):
        semantic = torch.from_numpy(read_semantic(record, dataset_info(name)))
        empty = (torch.zeros(semantic.shape, dtype=torch.int32), [])
        output = {"instances": instances(record), "sem_seg": semantic, "panoptic_seg": empty}
        evaluators.process([record], [output])
    results = evaluators.evaluate()
    assert results["sem_seg_from_instances"]["mIoU"] == 100.0
    assert results["segm_from_sem_seg"]["AP"] == results["boundary"]["AP"] == 100.0
    assert results["panoptic_seg"]["PQ"] == 0.0
    statistics = evaluators.image_statistics()
    assert statistics.tasks.keys() == results.keys() - {"notes"}
    assert statistics.images == [99, 100]
    assert all("sem_seg_from_instances:" not in note for note in results["notes"])
    scored = {f"{task}/{m}" for task in ("boundary", "segm_from_sem_seg") for m in results[task]}
    assert {name for name in scored if name.split("/")[1] not in DETAILS} <= set(metric_names(cfg))
    evaluators.reset()
    assert evaluators.evaluate()["segm_from_sem_seg"]["AP"] == 0.0


def test_the_error_cannot_choose_the_best_checkpoint(cfg):
    cfg.TEST.RAND_FOREGROUND = "cat"
    names = metric_names(cfg)
    assert "sem_seg/VRand" in names and "sem_seg/ARE" not in names
