"""tools/score.py: perfect predictions in every format, and what it leaves behind."""

import json
import shutil
from typing import Any

import numpy as np
import pytest

from evaluation_cases import FORMATS, score
from project.errors import ConfigError, PredictionsError, UserError
from project.evaluation.results import DETAILS
from tool_runner import run_process

TASKS = {"coco": ["bbox", "segm"], "label_map": ["sem_seg"], "panoptic": ["panoptic_seg"]}


def numbers(scores: dict[str, Any]) -> list[float]:
    """All that is defined, of classes too."""
    of_classes = [value for of in scores["per_class"].values() for value in of.values()]
    total = [value for name, value in scores.items() if name not in DETAILS]
    return [value for value in total + of_classes if value is not None]


@pytest.mark.parametrize("form", TASKS)
@pytest.mark.parametrize("name", FORMATS)
def test_perfect_predictions_score_exactly_100(perfect, name, form):
    spec, paths = perfect(name)
    dataset = score(spec, paths[form])
    assert [
        task for task in ("bbox", "segm", "sem_seg", "panoptic_seg") if task in dataset
    ] == TASKS[form]
    for task in TASKS[form]:
        found = numbers(dataset[task])
        main = {"sem_seg": "mIoU", "panoptic_seg": "PQ"}.get(task, "AP")
        assert dataset[task][main] == 100.0
        # AR1 allows one detection of a class in an image.
        assert {value for value in found if value != dataset[task].get("AR1")} == {100.0}


def test_no_image_is_needed(perfect):
    spec, paths = perfect("polygons")
    shutil.rmtree(spec.parent / "images")
    for form, tasks in TASKS.items():
        dataset = score(spec, paths[form])
        assert all(numbers(dataset[task])[0] == 100.0 for task in tasks)


def test_results_have_the_promised_shape(perfect, capsys):
    spec, paths = perfect("polygons")
    score(spec, paths["coco"], "--backend", "pycocotools", "--task", "instances")
    results = json.loads((spec.parent / "out.json").read_text())
    assert results["config"] is None
    assert results["weights"] == {"path": None, "sha256": None, "iteration": None}
    assert results["backend"] == "pycocotools"
    (dataset,) = results["datasets"].values()
    assert list(dataset) == ["images", "bbox", "segm", "notes", "resamples"]
    assert dataset["images"] == 6
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "square" in printed and "100.00" in printed


def test_it_runs_as_a_command_and_errors_are_one_paragraph(perfect):
    spec, paths = perfect("polygons")
    words = ["tools/score.py", "--dataset", spec, "--split", "val", "--predictions"]
    done = run_process(*words, paths["coco"])
    assert done.returncode == 0 and "100.00" in done.stdout
    assert done.stderr == ""
    failed = run_process(*words, paths["coco"].with_name("cocos.json"))
    assert failed.returncode == 1 and failed.stdout == ""
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert "Did you mean coco.json" in failed.stderr
    assert run_process(*words).returncode == 2


def test_label_maps_in_the_data_sets_own_encoding(perfect):
    spec, _ = perfect("0 and 255")
    own = spec.parent / "labels" / "val"
    assert score(spec, own, "--encoding", "dataset")["sem_seg"]["mIoU"] == 100.0
    with pytest.raises(UserError, match="mean nothing"):
        score(spec, spec.parent / "labels" / "train")


def test_everything_that_the_input_allows_is_scored(perfect, capsys):
    spec, paths = perfect("hard")
    folder = spec.parent
    words = ["--boundary", "--cross-tasks", "--bootstrap", "50", "--report"]
    instances = score(spec, paths["coco"], *words, "--confidence", "0.3", "--confusion-iou", "0.6")
    assert instances["boundary"]["AP"] == 100.0
    pasted = instances["sem_seg_from_instances"]
    # In the truth an object lies on another; of equal scores the last is on top.
    assert 80 < pasted["mIoU"] <= 100 and pasted["BIoU"] <= 100
    assert instances["segm"]["intervals"]["AP"] == [100.0, 100.0]
    assert instances["segm"]["confusion"]["iou"] == 0.6
    assert np.trace(instances["segm"]["confusion"]["matrix"]) == 6
    assert instances["segm"]["curves"]["classes"]["cat"]["best"]["F1"] == 100.0
    assert "100.0 (100.0 to 100.0)" in capsys.readouterr().out
    assert (folder / "out.per_image.npz").is_file() and (folder / "report.html").is_file()
    semantic = score(spec, paths["label_map"], *words, "--rand-foreground", "cat")
    # Touching objects of one class are one region.
    assert 0 < semantic["segm_from_sem_seg"]["AP"] < 100
    assert semantic["sem_seg"]["VRand"] == 100.0 and semantic["sem_seg"]["ARE"] == 0.0
    assert semantic["sem_seg"]["intervals"]["BIoU"] == [100.0, 100.0]
    panoptic = score(spec, paths["panoptic"], *words)
    assert panoptic["panoptic_seg"]["intervals"]["PQ"] == [100.0, 100.0]


def test_what_the_data_set_lacks_is_told(perfect):
    spec, paths = perfect("polygons")
    with pytest.raises(ConfigError, match=r"RAND_FOREGROUND is 'dics'.*Did you mean disc"):
        score(spec, paths["label_map"], "--rand-foreground", "dics")
    boxes = json.loads(paths["coco"].read_text())
    for entry in boxes:
        entry["bbox"] = [1.0, 1.0, 9.0, 9.0]
        del entry["segmentation"]
    path = spec.parent / "boxes.json"
    path.write_text(json.dumps(boxes))
    found = score(spec, path, "--cross-tasks", "--boundary", "--bootstrap", "0")
    assert found["sem_seg_from_instances"] is found["boundary"] is None
    assert "intervals" not in found["bbox"]
    assert "boundary: the predictions have boxes only, no masks" in found["notes"]


def test_own_encoding_needs_label_maps(perfect):
    spec, paths = perfect("polygons")
    with pytest.raises(PredictionsError, match=r"no label maps.*0 background, 1 square, 2 disc"):
        score(spec, paths["label_map"], "--encoding", "dataset")
