"""tools/predict.py end to end; its results are scored as the evaluation scores the model."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.modeling import build_model
from PIL import Image

import factories
from project.engine.checkpoint import Checkpointer
from project.engine.evaluate import evaluate
from project.engine.setup import prepare_config
from project.errors import ConfigError, DatasetError
from project.evaluation.prediction_files import score_predictions
from project.inference.predictor import Predictor
from project.inference.writer import check_unused
from tool_runner import TINY, load_tool, run_process


def predict(trained, source: Path, output: Path, *words: str) -> None:
    argv = [*trained.words, "--weights", str(trained.weights), "--input", str(source)]
    assert load_tool("tools/predict.py").main([*argv, "--output", str(output), *words]) == 0


def images_of(trained) -> Path:
    return trained.spec.parent / "images" / "val"


def test_scores_of_the_files_are_those_of_the_model(trained, tmp_path):
    predict(trained, images_of(trained), tmp_path)
    cfg = prepare_config(TINY, trained.spec, ["MODEL.WEIGHTS", str(trained.weights)])
    (name,) = cfg.DATASETS.TEST
    expected = evaluate(cfg, Predictor(cfg).model)[name].results
    assert 0 < expected["segm"]["AP"] < 100
    assert 0 < expected["sem_seg"]["mIoU"] < 100
    assert 0 < expected["panoptic_seg"]["PQ"] < 100
    for file in ("predictions.json", "label_maps", "panoptic.json"):
        scores = score_predictions(name, tmp_path / file)
        assert scores.pop("notes") is not None
        for task, found in scores.items():
            assert found == expected[task], task


def test_the_images_of_one_split_are_taken_from_a_folder_of_all(trained, tmp_path):
    predict(trained, images_of(trained).parent, tmp_path / "all")
    predict(trained, images_of(trained), tmp_path / "val")
    predict(trained, images_of(trained).parent, tmp_path / "split", "--split", "val")
    found, expected = (
        json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("split", "val")
    )
    assert found == expected and found
    counts = [len(list((tmp_path / n / "label_maps").rglob("*.png"))) for n in ("all", "split")]
    assert counts[0] > counts[1] == 6
    with pytest.raises(ConfigError, match=r"has none\. Did you mean val\?"):
        predict(trained, images_of(trained), tmp_path / "no", "--split", "vall")
    with pytest.raises(DatasetError, match=r"none of the 6 images .* is a file of .*_train"):
        predict(trained, images_of(trained), tmp_path / "no", "--split", "train")


def test_a_split_needs_no_folder(trained, tmp_path):
    """Its images are those of the specification, under the names that a folder gives them."""
    words = [*trained.words, "--weights", str(trained.weights), "--split", "val"]
    main = load_tool("tools/predict.py").main
    assert main([*words, "--output", str(tmp_path / "split")]) == 0
    predict(trained, images_of(trained), tmp_path / "folder")
    for name in ("predictions.json", "label_maps/000.png", "panoptic/000.png"):
        assert (tmp_path / "split" / name).read_bytes() == (tmp_path / "folder" / name).read_bytes()


def test_results_of_two_runs_are_not_mixed(trained, tmp_path):
    (first, second, *_) = sorted(images_of(trained).iterdir())
    predict(trained, first, tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds results already \(overlays, .*--overwrite"):
        predict(trained, second, tmp_path)
    assert [path.stem for path in (tmp_path / "label_maps").iterdir()] == [first.stem]
    predict(trained, second, tmp_path, "--overwrite")
    assert [path.stem for path in (tmp_path / "label_maps").iterdir()] == [second.stem]
    assert (tmp_path / "notes.txt").exists()


def test_overwriting_follows_no_link(trained, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "overlays").symlink_to(tmp_path / "mine")
    check_unused(tmp_path / "out", overwrite=True)
    assert (tmp_path / "mine" / "photo.png").exists() and not list((tmp_path / "out").iterdir())


def test_a_data_sets_own_maps_are_no_results(tmp_path):
    (tmp_path / "label_maps").mkdir()
    (tmp_path / "label_maps" / "truth.png").touch()
    with pytest.raises(ConfigError, match="not the results of a prediction"):
        check_unused(tmp_path, overwrite=True)
    assert (tmp_path / "label_maps" / "truth.png").exists()


def test_tiles_of_another_scale_are_told(trained, tmp_path, capsys):
    words = ["--tile", "64", "INPUT.MIN_SIZE_TRAIN", "(32, 48)"]
    predict(trained, images_of(trained), tmp_path, *words)
    said = capsys.readouterr()
    assert "resized to 32 to 48 pixels (INPUT.MIN_SIZE_TRAIN)" in said.err
    assert re.search(r"objects: \d+; \d+ of them are drawn, .* 0\.5 or more", said.out)


def test_files_beside_the_scores(trained, tmp_path, capsys):
    predict(trained, images_of(trained), tmp_path)
    assert len(list((tmp_path / "overlays").iterdir())) == 6
    overlay = Image.open(tmp_path / "overlays" / "000.png")
    assert overlay.width == 384 and overlay.height > 384, "enlarged, with a legend below"
    label_map = Image.open(tmp_path / "label_maps" / "000.png")
    assert label_map.mode == "P" and label_map.size == (64, 64)
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert {c["name"]: (c["id"], c["isthing"]) for c in content["categories"]} == {
        "background": (8, 0),
        "square": (3, 1),
        "disc": (7, 1),
    }
    printed = capsys.readouterr().out
    assert str(tmp_path / "overlays") in printed and "results of 6 images" in printed


def test_confidence_changes_pictures_and_not_results(trained, tmp_path):
    source = images_of(trained) / "000.png"
    alone = ["MODEL.MASK_UNET.SEMANTICS", "False"]
    for name, confidence in (("all", "0"), ("no", "1")):
        predict(trained, source, tmp_path / name, "--confidence", confidence, *alone)
    results = [(tmp_path / name / "predictions.json").read_text() for name in ("all", "no")]
    assert results[0] == results[1] and len(json.loads(results[0])) > 0
    pictures = [
        np.asarray(Image.open(tmp_path / n / "overlays" / "000.png")) for n in ("all", "no")
    ]
    square = pictures[1][:384, :384]
    original = np.asarray(Image.open(source)).repeat(6, axis=0).repeat(6, axis=1)
    np.testing.assert_array_equal(square, original)
    assert (pictures[0][:384, :384] != original).any()


def test_images_of_one_name_do_not_overwrite_each_other(trained, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    shutil.copy(images_of(trained) / "000.png", tmp_path / "in" / "a" / "same.png")
    shutil.copy(images_of(trained) / "001.png", tmp_path / "in" / "b" / "same.png")
    Image.open(images_of(trained) / "002.png").save(tmp_path / "in" / "b" / "same.bmp")
    predict(trained, tmp_path / "in", tmp_path / "out")
    expected = ["a/same.png", "b/same.bmp.png", "b/same.png.png"]
    for part in ("overlays", "label_maps", "panoptic"):
        files = (tmp_path / "out" / part).rglob("*.png")
        assert sorted(p.relative_to(tmp_path / "out" / part).as_posix() for p in files) == expected
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [entry["image_id"] for entry in content["annotations"]] == [
        "a/same",
        "b/same.bmp",
        "b/same.png",
    ]
    assert [entry["file_name"] for entry in content["annotations"]] == expected


def test_large_images_keep_their_size(trained, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    predict(trained, tmp_path / "photo.jpg", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "overlays" / "photo.jpg").width == 500
    assert Image.open(tmp_path / "out" / "label_maps" / "photo.png").size == (500, 400)


def test_images_in_tiles_and_views(trained, tmp_path):
    """A picture of 2 x 3 images of the data set: what its files hold is what a whole one's hold."""
    parts = [np.asarray(Image.open(images_of(trained) / f"{i:03}.png")) for i in range(6)]
    photo = np.concatenate([np.concatenate(parts[i : i + 3], axis=1) for i in (0, 3)])
    Image.fromarray(photo).save(tmp_path / "photo.png")
    merged = ["MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.05"]
    tiles = ["--tile", "128", "--overlap", "64", "--augment", *merged]
    for name, words in (("whole", merged), ("tiled", tiles)):
        predict(trained, tmp_path / "photo.png", tmp_path / name, *words)
    maps = [
        np.asarray(Image.open(tmp_path / name / "label_maps" / "photo.png"))
        for name in ("whole", "tiled")
    ]
    assert maps[0].shape == maps[1].shape == (128, 192)
    assert 0.5 < (maps[0] == maps[1]).mean() < 1
    found = json.loads((tmp_path / "tiled" / "predictions.json").read_text())
    assert found and all(entry["segmentation"]["size"] == [128, 192] for entry in found)
    ids = np.asarray(Image.open(tmp_path / "tiled" / "panoptic" / "photo.png")).astype(int)
    content = json.loads((tmp_path / "tiled" / "panoptic.json").read_text())
    segments = content["annotations"][0]["segments_info"]
    areas = {s["id"]: s["area"] for s in segments}
    drawn, counts = np.unique(ids[..., 0] + 256 * ids[..., 1], return_counts=True)
    assert len(areas) > 1
    assert {i: n for i, n in zip(drawn.tolist(), counts.tolist()) if i} == areas


def test_semantics_alone(tmp_path):
    spec = factories.make_label_map(tmp_path / "data", num_images=2)
    alone = ["MODEL.MASK_UNET.INSTANCES", "False"]
    cfg = prepare_config(TINY, spec, alone)
    Checkpointer(build_model(cfg), str(tmp_path)).save("random")
    words = ["--config-file", TINY, "--dataset", spec, "--weights", tmp_path / "random.pth"]
    where = ["--input", tmp_path / "data" / "images" / "val", "--output", tmp_path / "out"]
    argv = list(map(str, [*words, *where]))
    assert load_tool("tools/predict.py").main([*argv, *alone]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["label_maps", "overlays"]
    assert "sem_seg" in score_predictions(cfg.DATASETS.TEST[0], tmp_path / "out" / "label_maps")


def test_the_data_itself_is_not_needed(trained, tmp_path, capsys):
    spec = factories.make_label_map(tmp_path / "data", num_images=2)
    alone = ["MODEL.MASK_UNET.INSTANCES", "False"]
    cfg = prepare_config(TINY, spec, alone, purpose="predict")
    Checkpointer(build_model(cfg), str(tmp_path)).save("random")
    for folder in ("images", "labels"):
        shutil.rmtree(tmp_path / "data" / folder)
    words = ["--config-file", TINY, "--dataset", spec, "--weights", tmp_path / "random.pth"]
    where = ["--input", images_of(trained) / "000.png", "--output", tmp_path / "out"]
    argv = list(map(str, [*words, *where]))
    assert load_tool("tools/predict.py").main([*argv, *alone]) == 0
    assert (tmp_path / "out" / "label_maps" / "000.png").is_file()
    assert "note: no image gets its id from" in capsys.readouterr().err


def test_a_broken_image_is_named(trained, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"broken\.png"):
        predict(trained, tmp_path, tmp_path / "out")


def test_an_empty_folder_is_told_before_a_model_is_built(trained, tmp_path, monkeypatch):
    def built(*args, **kwargs):
        raise AssertionError("a model was built")

    monkeypatch.setattr("project.inference.predictor.build_model", built)
    with pytest.raises(DatasetError, match="no images in"):
        predict(trained, tmp_path, tmp_path / "out")


def test_wrong_words_end_with_status_two():
    for words in (["--no-such-flag"], ["--config-file", "c", "--input", "i", "--confidence", "2"]):
        done = run_process("tools/predict.py", *words)
        assert done.returncode == 2 and "usage" in done.stderr
