"""Grey, 16-bit and five-channel images through training, scoring, prediction and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from detectron2.modeling import build_model
from PIL import Image

import factories
from project.engine.setup import prepare_config
from project.engine.trainer import Trainer
from project.errors import ConfigError, WeightsError
from project.inference.predictor import Predictor
from tool_runner import TINY, load_tool

GREY = ["INPUT.CHANNELS", "1"]
FIVE = ["INPUT.CHANNELS", "5", "MODEL.PIXEL_NORMALIZATION", "image"]
WIDE = ["INPUT.BITS", "16"]
SHORT = ["SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "0", "INPUT.MIN_SIZE_TEST", "96"]


def make_images(root: Path, channels: int) -> Path:
    """A data set whose images are 16-bit TIFF of so many channels; returns its specification."""
    spec = factories.make_coco(root, num_images=3)
    for file in root.glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        for image in content["images"]:
            path = root / "images" / file.stem / image["file_name"]
            rgb = np.asarray(Image.open(path).convert("RGB")).astype(np.uint16) * 257
            many = np.concatenate([rgb, rgb[:, :, :2] // 2], axis=2)
            values = rgb[:, :, 0] if channels == 1 else many[:, :, :channels]
            image["file_name"] = path.with_suffix(".tif").name
            colours = "rgb" if channels == 3 else "minisblack"
            tifffile.imwrite(
                path.with_suffix(".tif"), values, photometric=colours, planarconfig="contig"
            )
            path.unlink()
        file.write_text(json.dumps(content), encoding="utf-8")
    return spec


@pytest.mark.parametrize(
    ("channels", "keys"), [(1, GREY), (1, [*GREY, *WIDE]), (5, FIVE), (3, WIDE)]
)
def test_train_score_report_predict_and_look(tmp_path, channels, keys):
    spec = make_images(tmp_path / "data", channels)
    run = tmp_path / "run"
    words = ["--config-file", str(TINY), "--dataset", str(spec)]
    keys = [*keys, *SHORT, "OUTPUT_DIR", str(run)]
    assert load_tool("tools/train_net.py").main([*words, *keys]) == 0
    weights = torch.load(run / "model_final.pth", weights_only=True)["model"]
    first = next(value for name, value in weights.items() if value.ndim == 4)
    assert first.shape[1] == channels
    assert (run / "report.html").is_file()
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert next(iter(results["datasets"].values()))["images"] == 3

    source, output = tmp_path / "data" / "images" / "val", tmp_path / "out"
    files = ["--weights", str(run / "model_final.pth"), "--input", str(source)]
    predict = load_tool("tools/predict.py").main
    assert predict([*words, *files, "--output", str(output), *keys]) == 0
    assert len(list((output / "overlays").iterdir())) == 3

    look = load_tool("tools/visualize_data.py").main
    assert look([*words, "--count", "2", "--output", str(tmp_path / "look"), *keys]) == 0
    assert (tmp_path / "look" / "contact.png").is_file()


def test_statistics_follow_the_channels():
    def statistics(*keys: str) -> tuple[list[float], list[float]]:
        cfg = prepare_config(TINY, None, list(keys), purpose="predict")
        return list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD)

    three = "[30.0, 60.0, 120.0]"
    assert statistics(*GREY, "MODEL.PIXEL_MEAN", three) == ([70.0], [1.0])
    five = ["INPUT.CHANNELS", "5", "MODEL.PIXEL_MEAN"]
    assert statistics(*five, "[127.5, 127.5, 127.5]") == ([127.5] * 5, [1.0] * 5)
    assert statistics(*five, "[1.0, 2.0, 3.0, 4.0, 5.0]")[0] == [1.0, 2.0, 3.0, 4.0, 5.0]
    with pytest.raises(ConfigError, match=r"PIXEL_MEAN has 3 numbers.*CHANNELS is 5: give one"):
        statistics(*five, three)
    with pytest.raises(ConfigError, match=r"INPUT\.BITS: expected 8 or 16, found 12"):
        statistics("INPUT.BITS", "12")
    with pytest.raises(ConfigError, match=r"INPUT\.CHANNELS: expected 1 or more, found 0"):
        statistics("INPUT.CHANNELS", "0")


def test_weights_for_other_channels_are_refused(coco_spec, tmp_path):
    """To predict with, and to start from: a first convolution anew would be frozen in many."""
    words = ["OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", str(tmp_path / "three.pth")]
    torch.save({"model": build_model(prepare_config(TINY, coco_spec)).state_dict()}, words[-1])
    cfg = prepare_config(TINY, coco_spec, [*words, *GREY], purpose="train")
    expected = r"takes images of 3 channels in the file, and INPUT\.CHANNELS is 1; start without"
    for load in (lambda: Predictor(cfg), lambda: Trainer(cfg).resume_or_load(resume=False)):
        with pytest.raises(WeightsError, match=expected):
            load()
