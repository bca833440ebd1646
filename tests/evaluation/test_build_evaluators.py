"""Which evaluators a model and a data set get, and how they are joined."""

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator

import factories
from evaluation_cases import FORMATS, instances, panoptic, rectangle
from project.config import get_project_config
from project.data.labels import read_semantic
from project.data.register import dataset_info, dataset_records
from project.errors import ConfigError
from project.evaluation.build import Evaluators, build_evaluators, model_outputs


def config(**keys: object):
    cfg = get_project_config()
    cfg.MODEL.META_ARCHITECTURE = "MaskUNet"
    cfg.MODEL.MASK_ON = True
    for key, value in keys.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["instances", "sem_seg", "panoptic_seg"]),
        ({"MODEL__MASK_UNET__SEMANTICS": False}, ["instances"]),
        ({"MODEL__MASK_UNET__INSTANCES": False}, ["sem_seg"]),
        ({"MODEL__MASK_ON": False}, ["instances", "sem_seg"]),
        ({"MODEL__META_ARCHITECTURE": "GeneralizedRCNN"}, ["instances"]),
        ({"MODEL__META_ARCHITECTURE": "SemanticSegmentor"}, ["sem_seg"]),
    ],
)
def test_outputs_of_a_model(keys, expected):
    assert model_outputs(config(**keys)) == expected


def test_everything_is_scored_where_all_is_there(tmp_path, registered):
    registered(factories.make_coco(tmp_path, name="all"))
    evaluators = build_evaluators("all_val", config())
    assert isinstance(evaluators, DatasetEvaluator)
    assert [type(e).__name__ for e in evaluators] == [
        "InstanceEvaluator",
        "SemanticEvaluator",
        "PanopticEvaluator",
    ]
    results = evaluators.evaluate()
    assert list(results) == ["bbox", "segm", "sem_seg", "panoptic_seg", "notes"]
    assert {note.split(":")[0] for note in results["notes"]} == set(results) - {"notes"}


@pytest.mark.parametrize("form", FORMATS)
def test_the_truth_as_a_models_output_scores_exactly_100(tmp_path, registered, form):
    name = registered(FORMATS[form](tmp_path))[-1]
    evaluators = build_evaluators(name, config())
    info, records = dataset_info(name), dataset_records(name)
    for record in records:
        output = {
            "instances": instances(record),
            "sem_seg": torch.from_numpy(read_semantic(record, info)),
            "panoptic_seg": panoptic(record, name),
        }
        evaluators.process([record], [output])
    results = evaluators.evaluate()
    found = [results[t][m] for t, m in (("bbox", "AP"), ("segm", "AP"), ("sem_seg", "mIoU"))]
    found += [results["panoptic_seg"][m] for m in ("PQ", "SQ", "RQ", "PQ_th", "PQ_st")]
    assert found == [100.0] * 8


def test_data_without_things_has_no_instances(tmp_path, registered):
    registered(factories.make_label_map(tmp_path, name="flat"))
    evaluators = build_evaluators("flat_val", config())
    assert [type(e).__name__ for e in evaluators] == ["SemanticEvaluator"]
    results = evaluators.evaluate()
    assert results["bbox"] is results["segm"] is results["panoptic_seg"] is None
    reason = "segm: not scored: the data set has no countable classes"
    assert reason in results["notes"]


def test_data_with_boxes_only_has_no_semantics(coco_dataset):
    name = coco_dataset([{"name": "cat", "bbox": [2, 2, 34, 40]}])
    evaluators = build_evaluators(name, config())
    assert [type(e).__name__ for e in evaluators] == ["InstanceEvaluator"]
    results = evaluators.evaluate()
    assert results["bbox"]["AP"] == 0.0
    assert results["sem_seg"] is results["panoptic_seg"] is None
    assert "sem_seg: not scored: the data set has neither label maps nor masks" in results["notes"]


def test_config_keys_reach_the_evaluator(coco_dataset):
    name = coco_dataset([{"name": "cat", "mask": rectangle(2, 2, 34, 40)}])
    keys = {"MODEL__MASK_UNET__SEMANTICS": False, "TEST__COCO_MAX_DETECTIONS": 10}
    evaluators = build_evaluators(name, config(**keys))
    (record,) = dataset_records(name)
    evaluators.process([record], [{"instances": instances(record)}])
    assert evaluators.evaluate()["segm"]["AR10"] == 100.0
    boxes = build_evaluators(name, config(**keys, MODEL__MASK_ON=False))
    assert "segm" not in boxes.evaluate()
    with pytest.raises(ConfigError, match=r"TEST\.COCO_BACKEND is 'cocoapi'"):
        build_evaluators(name, config(**keys, TEST__COCO_BACKEND="cocoapi"))


def test_reset_reaches_all(tmp_path, registered):
    registered(factories.make_coco(tmp_path, name="again"))
    evaluators = build_evaluators("again_val", config(MODEL__MASK_UNET__SEMANTICS=False))
    record = dataset_records("again_val")[0]
    evaluators.process([record], [{"instances": instances(record)}])
    evaluators.reset()
    assert evaluators.evaluate()["segm"]["AP"] == 0.0


def test_no_evaluators_give_no_scores():
    assert Evaluators([]).evaluate() == {"notes": []}
