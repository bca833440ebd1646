"""tools/label_with_sam.py: prompts in, a data set and better predictions out."""

import json

import numpy as np
import pytest

import factories
from project.data.labels import decode_mask
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import ConfigError, DatasetError, PredictionsError, WeightsError
from project.evaluation.prediction_files import score_predictions
from project.inference import labelling
from project.inference.labelling import Labelling, label_records
from project.inference.sam import load_sam
from sam_models import save_sam
from tool_runner import load_tool


class BoxModel:
    """Answers each box with all its pixels, and each point with the pixel that it is in."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def __call__(self, image, **prompts):
        self.asked.append(prompts)
        count = len(next(iter(prompts.values())))
        masks = np.zeros((count, *image.shape[:2]), dtype=bool)
        for i in range(count):
            if "boxes" in prompts:
                left, top, right, bottom = np.round(prompts["boxes"][i]).astype(int)
                masks[i, top:bottom, left:right] = True
            else:
                for x, y in prompts["points"][i]:
                    masks[i, int(y), int(x)] = True
        return masks, np.linspace(0.5, 1.0, count)


def boxes_only(spec, *, keypoints=None):
    """Takes the masks out of a COCO data set of the factories."""
    for split in factories.SPLITS:
        path = spec.parent / f"{split}.json"
        content = json.loads(path.read_text())
        for entry in content["annotations"]:
            del entry["segmentation"]
            if keypoints:
                entry["keypoints"] = keypoints
        path.write_text(json.dumps(content))
    return spec


@pytest.fixture
def boxes_spec(tmp_path):
    spec = boxes_only(factories.make_coco(tmp_path / "boxes"))
    register_dataset(spec)
    return spec


def read(spec, split):
    (name,) = (n for n in register_dataset(spec) if n.endswith(f"_{split}"))
    return dataset_info(name), dataset_records(name)


def test_boxes_become_a_data_set_with_those_masks(boxes_spec, tmp_path):
    info, records = read(boxes_spec, "train")
    assert all("segmentation" not in a for r in records for a in r["annotations"])
    labelled, counts = label_records(records, info, BoxModel(), Labelling())
    path, problems = labelling.write_labelled(labelled, info, tmp_path / "out", "named", "copy")
    assert not problems.found
    new_info, new_records = read(path, "train")
    assert new_info.categories.things == info.categories.things
    assert counts.masks == sum(len(r["annotations"]) for r in records) > 6 and counts.empty == 0
    for old, new in zip(records, new_records, strict=True):
        for before, after in zip(old["annotations"], new["annotations"], strict=True):
            assert after["category_id"] == before["category_id"]
            box = np.round(before["bbox"]).astype(int)
            mask = decode_mask(after["segmentation"], new["height"], new["width"])
            expected = np.zeros_like(mask)
            expected[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
            np.testing.assert_array_equal(mask, expected)  # IoU 1
    written = json.loads((path.parent / "train.json").read_text())["annotations"]
    assert {round(entry["mask_score"], 2) for entry in written} >= {0.5, 1.0}


def test_points_are_those_of_the_object_or_its_centre(tmp_path):
    spec = boxes_only(factories.make_coco(tmp_path / "a"), keypoints=[3, 4, 2, 9, 9, 0, 5, 6, 1])
    info, records = read(spec, "val")
    model = BoxModel()
    label_records(records, info, model, Labelling(prompt="point"))
    np.testing.assert_array_equal(model.asked[0]["points"][0], [[3, 4], [5, 6]])
    assert "boxes" not in model.asked[0]
    info, records = read(boxes_only(factories.make_coco(tmp_path / "b")), "val")
    model = BoxModel()
    label_records(records, info, model, Labelling(prompt="both"))
    x, y, width, height = records[0]["annotations"][0]["bbox"]
    np.testing.assert_allclose(model.asked[0]["points"][0], [[x + width / 2, y + height / 2]])
    np.testing.assert_allclose(model.asked[0]["boxes"][0], [x, y, x + width, y + height])


def test_crowds_stay_and_objects_without_a_pixel_go(tmp_path):
    info, records = read(factories.make_coco(tmp_path / "a", crowd=True), "val")
    before = [[a for a in r["annotations"] if a["iscrowd"]] for r in records]
    assert any(before)

    def nothing(image, boxes):
        masks, scores = BoxModel()(image, boxes=boxes)
        masks[0] = False
        return masks, scores

    labelled, counts = label_records(records, info, nothing, Labelling())
    assert counts.empty == len(records)
    assert [[a for a in r["annotations"] if a["iscrowd"]] for r in labelled] == before
    objects = sum(not a["iscrowd"] for r in records for a in r["annotations"])
    assert counts.masks == objects - counts.empty == len(counts.scores)


def run_tool(spec, out, model, *words, split="val"):
    argv = ["--model", model, "--dataset", spec, "--split", split, "--out", out, *words]
    return load_tool("tools/label_with_sam.py").main([str(word) for word in argv])


def test_tool_writes_the_models_masks(boxes_spec, tmp_path, capsys):
    folder = save_sam(tmp_path / "sam")
    assert run_tool(boxes_spec, tmp_path / "out", folder, "--name", "better") == 0
    printed = capsys.readouterr().out
    assert "specification: " in printed and "expected IoU" in printed
    _, records = read(boxes_spec, "val")
    _, new = read(tmp_path / "out" / "better.yaml", "val")
    model = load_sam(folder)
    labelled, counts = label_records(records, read(boxes_spec, "val")[0], model, Labelling())
    assert counts.masks > 3
    expected = [[a["segmentation"] for a in r["annotations"]] for r in labelled]
    found = [[a["segmentation"] for a in r["annotations"]] for r in new]
    assert found == expected


def test_a_detectors_boxes_become_masks_that_can_be_scored(tmp_path, monkeypatch, capsys):
    """Right boxes, and a model that fills them: a box AP of 100."""
    spec = factories.make_coco(tmp_path / "data")
    info, records = read(spec, "val")
    numbers = info.categories.thing_dataset_ids
    entries = [
        {
            "image_id": r["image_id"],
            "category_id": numbers[a["category_id"]],
            "bbox": a["bbox"],
            "score": 0.9 - 0.01 * i,
        }
        for r in records
        for i, a in enumerate(r["annotations"])
    ]
    entries.append({**entries[0], "score": 0.2, "bbox": [1.0, 1.0, 2.0, 2.0]})
    predictions = tmp_path / "found.json"
    predictions.write_text(json.dumps(entries))
    monkeypatch.setattr("project.inference.sam.load_sam", lambda folder, device: BoxModel())
    words = ["--predictions", predictions, "--confidence", "0.5"]
    assert run_tool(spec, tmp_path / "out", save_sam(tmp_path / "sam"), *words) == 0
    refined = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [e["score"] for e in refined] == [e["score"] for e in entries[:-1]]
    assert all("segmentation" in e and "mask_score" in e for e in refined)
    scores = score_predictions(info.name, tmp_path / "out" / "predictions.json")
    assert scores["bbox"]["AP50"] == pytest.approx(100)
    _, labelled = read(tmp_path / "out" / f"{info.spec.name}_sam.yaml", "val")
    assert sum(len(r["annotations"]) for r in labelled) == len(refined)


def test_a_trained_models_boxes(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("project.inference.sam.load_sam", lambda folder, device: BoxModel())
    words = [*trained.words[:2], "--weights", trained.weights, "--confidence", "0.05"]
    folder = save_sam(tmp_path / "sam")
    assert run_tool(trained.spec, tmp_path / "out", folder, *words) == 0
    refined = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert refined and all(e["score"] >= 0.05 for e in refined)
    words += ["MODEL.MASK_UNET.INSTANCES", "False"]
    with pytest.raises(ConfigError, match="finds no objects"):
        run_tool(trained.spec, tmp_path / "other", folder, *words)


def test_mistakes_are_told_before_the_model_is_read(boxes_spec, tmp_path, monkeypatch):
    def fail(folder, device):
        raise AssertionError("read too early")

    monkeypatch.setattr("project.inference.sam.load_sam", fail)
    folder, out = save_sam(tmp_path / "sam"), tmp_path / "out"
    with pytest.raises(WeightsError, match="no folder with"):
        run_tool(boxes_spec, out, tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"no split 'vall'\. Did you mean val"):
        run_tool(boxes_spec, out, folder, split="vall")
    with pytest.raises(PredictionsError, match="no such file"):
        run_tool(boxes_spec, out, folder, "--predictions", tmp_path / "none.json")
    (tmp_path / "empty.json").write_text("[]")
    with pytest.raises(DatasetError, match="no object to make a mask of"):
        run_tool(boxes_spec, out, folder, "--predictions", tmp_path / "empty.json")
    (boxes_spec.parent / "images" / "val" / "000.png").unlink()
    with pytest.raises(DatasetError, match="1 of 6 images do not exist"):
        run_tool(boxes_spec, out, folder)
    out.mkdir()
    (out / "file").touch()
    with pytest.raises(SystemExit):
        run_tool(boxes_spec, out, folder)
