"""One look at each pixel counts what several looks do."""

import numpy as np
import pytest

from project.evaluation import label_counts as module
from project.evaluation.confusion import confusion_matrix
from project.evaluation.label_counts import label_counts


@pytest.mark.parametrize("classes", [1, 2, 19, 127, 128, 254, 255])
@pytest.mark.parametrize("shape", [(1, 1), (40, 70), (90, 33)])
def test_together_as_one_by_one(monkeypatch, classes, shape):
    """In strips; 128 classes do not fit into 16 bits together with the boundaries."""
    rng = np.random.default_rng(classes)
    coarse = rng.integers(0, classes, (2, 9, 14), dtype=np.uint8)
    truth, prediction = coarse.repeat(10, 1).repeat(5, 2)[:, : shape[0], : shape[1]].copy()
    speckled = rng.random(shape) < 0.02
    prediction[speckled] = rng.integers(0, classes)
    truth[rng.random(shape) < 0.05] = prediction[rng.random(shape) < 0.02] = 255
    one_by_one, together = module._one_by_one, module._joint_histogram
    used = []
    monkeypatch.setattr(module, "_PIXELS", 500)
    monkeypatch.setattr(module, "_joint_histogram", lambda *a: used.append(1) or together(*a))
    matrix, boundary = label_counts(truth, prediction, classes)
    assert bool(used) == (classes < 128)
    monkeypatch.setattr(module, "_CODES", 0)
    monkeypatch.setattr(module, "_one_by_one", lambda *a: used.append(2) or one_by_one(*a))
    expected_matrix, expected_boundary = label_counts(truth, prediction, classes)
    assert used[-1] == 2
    np.testing.assert_array_equal(matrix, expected_matrix)
    np.testing.assert_array_equal(boundary, expected_boundary)
    np.testing.assert_array_equal(matrix, confusion_matrix(truth, prediction, classes))
    assert boundary.dtype == matrix.dtype == np.int64
