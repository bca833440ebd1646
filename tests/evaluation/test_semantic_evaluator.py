"""The semantic evaluator on small data sets."""

import pickle

import numpy as np
import pytest
import torch

import factories
from project.data.labels import read_semantic
from project.data.register import dataset_info, dataset_records
from project.errors import PredictionsError
from project.evaluation.semantic import SemanticEvaluator


def logits(ids: np.ndarray, num_classes: int) -> torch.Tensor:
    """(K, H, W) logits whose maximum is at `ids` (H, W)."""
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(ids).long(), num_classes)
    return one_hot.permute(2, 0, 1) * 3.0 - 1.0


@pytest.fixture
def name(tmp_path, registered):
    registered(factories.make_label_map(tmp_path, ignore=True, name="seg"))
    return "seg_val"


def test_logits_and_label_maps_score_alike(name):
    info, records = dataset_info(name), dataset_records(name)
    rng = np.random.default_rng(0)
    by_logits, by_ids = SemanticEvaluator(name), SemanticEvaluator(name)
    for record in records:
        truth = read_semantic(record, info)
        wrong = rng.random(truth.shape) < 0.3
        ids = np.where(wrong | (truth == 255), rng.integers(0, 3, truth.shape), truth)
        by_logits.process([record], [{"sem_seg": logits(ids, 3)}])
        by_ids.process([record], [{"sem_seg": torch.from_numpy(ids)}])
    scores = by_logits.evaluate()
    assert 5 < scores["sem_seg"]["mIoU"] < 95
    assert scores == by_ids.evaluate()
    assert scores["notes"] == []
    assert by_logits.image_scores.keys() == {record["image_id"] for record in records}


def test_image_scores_tell_good_from_bad(name):
    info, (first, second, *_) = dataset_info(name), dataset_records(name)
    evaluator = SemanticEvaluator(name)
    truth = read_semantic(first, info)
    evaluator.add(first["image_id"], truth, "")
    evaluator.add(second["image_id"], np.zeros_like(truth), "")
    assert evaluator.image_scores[first["image_id"]] == 100
    assert 0 < evaluator.image_scores[second["image_id"]] < 50
    assert evaluator.evaluate()["notes"][0].startswith("sem_seg: 4 of 6 images were not predicted")


def test_what_is_kept_does_not_grow(name):
    info, records = dataset_info(name), dataset_records(name)
    evaluator = SemanticEvaluator(name)
    sizes = []
    for record in records:
        truth = read_semantic(record, info)
        evaluator.process([record], [{"sem_seg": logits(np.minimum(truth, 2), 3)}])
        kept = {k: v for k, v in vars(evaluator).items() if k not in ("info", "records")}
        sizes.append(len(pickle.dumps(kept)))
    # An id and a score an image; the label map alone has 4096 pixels.
    assert sizes[-1] - sizes[0] < 50 * len(records)


def test_pixels_without_a_class_are_said(name):
    info, records = dataset_info(name), dataset_records(name)
    evaluator = SemanticEvaluator(name)
    for record in records:
        prediction = read_semantic(record, info).copy()
        prediction[:16] = 255
        evaluator.add(record["image_id"], prediction, "")
    results = evaluator.evaluate()
    # A quarter of the rows; an eighth of all is ignored.
    assert results["sem_seg"]["pACC"] == pytest.approx(100 * (56 - 16) / 56)
    assert results["notes"] == [
        "sem_seg: 28.6% of the labelled pixels are predicted as 255, no class, and count as missed"
    ]


def test_reset_forgets(name):
    info, records = dataset_info(name), dataset_records(name)
    evaluator = SemanticEvaluator(name)
    evaluator.add(records[0]["image_id"], np.zeros((64, 64), dtype=np.uint8), "")
    evaluator.reset()
    for record in records:
        evaluator.add(record["image_id"], read_semantic(record, info), "")
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == 100


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((64, 32), dtype=np.int64), r"a\.png: .* 64 x 32.*is 64 x 64"),
        (np.full((64, 64), 3), r"a\.png: .*ids 0 to 2.*\[3\] in 100\.0%"),
        (np.full((64, 64), -1), r"a\.png: .*\[-1\]"),
        (np.full((64, 64), 257), r"a\.png: .*\[257\]"),
    ],
)
def test_wrong_predictions_are_told(name, ids, message):
    record = dataset_records(name)[0]
    item = {"image_id": record["image_id"], "file_name": "a.png"}
    with pytest.raises(PredictionsError, match=message):
        SemanticEvaluator(name).process([item], [{"sem_seg": torch.from_numpy(ids)}])


def test_unknown_image_is_told(name):
    with pytest.raises(PredictionsError, match=r"image 'x'.*seg_val does not have"):
        SemanticEvaluator(name).add("x", np.zeros((64, 64)), "a.png")
