"""tools/score.py: predictions that are incomplete or wrong, and other forms that are allowed."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factories
from evaluation_cases import score
from project.errors import DatasetError, PredictionsError, UserError
from tool_runner import load_tool


def test_unknown_split_is_told(perfect):
    spec, paths = perfect("polygons")
    argv = ["--dataset", spec, "--split", "vall", "--predictions", paths["coco"]]
    with pytest.raises(DatasetError, match=r"no split 'vall'\. Did you mean val"):
        load_tool("tools/score.py").main(list(map(str, argv)))


def test_wrong_task_is_told(perfect):
    spec, paths = perfect("polygons")
    with pytest.raises(PredictionsError, match="semantic predictions, but --task says panoptic"):
        score(spec, paths["label_map"], "--task", "panoptic")


@pytest.mark.parametrize("text", ["{}", '{"annotations": [{"id": 1}]}', "3", "not JSON"])
def test_other_files_are_told(perfect, tmp_path, text):
    spec, _ = perfect("polygons")
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(PredictionsError, match=r"p\.json: (not recognised|cannot be read as JSON)"):
        score(spec, path)


# --- instances ---------------------------------------------------------------------------------


@pytest.fixture
def edited(perfect) -> Callable[..., dict[str, Any]]:
    """A function (form, change) that scores perfect predictions after `change(content)`."""

    def run(form: str, change: Callable[[Any], Any], *words: str) -> dict[str, Any]:
        spec, paths = perfect("polygons")
        content = json.loads(paths[form].read_text())
        changed = change(content)
        paths[form].write_text(json.dumps(content if changed is None else changed))
        return score(spec, paths[form], *words)

    return run


def drop(key: str, which: slice = slice(None)) -> Callable[[list[dict]], None]:
    def change(entries: list[dict]) -> None:
        for entry in entries[which]:
            del entry[key]

    return change


def put(key: str, value: Any) -> Callable[[list[dict]], None]:
    return lambda entries: entries[1].__setitem__(key, value)


def test_boxes_alone(edited):
    dataset = edited("coco", drop("segmentation"))
    assert dataset["bbox"]["AP"] == 100.0
    assert dataset["segm"] is None
    assert "segm: the predictions have boxes only, no masks" in dataset["notes"]


def test_masks_alone(edited):
    dataset = edited("coco", drop("bbox"))
    assert dataset["segm"]["AP"] == dataset["bbox"]["AP"] == 100.0
    assert any(note.startswith("bbox: the predictions have no boxes") for note in dataset["notes"])


def test_images_without_detections_are_fine(edited):
    dataset = edited("coco", lambda entries: [e for e in entries if e["image_id"] == 10])
    assert 0 < dataset["segm"]["AR100"] < 50
    assert any("5 of 6 images have no predictions" in note for note in dataset["notes"])


def test_no_detections_score_zero(edited):
    dataset = edited("coco", lambda entries: [])
    assert dataset["bbox"]["AP"] == dataset["segm"]["AP"] == 0.0
    assert "bbox: there are no detections at all, so the scores are 0" in dataset["notes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("image_id", 999), r"the image_id of 1 of \d+ predictions .*: 999; it has 10, 11"),
        (put("image_id", [1]), r"image_id of 1 .*: \[1\];"),
        (put("category_id", 0), r"the category_id of 1 .*: 0; it has 3, 7"),
        (put("score", None), "prediction 2: score must be a number, found None"),
        (put("score", float("nan")), "score must be a number, found nan"),
        (put("bbox", [1, 2, 3]), r"prediction 2: bbox must be .*\[1, 2, 3\]"),
        (put("bbox", [1, 2, -3, 4]), "bbox must be"),
        (drop("score", slice(1)), "prediction 1 lacks score"),
        (drop("bbox", slice(1)), r"predictions have a bbox; give it to all or to none"),
        (drop("segmentation", slice(1)), r"predictions have a segmentation; give it to all"),
        (lambda entries: ["x"], "prediction 1 lacks category_id, image_id, score"),
        (put("segmentation", {"size": [9, 9], "counts": "Q1"}), r"prediction 2: .*\[9, 9\]"),
        (put("segmentation", {"size": [64, 64], "counts": [5]}), "prediction 2: .*sum to 5"),
        (put("segmentation", [[0, 0, 1e9, 0, 5, 5]]), "prediction 2: .*1000000000"),
    ],
)
def test_mistakes_in_instances_are_told(edited, change, message):
    with pytest.raises(PredictionsError, match=rf"coco\.json: .*{message}"):
        edited("coco", change)


# --- semantics ---------------------------------------------------------------------------------


def test_missing_label_maps_are_told(perfect):
    spec, paths = perfect("index")
    for name in ("001.png", "004.png"):
        (paths["label_map"] / name).unlink()
    message = r"2 of 6 images of .*_val have no label map: 001\.png, 004\.png"
    with pytest.raises(PredictionsError, match=message):
        score(spec, paths["label_map"])


def test_label_map_of_another_size_is_told(perfect):
    spec, paths = perfect("index")
    path = paths["label_map"] / "002.png"
    Image.open(path).resize((32, 64), Image.Resampling.NEAREST).save(path)
    with pytest.raises(PredictionsError, match=r"002\.png: .*64 x 32, its image is 64 x 64"):
        score(spec, paths["label_map"])


def test_unknown_label_is_told(perfect):
    spec, paths = perfect("index")
    path = paths["label_map"] / "002.png"
    Image.fromarray(np.full((64, 64), 7, dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match=r"002\.png: .*7 \(100\.0%\).*semantic ids of"):
        score(spec, paths["label_map"])


def test_label_maps_in_subfolders(tmp_path):
    """train/a.png and test/a.png are two images."""
    for place, value in (("x", 0), ("y", 1)):
        folder = tmp_path / "labels" / place
        folder.mkdir(parents=True)
        Image.fromarray(np.full((4, 6), value, dtype=np.uint8)).save(folder / "a.png")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: nested\nformat: label_map\nclasses: [a, b]\nsplits: {val: {labels: labels}}\n"
    )
    assert score(spec, tmp_path / "labels")["sem_seg"]["mIoU"] == 100.0
    with pytest.raises(PredictionsError, match="several images of nested_val have one name"):
        score(spec, shutil.copytree(tmp_path / "labels" / "x", tmp_path / "flat"))


# --- panoptics ---------------------------------------------------------------------------------


def renumber(content: dict[str, Any], numbers: dict[str, int]) -> None:
    """Gives classes other numbers; the categories go, so that only numbers are left."""
    names = {c["id"]: c["name"] for c in content.pop("categories")}
    for entry in content["annotations"]:
        for segment in entry["segments_info"]:
            segment["category_id"] = numbers[names[segment["category_id"]]]


def test_classes_by_number(edited):
    """Things by the data set's own id, stuff by its semantic id."""
    dataset = edited("panoptic", lambda c: renumber(c, {"square": 3, "disc": 7, "background": 0}))
    assert dataset["panoptic_seg"]["PQ"] == 100.0


def test_wrong_classes_score_less(edited):
    dataset = edited("panoptic", lambda c: renumber(c, {"square": 7, "disc": 3, "background": 0}))
    assert dataset["panoptic_seg"]["PQ_th"] == 0.0
    assert dataset["panoptic_seg"]["PQ_st"] == 100.0


def test_numbers_that_are_thing_and_stuff_need_a_word(tmp_path):
    root = tmp_path / "data"
    spec = factories.make_coco(root)
    content = json.loads((root / "val.json").read_text())
    for item in content["categories"]:
        item["id"] -= 3  # square becomes 0, as the background is
    for item in content["annotations"]:
        item["category_id"] -= 3
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(content))
    paths = factories.write_perfect_predictions(spec, "val", tmp_path / "predictions")
    panoptic = json.loads(paths["panoptic"].read_text())
    isthing = {c["id"]: c["isthing"] for c in panoptic["categories"]}
    kinds = [
        [isthing[s["category_id"]] for s in entry["segments_info"]]
        for entry in panoptic["annotations"]
    ]
    renumber(panoptic, {"square": 0, "disc": 4, "background": 0})
    paths["panoptic"].write_text(json.dumps(panoptic))
    with pytest.raises(PredictionsError, match="category_id 0 is the thing 'square' and the stuff"):
        score(spec, paths["panoptic"])
    for entry, of_entry in zip(panoptic["annotations"], kinds):
        for segment, kind in zip(entry["segments_info"], of_entry):
            segment["isthing"] = kind
    paths["panoptic"].write_text(json.dumps(panoptic))
    assert score(spec, paths["panoptic"])["panoptic_seg"]["PQ"] == 100.0


def in_first(key: str, value: Any) -> Callable[[dict], None]:
    return lambda content: content["annotations"][0].__setitem__(key, value)


def in_first_segment(key: str, value: Any) -> Callable[[dict], None]:
    return lambda content: content["annotations"][0]["segments_info"][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"].pop(), r"1 of 6 images of .* have no prediction: 15"),
        (in_first("image_id", 99), "image 99: .* has no such image"),
        (in_first("image_id", 11), "image 11 stands twice"),
        (in_first("file_name", "no.png"), r"1 of 6 PNG files are not in .*panoptic: no\.png"),
        (in_first("file_name", "../../x.png"), "image 10: file_name leads out of"),
        (in_first("segments_info", [{"id": 1}]), "image 10: a segment needs the numbers"),
        (in_first("segments_info", 7), "image 10: a segment needs the numbers"),
        (in_first_segment("category_id", 77), "image 10: segment .* category_id 77"),
        (lambda c: c["categories"][0].update(name="sqare"), "class 'sqare'.*Did you mean square"),
        (lambda c: c["categories"][0].pop("id"), "categories needs id and name"),
        (
            lambda c: c.update(categories=[]),
            "image 10: category_id 8 is no class; known are 3 square",
        ),
    ],
)
def test_mistakes_in_panoptics_are_told(edited, change, message):
    with pytest.raises(PredictionsError, match=rf"panoptic\.json: .*{message}"):
        edited("panoptic", lambda content: (change(content), content)[1])


def test_segment_png_must_be_rgb(perfect):
    spec, paths = perfect("polygons")
    path = paths["panoptic_folder"] / "000.png"
    Image.open(path).convert("L").save(path)
    with pytest.raises(PredictionsError, match=r"000\.png: .*RGB PNG, found L PNG"):
        score(spec, paths["panoptic"])


def test_ids_that_the_json_does_not_list_are_told(edited):
    with pytest.raises(PredictionsError, match=r"000\.png: the segment ids \[\d+\] are in its map"):
        edited("panoptic", lambda c: c["annotations"][0]["segments_info"].pop() and None)
