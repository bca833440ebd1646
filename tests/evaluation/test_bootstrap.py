"""Intervals: against scoring each resample anew, their coverage, and what is kept for them."""

import json
from pathlib import Path

import numpy as np
import pytest

from coco_cases import random_set, with_areas
from project.data.categories import Categories
from project.errors import UserError
from project.evaluation.bootstrap import (
    FEW_IMAGES,
    FEWEST,
    add_intervals,
    affordable,
    basic_interval,
    percentile_interval,
    resample,
)
from project.evaluation.coco_backend import score_and_match
from project.evaluation.confusion import semantic_scores
from project.evaluation.image_statistics import PixelCounts, SegmentCounts, weighted_scores
from project.evaluation.matches import MatchTable
from project.evaluation.panoptic_quality import panoptic_scores
from project.evaluation.per_image import (
    ImageStatistics,
    path_beside,
    read_per_image,
    write_per_image,
)

CLASSES = ("sky", "car", "tree")


def pixels(images: int = 12, seed: int = 0) -> PixelCounts:
    """Random counts; the class tree is in few images, and some have no Rand score."""
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(5, 50, (2, images, 3))
    true[2:, 2] = predicted[2:, 2] = 0
    hits = rng.integers(0, np.minimum(true, predicted) + 1)
    counts = np.stack([hits, true, predicted, hits // 2, true], axis=2)
    values = np.where(np.arange(images) % 3 == 0, np.nan, rng.uniform(0, 100, images))
    return PixelCounts(CLASSES, counts, {"VRand": values})


def segments(images: int = 12) -> SegmentCounts:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 4, (images, 3, 4))
    counts[..., 0] = counts[..., 1] * rng.integers(2**39, 2**40, (images, 3))
    return SegmentCounts(CLASSES, 1, counts)


def matches() -> MatchTable:
    truth, found = random_set(0)
    truth["annotations"] = with_areas(truth["annotations"], "segm")
    return score_and_match(truth, with_areas(found, "segm"), "segm")[1]


def test_semantics_and_panoptics_of_a_resample_are_those_of_its_images():
    weights = resample(12, 20)
    assert weights.sum(axis=1).tolist() == [12] * 20 and len({tuple(w) for w in weights}) == 20
    semantic, panoptic = (weighted_scores(s, weights) for s in (pixels(), segments()))
    categories = Categories(CLASSES[1:], CLASSES[:1])
    for b, w in enumerate(weights):
        drawn = np.repeat(np.arange(12), w)
        expected = semantic_scores(pixels().counts[drawn].sum(axis=0), CLASSES)
        for metric in ("mIoU", "mDice", "fwIoU", "mACC", "pACC", "BIoU"):
            assert semantic.means[metric][b] == pytest.approx(expected[metric], abs=1e-9)
        mean = np.nanmean(pixels().values["VRand"][drawn])
        assert semantic.means["VRand"][b] == pytest.approx(mean, abs=1e-9)
        expected = panoptic_scores(segments().counts[drawn].sum(axis=0), categories)
        for metric in ("PQ", "SQ", "RQ", "PQ_th", "PQ_st"):
            assert panoptic.means[metric][b] == pytest.approx(expected[metric], abs=1e-9)
    assert np.std(semantic.means["mIoU"]) > 1 and np.std(panoptic.means["PQ"]) > 1


def test_the_interval_is_the_middle_of_the_resamples():
    values = np.r_[np.arange(1001.0), np.nan]
    assert percentile_interval(values) == [25, 975]
    assert percentile_interval(np.full(3, np.nan)) is None
    assert np.array_equal(resample(7, 5), resample(7, 5)), "the same data, the same interval"


def test_single_scores_mirror_it():
    values = np.arange(1001.0) / 20  # 1.25 to 48.75
    assert basic_interval(30, values) == [11.25, 58.75]
    assert basic_interval(90, values) == [100, 100] and basic_interval(1, values) == [0, 0.75]
    assert basic_interval(1, np.full(3, np.nan)) is None


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Pixel accuracy of 60 images whose true mean is 70; 200 data sets."""
    rng = np.random.default_rng(0)
    weights = resample(60, 300)
    covered = 0
    for _ in range(200):
        hits = rng.binomial(100, np.clip(rng.normal(0.7, 0.1, 60), 0, 1))
        counts = np.zeros((60, 1, 5), dtype=int)
        counts[:, 0, :3] = np.stack([hits, np.full(60, 100), hits], axis=1)
        draws = weighted_scores(PixelCounts(("a",), counts), weights).means["pACC"]
        low, high = basic_interval(hits.mean(), draws)
        assert 1 < high - low < 10
        covered += low <= 70 <= high
    assert 180 <= covered <= 199


def test_intervals_stand_beside_the_headlines():
    scores = semantic_scores(pixels().counts.sum(axis=0), CLASSES)
    dataset = {"images": 12, "sem_seg": scores, "segm": None, "notes": []}
    add_intervals(dataset, {"sem_seg": pixels()}, 200)
    assert dataset["resamples"] == 200
    assert list(scores["intervals"]) == ["mIoU", "mDice", "fwIoU", "mACC", "pACC", "BIoU"]
    for metric, (low, high) in scores["intervals"].items():
        assert 0 < low < scores[metric] < high < 100
    json.dumps(dataset, allow_nan=False)


def test_no_interval_without_resamples_or_images():
    dataset = {"images": 12, "sem_seg": semantic_scores(pixels().counts[0], CLASSES), "notes": []}
    add_intervals(dataset, {"sem_seg": pixels()}, 0)
    assert "intervals" not in dataset["sem_seg"] and "resamples" not in dataset
    one = PixelCounts(CLASSES, pixels().counts[:1])
    add_intervals(dataset, {"sem_seg": one}, 100)
    assert set(dataset["sem_seg"]["intervals"].values()) == {None}
    assert dataset["notes"] == ["sem_seg: intervals need two images or more"]


@pytest.mark.parametrize("images", [2, FEW_IMAGES - 1, FEW_IMAGES])
def test_few_images_are_told(images):
    counts = np.ones((images, 2, 5), dtype=np.int64)
    found = PixelCounts(CLASSES[:2], counts)
    scores = semantic_scores(counts.sum(axis=0), CLASSES[:2])
    dataset = {"images": images, "sem_seg": scores, "notes": []}
    add_intervals(dataset, {"sem_seg": found}, 10)
    assert [f"{images} images are too few" in note for note in dataset["notes"]] == (
        [True] if images < FEW_IMAGES else []
    )


def test_very_many_detections_get_fewer_resamples():
    table = matches()
    assert affordable([table, pixels()], 1000) == 1000
    many = MatchTable(**{**vars(table), "scores": np.zeros(10**7)})
    assert affordable([many], 1000) == FEWEST


def test_what_is_kept_is_read_again(tmp_path):
    kept = ImageStatistics(
        images=[*range(11), "é"], tasks={"sem_seg": pixels(), "panoptic_seg": segments()}
    )
    other = ImageStatistics(images=list(range(8)), tasks={"segm": matches()})
    path = tmp_path / "per_image.npz"
    write_per_image({"a/b_val": kept, "c_val": other}, path)
    assert list(tmp_path.iterdir()) == [path]
    found = read_per_image(path)
    assert found.keys() == {"a/b_val", "c_val"}
    assert found["a/b_val"].images == kept.images
    for name, original in (("a/b_val", kept), ("c_val", other)):
        weights = resample(len(original.images), 3)
        for task, statistics in original.tasks.items():
            read, wrote = (
                weighted_scores(s, weights) for s in (found[name].tasks[task], statistics)
            )
            for metric in wrote.means:
                np.testing.assert_array_equal(read.means[metric], wrote.means[metric])


def test_files_that_are_something_else_are_told(tmp_path):
    path = tmp_path / "per_image.npz"
    with pytest.raises(UserError, match="No such file"):
        read_per_image(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UserError, match="damaged or made by other code"):
        read_per_image(path)
    np.savez(path, index=np.array(["not json"], dtype=object))
    with pytest.raises(UserError, match="damaged or made by other code"):
        read_per_image(path)
    np.savez(path, index=np.array('{"datasets": {"a": {"images": [1], "tasks": {"segm": 1}}}}'))
    with pytest.raises(UserError, match="damaged or made by other code"):
        read_per_image(path)


def test_each_results_file_has_its_own_statistics():
    assert path_beside(Path("run/results.json")) == Path("run/per_image.npz")
    assert path_beside(Path("run/a.json")) == Path("run/a.per_image.npz")
