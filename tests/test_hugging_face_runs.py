"""Models of the library transformers through the tools, from pretrained weights to results."""

import json
from pathlib import Path

import yaml

from model_cases import CASES, MASK2FORMER, SWIN
from project.config import load_config
from tool_runner import load_tool

RUN = """
SEED: 7
INPUT: {MIN_SIZE_TRAIN: [0], MIN_SIZE_TEST: 0}
DATALOADER: {NUM_WORKERS: 0}
SOLVER:
  {IMS_PER_BATCH: 2, MAX_ITER: 4, WARMUP_ITERS: 0, STEPS: [], CHECKPOINT_PERIOD: 2, LOG_PERIOD: 1,
  OPTIMIZER: AdamW, BASE_LR: 0.003, EMA: {ENABLED: True, DECAY: 0.9}}
TEST: {REPORT_IMAGES: 1, DETECTIONS_PER_IMAGE: 5}
MODEL:
  DEVICE: cpu
  ROI_HEADS: {SCORE_THRESH_TEST: 0.0}
"""


def write_config(folder: Path, pairs: list, **keys: object) -> Path:
    """A config file of a case, with further keys of MODEL.HUGGING_FACE."""
    content = yaml.safe_load(RUN)
    for key, value in zip(pairs[::2], pairs[1::2]):
        *groups, name = key.split(".")
        node = content
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = value
    content["MODEL"]["HUGGING_FACE"] |= keys
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def train(config: Path, spec: Path, output: Path, *words: str) -> dict:
    argv = ["--config-file", config, "--dataset", spec]
    flags = [w for w in words if w.startswith("--")]
    keys = ["OUTPUT_DIR", output, *(w for w in words if not w.startswith("--"))]
    assert load_tool("tools/train_net.py").main([str(w) for w in [*argv, *flags, *keys]]) == 0
    return json.loads((output / "results.json").read_text())


def scores(results: dict) -> dict:
    return next(iter(results["datasets"].values()))


def test_from_pretrained_weights_to_predictions(coco_spec, tmp_path):
    """The weights lie in a local folder, which nothing after the training needs."""
    from transformers import AutoConfig, Mask2FormerForUniversalSegmentation

    given = AutoConfig.for_model("mask2former", backbone_config=SWIN, **MASK2FORMER)
    Mask2FormerForUniversalSegmentation(given).save_pretrained(tmp_path / "given")
    pairs = CASES["joint_mask2former"][:-2]
    config = write_config(tmp_path, pairs, NAME="mask2former", WEIGHTS=str(tmp_path / "given"))
    run = tmp_path / "run"
    train(config, coco_spec, run, "SOLVER.MAX_ITER", "2")
    trained = train(config, coco_spec, run, "--resume", "--accept-changes")
    assert {"bbox", "segm", "sem_seg", "panoptic_seg"} <= scores(trained).keys()
    assert 0 < scores(trained)["sem_seg"]["mIoU"] < 100
    written = load_config(run / "config.yaml").MODEL.HUGGING_FACE.CONFIG
    assert written.backbone_config.embed_dim == SWIN["embed_dim"]

    for file in (tmp_path / "given").iterdir():
        file.unlink()
    weights = run / "model_final.pth"
    words = ["--eval-only", "MODEL.WEIGHTS", str(weights)]
    again = train(run / "config.yaml", coco_spec, tmp_path / "again", *words)
    assert scores(again) == scores(trained)

    argv = [
        "--config-file",
        run / "config.yaml",
        "--weights",
        weights,
        "--output",
        tmp_path / "out",
    ]
    argv += ["--dataset", coco_spec, "--input", coco_spec.parent / "images" / "val"]
    assert load_tool("tools/predict.py").main([str(word) for word in argv]) == 0
    assert (tmp_path / "out" / "panoptic.json").is_file()
    assert len(list((tmp_path / "out" / "label_maps").iterdir())) == 6
