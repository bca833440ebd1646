"""Which images a report shows, and what it shows of them."""

from pathlib import Path

import numpy as np
import pytest

from project.data.labels import panoptic_truth, read_semantic
from project.data.register import dataset_info, dataset_records
from project.engine.setup import prepare_config
from project.inference.examples import choose, collect_examples
from project.inference.predictor import Predictor
from tool_runner import TINY


def test_worst_median_and_best():
    scores = {f"image{i}": float(i) for i in range(9)}
    assert choose(scores, 2) == [
        ("worst", "image0"),
        ("worst", "image1"),
        ("median", "image3"),
        ("median", "image4"),
        ("best", "image8"),
        ("best", "image7"),
    ]


@pytest.mark.parametrize("number", range(8))
def test_no_image_is_shown_twice_and_small_sets_are_no_error(number):
    chosen = choose(dict.fromkeys(range(number), 50.0), 3)
    ids = [image_id for _, image_id in chosen]
    assert len(ids) == len(set(ids)) <= number
    assert (number == 0) == (not ids)


def test_equal_scores_are_chosen_in_the_same_order():
    assert choose({2: 1.0, 1: 1.0, 3: 1.0}, 1) == choose({3: 1.0, 2: 1.0, 1: 1.0}, 1)


def test_examples_pair_prediction_and_truth(trained):
    cfg = prepare_config(TINY, trained.spec)
    name = cfg.DATASETS.TEST[0]
    records, info = dataset_records(name), dataset_info(name)
    scores = {record["image_id"]: float(i) for i, record in enumerate(records)}
    examples = collect_examples(Predictor(cfg, trained.weights), name, scores, 1)
    assert [example.rank for example in examples] == ["worst", "median", "best"]
    worst, record = examples[0], records[0]
    assert Path(record["file_name"]).as_posix().endswith(worst.file_name)
    assert not Path(worst.file_name).is_absolute()
    assert worst.image.shape == (64, 64, 3) and worst.score == 0.0
    np.testing.assert_array_equal(worst.truth.semantic, read_semantic(record, info))
    np.testing.assert_array_equal(worst.truth.panoptic.ids, panoptic_truth(record, info)[0])
    assert worst.truth.objects.crowd.tolist() == [bool(a["iscrowd"]) for a in record["annotations"]]
    assert worst.truth.objects.crowd.any()
    found = worst.prediction
    assert (found.objects.scores >= 0.5).all()
    assert (np.diff(found.objects.scores) <= 0).all()
    assert found.semantic.shape == found.panoptic.ids.shape == (64, 64)
    for segment in found.panoptic.segments:
        assert segment["area"] == (found.panoptic.ids == segment["id"]).sum() > 0
        assert segment["isthing"] == info.categories.is_thing(segment["semantic_id"])
