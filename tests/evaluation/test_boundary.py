"""Boundary IoU against slow references, Detectron2's mistake, and faster-coco-eval."""

import cv2
import faster_coco_eval
import numpy as np
import pytest

from coco_cases import random_set, with_areas
from project.evaluation.average_precision import precision_scores
from project.evaluation.boundary import (
    boundary_ious,
    boundary_width,
    extreme_in_square,
    mask_boundary,
)
from project.evaluation.coco_backend import score_and_match
from project.evaluation.label_counts import label_counts
from project.evaluation.matches import match_table


def slow_boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask whose square of side 2 * width + 1 is not all mask, by summed areas."""
    side = 2 * width + 1
    sums = np.pad(np.pad(mask, width).astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return mask & (inside < side**2)


def blobs(shape: tuple[int, int], seed: int, classes: int) -> np.ndarray:
    """(H, W) uint8 labels in smooth regions."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(shape), (0, 0), 5)
    edges = np.quantile(noise, np.linspace(0, 1, classes + 1)[1:-1])
    return np.digitize(noise, edges).astype(np.uint8)


def test_width_is_two_percent_of_the_diagonal():
    assert [boundary_width(*size) for size in ((5, 5), (64, 64), (480, 640))] == [1, 2, 16]


@pytest.mark.parametrize("shape", [(64, 64), (200, 90), (6, 125), (1, 7)])
def test_mask_boundary_is_the_slow_one(shape):
    """Also in images lower than the boundary is wide, where faster-coco-eval's own is not."""
    mask, width = blobs(shape, 0, 2) == 1, boundary_width(*shape)
    expected = slow_boundary(mask, width)
    assert expected.any()
    np.testing.assert_array_equal(mask_boundary(mask, width), expected)


@pytest.mark.parametrize("classes", [4, 254])
def test_label_maps_are_counted_class_by_class(classes):
    """With ignored pixels, which fit to every class, and pixels that are predicted as no class."""
    truth = blobs((150, 120), 1, 4)
    prediction = np.roll(truth, (3, 5), (0, 1))
    if classes == 254:  # the largest ids that there can be
        truth, prediction = truth + 250, prediction + 250
    truth[40:90, :30] = prediction[:20, 50:] = 255
    ignored, width = truth == 255, boundary_width(*truth.shape)
    counts = label_counts(truth, prediction, classes)[1]
    assert counts.shape == (classes, 2)
    for k in np.unique(truth[~ignored]):
        if k < classes:
            of = [slow_boundary((m == k) | ignored, width) & (m == k) & ~ignored
                  for m in (truth, prediction)]  # fmt: skip
            assert counts[k].tolist() == [(of[0] & of[1]).sum(), (of[0] | of[1]).sum()]
            assert 0 < counts[k, 0] < counts[k, 1]


@pytest.mark.parametrize("width", [1, 2, 5, 16, 46])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_extremes_are_opencvs(width, dtype):
    """In images narrower than the square, too."""
    rng, square = np.random.default_rng(width), np.ones((2 * width + 1,) * 2, np.uint8)
    border = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    for shape in ((1, 1), (1, 30), (40, 3), (60, 130)):
        for share in (0.001, 0.1):
            noise = rng.integers(1, 256, shape).astype(dtype)
            values = np.where(rng.random(shape) < share, noise, 9).astype(dtype)
            for choose, theirs in ((np.minimum, cv2.erode), (np.maximum, cv2.dilate)):
                found = extreme_in_square(values, width, choose)
                np.testing.assert_array_equal(found, theirs(values, square, **border))


def test_classes_that_are_not_there_have_no_boundary():
    """Detectron2 subtracts an eroded label map: of the classes 3 and 5 it makes 2 as well."""
    labels = np.full((100, 100), 3, dtype=np.uint8)
    labels[30:70, 30:70] = 5
    counts = label_counts(labels, labels, 6)[1]
    assert counts[[0, 1, 2, 4]].tolist() == [[0, 0]] * 4
    # 3 pixels wide: around the image and around the square for class 3, within it for class 5.
    of_5 = 40**2 - 34**2
    of_3 = 100**2 - 94**2 + 46**2 - 40**2
    assert counts[3].tolist() == [of_3, of_3] and counts[5].tolist() == [of_5, of_5]


@pytest.mark.parametrize("seed", [0, 1])
def test_boundary_ap_is_faster_coco_evals(seed):
    truth, found = random_set(seed)
    truth["annotations"] = with_areas(truth["annotations"], "segm")
    found = with_areas(found, "segm")
    masks, _, ious = score_and_match(truth, found, "segm")
    table = match_table(truth, found, boundary_ious(truth, found, ious, 100), 100)
    scores = precision_scores(table, "AR100")
    contents = (
        {**truth, "annotations": [dict(a) for a in truth["annotations"]]},
        {**truth, "annotations": [{"iscrowd": 0, **d, "id": i} for i, d in enumerate(found, 1)]},
    )
    apis = [faster_coco_eval.COCO(content) for content in contents]
    other = faster_coco_eval.COCOeval_faster(*apis, "boundary", print_function=lambda *_: None)
    other.evaluate()
    other.accumulate()
    precision = other.eval["precision"][..., -1]
    assert 1 < scores["AP"] < masks["AP"] - 5
    assert scores["AP"] == pytest.approx(100 * precision[..., 0].mean(), abs=1e-9)
    assert scores["AP50"] == pytest.approx(100 * precision[0, ..., 0].mean(), abs=1e-9)
    assert scores["APm"] == pytest.approx(100 * precision[..., 2].mean(), abs=1e-9)
    recall = other.eval["recall"][..., 0, -1]
    assert scores["AR100"] == pytest.approx(100 * recall.mean(), abs=1e-9)
