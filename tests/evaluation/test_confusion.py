"""The confusion matrix and its scores, against scikit-learn and hand values."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from project.evaluation.confusion import confusion_matrix, semantic_scores, statistics

NAMES = ("sky", "road", "car", "tree")


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    """A truth with ignored pixels and a prediction that is right in about half of the others."""
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 2, 3, 255], p=[0.4, 0.3, 0.15, 0.05, 0.1], size=(61, 47))
    noise = rng.integers(0, 4, truth.shape)
    prediction = np.where(rng.random(truth.shape) < 0.5, np.minimum(truth, 3), noise)
    return truth.astype(np.uint8), prediction.astype(np.uint8)


def test_matrix_is_scikit_learns(maps):
    truth, prediction = maps
    counted = truth != 255
    assert 0 < counted.sum() < counted.size
    expected = sklearn_confusion_matrix(truth[counted], prediction[counted], labels=range(4))
    found = confusion_matrix(truth, prediction, 4)
    assert found.shape == (4, 5)
    np.testing.assert_array_equal(found[:, :4], expected)
    assert found[:, 4].sum() == 0


def test_scores_are_scikit_learns(maps):
    truth, prediction = maps
    scores = semantic_scores(statistics(confusion_matrix(truth, prediction, 4)), NAMES)
    true, predicted = truth[truth != 255], prediction[truth != 255]
    references = {
        "IoU": jaccard_score(true, predicted, average=None),
        "Dice": f1_score(true, predicted, average=None),
        "ACC": recall_score(true, predicted, average=None),
    }
    assert 5 < scores["mIoU"] < 95, "an all-right or all-wrong case proves nothing"
    for metric, values in references.items():
        found = [scores["per_class"][name][metric] for name in NAMES]
        assert found == pytest.approx(100 * values, abs=1e-10)
    assert scores["mIoU"] == pytest.approx(100 * references["IoU"].mean(), abs=1e-10)
    assert scores["mDice"] == pytest.approx(100 * references["Dice"].mean(), abs=1e-10)
    assert scores["mACC"] == pytest.approx(100 * references["ACC"].mean(), abs=1e-10)
    weighted = jaccard_score(true, predicted, average="weighted")
    assert scores["fwIoU"] == pytest.approx(100 * weighted, abs=1e-10)
    assert scores["pACC"] == pytest.approx(100 * accuracy_score(true, predicted), abs=1e-10)


def test_pixels_without_a_class_miss_and_harm_no_other():
    truth = np.array([[0, 0, 0, 1]], dtype=np.uint8)
    prediction = np.array([[0, 0, 255, 1]], dtype=np.uint8)
    scores = semantic_scores(statistics(confusion_matrix(truth, prediction, 2)), ("a", "b"))
    # a: TP 2, FN 1, FP 0; b: TP 1.
    assert scores["per_class"]["a"] == pytest.approx({"IoU": 200 / 3, "Dice": 80, "ACC": 200 / 3})
    assert scores["per_class"]["b"] == {"IoU": 100, "Dice": 100, "ACC": 100}
    assert scores["pACC"] == 75


def test_absent_classes_are_left_out_and_invented_ones_count():
    truth = np.array([[0, 0, 0, 0]], dtype=np.uint8)
    prediction = np.array([[0, 0, 0, 2]], dtype=np.uint8)
    scores = semantic_scores(
        statistics(confusion_matrix(truth, prediction, 3)), ("a", "absent", "invented")
    )
    assert scores["per_class"]["absent"] == {"IoU": None, "Dice": None, "ACC": None}
    assert scores["per_class"]["invented"] == {"IoU": 0, "Dice": 0, "ACC": None}
    assert scores["mIoU"] == pytest.approx((75 + 0) / 2)
    assert scores["mACC"] == 75


def test_nothing_to_score_is_none():
    truth = np.full((2, 2), 255, dtype=np.uint8)
    scores = semantic_scores(
        statistics(confusion_matrix(truth, np.zeros_like(truth), 2)), ("a", "b")
    )
    assert {scores[key] for key in ("mIoU", "fwIoU", "mACC", "pACC", "mDice")} == {None}


def test_255_classes_fill_the_matrix_without_overflow():
    truth = np.arange(256, dtype=np.uint8)[None]
    found = confusion_matrix(truth, truth, 255)
    np.testing.assert_array_equal(found[:, :255], np.eye(255))
    assert found[:, 255].sum() == 0
