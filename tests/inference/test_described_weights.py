"""Weights that describe themselves are all that a tool needs, as checkpoints and exported."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import factories
from project.engine.checkpoint import Checkpointer
from project.engine.setup import prepare_config
from project.errors import ConfigError, DatasetError, WeightsError
from project.inference.predictor import Predictor
from tool_runner import TINY, load_tool, run_process


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    argv = [str(trained.weights), "--out", str(folder)]
    assert load_tool("tools/export_weights.py").main(argv) == 0
    return folder / "model.safetensors"


@pytest.fixture
def alone(trained, tmp_path) -> Path:
    """A copy of the weights in a folder that holds nothing else."""
    (tmp_path / "alone").mkdir()
    return Path(shutil.copy(trained.weights, tmp_path / "alone"))


def image(trained, number: int = 0) -> Path:
    return trained.spec.parent / "images" / "val" / f"{number:03}.png"


def predict(weights: Path, source: Path, output: Path, *words: str) -> None:
    argv = ["--weights", str(weights), "--input", str(source), "--output", str(output), *words]
    assert load_tool("tools/predict.py").main(argv) == 0


def outputs(words: list[str], path: Path) -> dict[str, np.ndarray]:
    """Everything that a model yields for an image, as arrays."""
    predictor = Predictor(prepare_config(None, None, words, purpose="predict"))
    found = predictor(predictor.read(path), "RGB")
    instances = found["instances"]
    return {
        "boxes": instances.pred_boxes.tensor.numpy(),
        "scores": instances.scores.numpy(),
        "masks": instances.pred_masks.numpy(),
        "sem_seg": found["sem_seg"].numpy(),
        "panoptic": found["panoptic_seg"][0].numpy(),
    }


def test_predictions_of_both_forms_are_those_of_the_config(trained, exported, alone):
    path = image(trained)
    cfg = prepare_config(TINY, trained.spec, ["MODEL.WEIGHTS", str(trained.weights)])
    predictor = Predictor(cfg)
    expected = predictor(predictor.read(path), "RGB")
    assert len(expected["instances"]) > 1 and expected["sem_seg"].std() > 0
    for weights in (alone, exported):
        found = outputs(["MODEL.WEIGHTS", str(weights)], path)
        np.testing.assert_array_equal(found["sem_seg"], expected["sem_seg"].numpy())
        np.testing.assert_array_equal(found["scores"], expected["instances"].scores.numpy())
        np.testing.assert_array_equal(
            found["boxes"], expected["instances"].pred_boxes.tensor.numpy()
        )
        np.testing.assert_array_equal(found["masks"], expected["instances"].pred_masks.numpy())
        np.testing.assert_array_equal(found["panoptic"], expected["panoptic_seg"][0].numpy())


def test_predict_needs_the_weights_alone(trained, exported, alone, tmp_path):
    shutil.copy(image(trained), tmp_path / "photo.png")
    predict(trained.weights, image(trained), tmp_path / "known", *trained.words)
    known = json.loads((tmp_path / "known" / "predictions.json").read_text())
    assert known and {entry["image_id"] for entry in known} == {10}
    for weights, name in ((alone, "pth"), (exported, "safetensors")):
        predict(weights, tmp_path / "photo.png", tmp_path / name)
        found = json.loads((tmp_path / name / "predictions.json").read_text())
        assert found == [{**entry, "image_id": "photo"} for entry in known]
        names = ("label_maps/photo.png", "panoptic/photo.png", "overlays/photo.png")
        for file in names:
            ours = (tmp_path / name / file).read_bytes()
            assert ours == (tmp_path / "known" / file.replace("photo", "000")).read_bytes(), file
        written = json.loads((tmp_path / name / "panoptic.json").read_text())["categories"]
        assert {c["name"]: c["id"] for c in written} == {"background": 8, "square": 3, "disc": 7}


def test_words_still_override(trained, alone, tmp_path):
    words = ["MODEL.WEIGHTS", str(alone)]
    assert len(outputs(words, image(trained))["scores"]) > 2
    fewer = [*words, "TEST.DETECTIONS_PER_IMAGE", "2"]
    assert len(outputs(fewer, image(trained))["scores"]) == 2
    with pytest.raises(ConfigError, match=r"command line: there is no config key TEST\.DETECTION"):
        prepare_config(None, None, [*words, "TEST.DETECTION", "2"], purpose="predict")


def test_eval_only_needs_weights_and_data(trained, exported, alone):
    tool = load_tool("tools/train_net.py")
    scores = []
    for weights in (alone, exported):
        words = ["--eval-only", "--dataset", str(trained.spec), "MODEL.WEIGHTS", str(weights)]
        assert tool.main(words) == 0
        results = json.loads((weights.with_suffix("") / "results.json").read_text())
        assert results["config"] == results["weights"]["path"] == str(weights)
        assert (weights.with_suffix("") / "report.html").is_file()
        scores.append(results["datasets"])
    assert scores[0] == scores[1]
    (dataset,) = scores[0].values()
    assert 0 < dataset["segm"]["AP"] < 100


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_data_of_other_classes_is_refused(exported, alone, tmp_path, form):
    """The same number of classes in another order, and one class less."""
    weights = alone if form == "pth" else exported
    for name, things in (("swapped", ["disc", "square"]), ("fewer", ["disc"])):
        spec = factories.make_coco(tmp_path / name)
        spec.write_text(f"{spec.read_text()}\nthings: {json.dumps(things)}\n")
        words = ["--eval-only", "--dataset", str(spec), "MODEL.WEIGHTS", str(weights)]
        with pytest.raises(WeightsError, match=r"trained for .*'square', 'disc'.*data set has"):
            load_tool("tools/train_net.py").main([*words, "OUTPUT_DIR", str(tmp_path / "out")])


def test_where_a_run_lies_is_not_taken_from_weights(trained, alone):
    cfg = prepare_config(None, None, ["MODEL.WEIGHTS", str(alone)], purpose="predict")
    assert str(alone.with_suffix("")) == cfg.OUTPUT_DIR
    assert cfg.DATASETS.SPECS == [] and cfg.DATASETS.TRAIN == cfg.DATASETS.TEST == ()
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2 and cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3
    assert cfg.MODEL.UNET.WIDTHS == [8, 16, 16] and cfg.SOLVER.MAX_ITER == 50
    with pytest.raises(ConfigError, match=r"DATASETS\.TEST is empty: give `--dataset"):
        prepare_config(None, None, ["MODEL.WEIGHTS", str(alone)], purpose="score")


def test_export_writes_what_is_scored(trained, exported):
    saved = torch.load(trained.weights, weights_only=True)
    from safetensors.torch import load_file

    weights = load_file(exported)
    assert weights.keys() == saved["model"].keys()
    assert all(torch.equal(value, saved["model"][name]) for name, value in weights.items())
    beside = json.loads(exported.with_suffix(".json").read_text())
    about = beside.pop("weights")
    assert beside == saved["description"]
    assert about["file"] == "model.safetensors"
    assert sorted(p.name for p in exported.parent.iterdir() if p.is_file()) == [
        "model.json",
        "model.safetensors",
    ]


def test_export_of_averaged_weights(trained, alone, tmp_path):
    saved = torch.load(alone, weights_only=True)
    last = {name: torch.zeros_like(value) for name, value in saved["model"].items()}
    torch.save({**saved, "training_model": last, "average_count": 3}, alone)
    argv = [str(alone), "--out", str(tmp_path / "out")]
    assert load_tool("tools/export_weights.py").main(argv) == 0
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(value, saved["model"][name]) for name, value in weights.items())


def test_weights_made_elsewhere_load_and_are_described_by_an_export(trained, tmp_path):
    """As Detectron2, torch and the model zoo write them."""
    saved = torch.load(trained.weights, weights_only=True)["model"]
    torch.save({"model": saved, "iteration": 7}, tmp_path / "detectron2.pth")
    torch.save(saved, tmp_path / "plain.pth")
    arrays = {name: value.numpy() for name, value in saved.items()}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
    with pytest.raises(WeightsError, match=r"plain\.pth does not say which config.*--config-file"):
        predict(tmp_path / "plain.pth", image(trained), tmp_path / "out")
    expected = outputs(["MODEL.WEIGHTS", str(trained.weights)], image(trained))
    for file in ("detectron2.pth", "plain.pth", "zoo.pkl"):
        name = file.split(".")[0]
        argv = [str(tmp_path / file), "--out", str(tmp_path / name), *trained.words]
        assert load_tool("tools/export_weights.py").main(argv) == 0
        path = tmp_path / name / "model.safetensors"
        found = outputs(["MODEL.WEIGHTS", str(path)], image(trained))
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)
        assert json.loads(path.with_suffix(".json").read_text())["data"] == {}


def test_weights_without_names_need_the_data_set(trained, tmp_path):
    with pytest.raises(DatasetError, match="no data set is named"):
        predict(trained.weights, image(trained), tmp_path / "out", "--config-file", str(TINY))


def test_words_that_are_missing_are_named(trained, alone, tmp_path):
    done = run_process("tools/train_net.py", "--dataset", trained.spec, "MODEL.WEIGHTS", alone)
    assert done.returncode == 2 and "--config-file: needed to train" in done.stderr
    with pytest.raises(ConfigError, match="there is no config: give one with --config-file"):
        prepare_config(None, trained.spec)
    with pytest.raises(WeightsError, match="is an address, of which no config is read"):
        prepare_config(None, None, ["MODEL.WEIGHTS", "https://weights.invalid/model_final.pkl"])
    with pytest.raises(WeightsError, match=r"Did you mean model_final\.pth"):
        predict(alone.with_name("model_fnal.pth"), image(trained), tmp_path / "out")


def test_pictures_of_what_is_fed_need_no_config_file(trained, alone, tmp_path):
    words = ["--dataset", str(trained.spec), "--output", str(tmp_path / "fed"), "--count", "1"]
    tool = load_tool("tools/visualize_data.py")
    assert tool.main([*words, "--split", "val", "MODEL.WEIGHTS", str(alone)]) == 0
    assert Image.open(tmp_path / "fed" / "contact.png").width > 0


def test_random_weights_of_a_config_are_not_described(tmp_path, coco_spec):
    from detectron2.modeling import build_model

    model = build_model(prepare_config(TINY, coco_spec))
    Checkpointer(model, str(tmp_path)).save("random")
    assert "description" not in torch.load(tmp_path / "random.pth", weights_only=True)
