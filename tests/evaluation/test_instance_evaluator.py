"""The instance evaluator on data sets written by hand."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import Instances

from evaluation_cases import DATASET_IDS, instances, rectangle
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import PredictionsError
from project.evaluation.detections import coco_results, from_instances
from project.evaluation.instance import InstanceEvaluator

BIG, SMALL = rectangle(2, 2, 34, 40), rectangle(40, 5, 20, 20)
SCENES = (
    [{"name": "cat", "mask": BIG}, {"name": "dog", "mask": SMALL}],
    [{"name": "cat", "mask": SMALL}],
    [],
)


def scored(name: str, predict: Any = instances, **settings: Any) -> dict[str, Any]:
    """Scores what `predict` makes of each record."""
    evaluator = InstanceEvaluator(name, **settings)
    for record in dataset_records(name):
        evaluator.process([record], [{"instances": predict(record)}])
    return evaluator.evaluate()


@pytest.mark.parametrize("backend", ["streamed", "faster-coco-eval", "pycocotools"])
def test_truth_as_prediction_scores_100(coco_dataset, backend):
    results = scored(coco_dataset(*SCENES), backend=backend)
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == results[task]["AP50"] == results[task]["AR100"] == 100.0
        assert results[task]["per_class"].keys() == DATASET_IDS.keys()
        assert all(of == {"AP": 100.0, "AP50": 100.0} for of in results[task]["per_class"].values())


def test_classes_are_matched_by_the_data_sets_own_ids(coco_dataset):
    """Things are sorted by dataset id: dog (4) is thing 0, cat (11) is thing 1."""
    name = coco_dataset(*SCENES)

    def swapped(record: dict) -> Instances:
        found = instances(record)
        found.pred_classes = 1 - found.pred_classes
        return found

    assert scored(name, swapped)["segm"]["AP"] == 0
    record = dataset_records(name)[0]
    found = from_instances(instances(record))
    results = coco_results(record["image_id"], found, dataset_info(name).categories)
    assert [r["category_id"] for r in results] == [11, 4]
    assert results[0]["bbox"] == [2, 2, 34, 40]
    assert results[0]["image_id"] == 100
    assert json.loads(json.dumps(results)) == results


def test_sizes_that_the_truth_lacks_are_none_with_a_reason(coco_dataset):
    results = scored(coco_dataset(*SCENES))
    assert results["segm"]["APs"] == 100.0
    assert results["segm"]["APl"] is None and results["segm"]["ARl"] is None
    assert "segm: APl and ARl are not defined: the truth has no large objects" in " ".join(
        results["notes"]
    )


def test_size_is_the_annotations_own_area(coco_dataset):
    """An object of 400 pixels whose file says 5000 counts as medium."""
    results = scored(coco_dataset([{"name": "cat", "mask": SMALL, "area": 5000}]))
    assert results["segm"]["APs"] is None
    assert results["segm"]["APm"] == results["bbox"]["APm"] == 100.0


def test_class_without_objects_is_none_with_a_reason(coco_dataset):
    results = scored(coco_dataset([{"name": "cat", "mask": BIG}]))
    assert results["bbox"]["per_class"]["dog"] == {"AP": None, "AP50": None}
    assert results["bbox"]["AP"] == 100.0
    assert "bbox: not in the truth, so left out of the means: dog" in results["notes"]


def test_no_detections_at_all_score_zero(coco_dataset):
    results = scored(coco_dataset(*SCENES), lambda record: instances(record)[:0])
    assert results["bbox"]["AP"] == results["segm"]["AP"] == 0.0
    assert "segm: there are no detections at all, so the scores are 0" in results["notes"]


def test_images_without_predictions_count_as_missed(coco_dataset):
    name = coco_dataset(*SCENES)
    evaluator = InstanceEvaluator(name)
    record = dataset_records(name)[0]
    evaluator.process([record], [{"instances": instances(record)}])
    results = evaluator.evaluate()
    assert results["segm"]["AR100"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert results["notes"][0].startswith("bbox: 2 of 3 images have no predictions")


def test_no_objects_at_all_is_none(coco_dataset):
    results = scored(coco_dataset([], []))
    assert results["bbox"] is None and results["segm"] is None
    assert results["notes"][0] == "bbox: the truth has no objects, so there is nothing to score"


def test_boxes_are_scored_where_the_truth_has_no_masks(coco_dataset):
    name = coco_dataset([{"name": "cat", "bbox": [2, 2, 34, 40]}])

    def predict(record: dict) -> Instances:
        found = instances(record, masks=False)
        found.pred_masks = torch.ones(1, 48, 64, dtype=torch.bool)
        return found

    results = scored(name, predict)
    assert results["bbox"]["AP"] == 100.0
    assert results["segm"] is None
    assert "segm: the truth has boxes only, no masks" in results["notes"]


def test_boxes_are_scored_where_the_model_has_no_masks(coco_dataset):
    name = coco_dataset(*SCENES)
    results = scored(name, lambda record: instances(record, masks=False))
    assert results["bbox"]["AP"] == 100.0
    assert results["segm"] is None
    assert "segm: the predictions have boxes only, no masks" in results["notes"]
    assert scored(name, tasks=("bbox",)).keys() == {"bbox", "notes"}


def test_another_limit_is_said(coco_dataset):
    results = scored(coco_dataset(*SCENES), max_detections=10)
    assert results["segm"]["AR10"] == 100.0
    assert any("at most 10 detections" in n and "100" in n for n in results["notes"])


def test_detections_on_crowds_are_forgiven(coco_dataset):
    crowd = {"name": "cat", "mask": rectangle(30, 0, 34, 48), "iscrowd": 1}
    name = coco_dataset([{"name": "cat", "mask": rectangle(2, 2, 20, 20)}, crowd])
    record = dataset_records(name)[0]
    evaluator = InstanceEvaluator(name)
    found = instances(
        {**record, "annotations": [{**a, "iscrowd": 0} for a in record["annotations"]]}
    )
    assert len(found) == 2
    evaluator.process([record], [{"instances": found}])
    assert evaluator.evaluate()["segm"]["AP"] == 100.0
    assert evaluator.image_scores == {100: 100.0}


def test_image_scores(coco_dataset):
    name = coco_dataset(*SCENES)
    evaluator = InstanceEvaluator(name)
    half, whole, empty = dataset_records(name)
    evaluator.process([half], [{"instances": instances(half)[:1]}])
    evaluator.process([whole], [{"instances": instances(whole)}])
    evaluator.process([empty], [{"instances": instances(empty)}])
    # TP 1, objects 2, detections 1: 2 / 3. An empty image without detections has nothing to score.
    assert evaluator.image_scores == pytest.approx({100: 200 / 3, 99: 100})


def test_truth_is_read_anew_by_every_evaluator(coco_dataset, tmp_path):
    name = coco_dataset(*SCENES)
    assert scored(name)["segm"]["AP"] == 100.0
    spec = next(tmp_path.glob("set*/spec.yaml"))
    path = spec.with_name("val.json")
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][:1]
    path.write_text(json.dumps(content))
    register_dataset(spec)
    results = scored(name)
    assert results["segm"]["per_class"]["dog"]["AP"] is None


@pytest.mark.parametrize("backend", ["streamed", "pycocotools"])
def test_masks_are_kept_only_for_a_library(coco_dataset, backend):
    name = coco_dataset(*SCENES)
    evaluator = InstanceEvaluator(name, backend=backend)
    record = dataset_records(name)[0]
    evaluator.process([record], [{"instances": instances(record)}])
    assert len(evaluator._detections) == (backend != "streamed")
    assert all(len(found.masks) == 2 for found in evaluator._detections.values())


def test_predictions_of_another_size_are_told(coco_dataset):
    name = coco_dataset(*SCENES)
    record = dataset_records(name)[0]
    found = Instances((64, 48), **instances(record, masks=False).get_fields())
    with pytest.raises(PredictionsError, match=r"0\.jpg: .*64 x 48, its image is 48 x 64"):
        InstanceEvaluator(name).process([record], [{"instances": found}])


def test_half_precision_outputs_are_taken(coco_dataset):
    name = coco_dataset(*SCENES)

    def half(record: dict) -> Instances:
        found = instances(record)
        found.scores = found.scores.bfloat16()
        return found

    assert np.isclose(scored(name, half)["segm"]["AP"], 100)
