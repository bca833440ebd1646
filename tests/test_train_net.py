"""tools/train_net.py end to end on a tiny data set."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch

import factories
from project.engine.checkpoint_files import write_checkpoint
from project.errors import UserError
from tool_runner import TINY, load_tool, run_process

LEFT_BEHIND = [
    "config.yaml",
    "log.txt",
    "metrics.json",
    "model_best.pth",
    "model_final.pth",
    "last_checkpoint",
    "results.json",
    "per_image.npz",
    "report.html",
]
NO_SEMANTICS = ["MODEL.MASK_UNET.SEMANTICS", "False"]
NO_INSTANCES = ["MODEL.MASK_UNET.INSTANCES", "False"]


def train(spec: Path, output: Path, *words: str) -> dict:
    """Runs the tool in this process and returns results.json."""
    overrides = [w for w in words if not w.startswith("--")]
    flags = [w for w in words if w.startswith("--")]
    argv = ["--config-file", str(TINY), "--dataset", str(spec), *flags]
    status = load_tool("tools/train_net.py").main([*argv, "OUTPUT_DIR", str(output), *overrides])
    assert status == 0
    return read(output)


def read(output: Path) -> dict:
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def iterations(output: Path) -> list[int]:
    lines = (output / "metrics.json").read_text(encoding="utf-8").splitlines()
    return [line["iteration"] for line in map(json.loads, lines) if "total_loss" in line]


def scores(results: dict) -> dict:
    return next(iter(results["datasets"].values()))


def test_run_leaves_what_the_readme_promises(coco_spec, tmp_path):
    results = train(coco_spec, tmp_path / "run")
    assert not [name for name in LEFT_BEHIND if not (tmp_path / "run" / name).is_file()]
    found = scores(results)
    assert found["images"] > 1
    assert {"bbox", "segm", "sem_seg", "panoptic_seg", "notes"} <= found.keys()
    assert 0 < found["sem_seg"]["mIoU"] < 100, "an all-right or all-wrong case proves nothing"
    assert iterations(tmp_path / "run") == [0, 1, 2, 3]
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert re.search(r"computes in (float32|bfloat16 mixed precision), channels_last", log)
    assert re.search(r"waited for data for \d+\.\d s, \d+\.\d % of the training", log)


def test_eval_only_gives_the_scores_of_the_training(coco_spec, tmp_path):
    trained = train(coco_spec, tmp_path / "run")
    weights = str(tmp_path / "run" / "model_final.pth")
    again = train(coco_spec, tmp_path / "again", "--eval-only", "MODEL.WEIGHTS", weights)
    assert scores(again) == scores(trained)
    assert again["weights"]["sha256"] == trained["weights"]["sha256"]
    assert again["weights"]["iteration"] == 3


def test_averaged_weights_are_scored_saved_and_loaded(coco_spec, tmp_path):
    averaging = ["SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.0"]
    trained = train(coco_spec, tmp_path / "run", *averaging)
    checkpoint = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    assert checkpoint["average_count"] == 4
    name = "sem_seg_head.predictor.weight"
    name = name if name in checkpoint["model"] else next(iter(checkpoint["training_model"]))
    assert not torch.equal(checkpoint["model"][name], checkpoint["training_model"][name])
    weights = str(tmp_path / "run" / "model_final.pth")
    again = train(coco_spec, tmp_path / "again", "--eval-only", "MODEL.WEIGHTS", weights)
    assert scores(again) == scores(trained)


def test_resume_goes_on_where_the_run_stopped(coco_spec, tmp_path):
    train(coco_spec, tmp_path / "run", "SOLVER.MAX_ITER", "2")
    assert iterations(tmp_path / "run") == [0, 1]
    results = train(coco_spec, tmp_path / "run", "--resume", "--accept-changes")
    assert iterations(tmp_path / "run") == [0, 1, 2, 3]
    assert results["weights"]["iteration"] == 3


def test_best_weights_survive_a_resume(coco_spec, tmp_path):
    output = tmp_path / "run"
    train(coco_spec, output, "SOLVER.MAX_ITER", "2", "TEST.BEST_METRIC", "sem_seg/mIoU")
    best = torch.load(output / "model_best.pth", weights_only=True)
    best["best"]["value"] = 100.0
    write_checkpoint(output / "model_best.pth", partial(torch.save, best))
    train(coco_spec, output, "--resume", "--accept-changes", "TEST.BEST_METRIC", "sem_seg/mIoU")
    kept = torch.load(output / "model_best.pth", weights_only=True)
    assert kept["best"] == {"metric": "sem_seg/mIoU", "value": 100.0, "iteration": 1}


def test_same_seed_gives_the_same_run(coco_spec, tmp_path):
    runs = [train(coco_spec, tmp_path / name) for name in ("a", "b")]
    assert scores(runs[0]) == scores(runs[1])
    other = train(coco_spec, tmp_path / "c", "SEED", "8")
    assert scores(other) != scores(runs[0])


def test_mixed_precision_on_the_cpu(coco_spec, tmp_path):
    found = scores(train(coco_spec, tmp_path, "SOLVER.AMP.ENABLED", "True"))
    assert 0 <= found["sem_seg"]["mIoU"] <= 100


def test_instances_alone(coco_spec, tmp_path):
    found = scores(train(coco_spec, tmp_path, *NO_SEMANTICS))
    assert {"bbox", "segm"} <= found.keys()
    assert not {"sem_seg", "panoptic_seg"} & found.keys()


def test_semantics_alone_from_label_maps(label_map_spec, tmp_path):
    found = scores(train(label_map_spec, tmp_path, *NO_INSTANCES))
    assert "sem_seg" in found
    assert not {"bbox", "segm", "panoptic_seg"} & found.keys()


def test_class_weights_are_counted_and_kept_in_the_config(label_map_spec, tmp_path):
    weighting = ["MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING", "inverse_frequency"]
    train(label_map_spec, tmp_path, *NO_INSTANCES, *weighting)
    from project.config import load_config

    weights = load_config(tmp_path / "config.yaml").MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS
    assert len(weights) == 3
    assert weights[0] < min(weights[1:]), "the background is the most frequent class"


def test_two_ranks_score_as_one(tmp_path):
    spec = factories.make_coco(tmp_path / "data", num_images=5)
    words = ["tools/train_net.py", "--config-file", TINY, "--dataset", spec]
    trained = run_process(
        *words, "--num-gpus", "2", "OUTPUT_DIR", tmp_path / "two", OMP_NUM_THREADS="1"
    )
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert iterations(tmp_path / "two") == [0, 1, 2, 3]
    assert "ranks 2" in (tmp_path / "two" / "log.txt").read_text(encoding="utf-8")
    weights = tmp_path / "two" / "model_final.pth"
    train(spec, tmp_path / "one", "--eval-only", "MODEL.WEIGHTS", str(weights))
    assert scores(read(tmp_path / "one")) == scores(read(tmp_path / "two"))


def test_torchrun_starts_the_same_script(tmp_path):
    spec = factories.make_coco(tmp_path / "data", num_images=4)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["tools/train_net.py", "--config-file", TINY, "--dataset", spec, "SOLVER.MAX_ITER", "2"]
    done = run_process(*torchrun, *words, "OUTPUT_DIR", tmp_path / "run", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert iterations(tmp_path / "run") == [0, 1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["SOLVER.WARMUP_ITERS", "4"], r"WARMUP_ITERS is 4 and SOLVER\.MAX_ITER 4"),
        (["SOLVER.MAX_ITER=3"], "KEY VALUE, with a space"),
        (["SOLVER.MAX_ITER"], r"SOLVER\.MAX_ITER has no value"),
        (["SOLVER.MAX_ITR", "3"], r"SOLVER\.MAX_ITR.*Did you mean SOLVER\.MAX_ITER"),
        (["MODEL.ROI_HEADS.NUM_CLASSES", "80"], r"NUM_CLASSES is 80.*2 classes \(square, disc\)"),
        (["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "2"], r"NUM_CLASSES is 2.*3 classes"),
        (["DATASETS.TRAIN", "shape_train"], "shape_train"),
        (["MODEL.WEIGHTS", "no/such.pth"], "no such weights file"),
        (["MODEL.SEM_SEG_HEAD.IGNORE_VALUE", "0"], r"IGNORE_VALUE is 0.*`ignore:`"),
        (
            ["MODEL.META_ARCHITECTURE", "RetinaNet"],
            r"RetinaNet.*GeneralizedRCNN.*MaskUNet.*Sem",
        ),
        (["MODEL.META_ARCHITECTURE", "PanopticFPN"], "class 0 for all countable classes together"),
        (["MODEL.META_ARCHITECTURE", "MaskUnet"], "Did you mean MaskUNet"),
        (["TEST.BEST_METRIC", "segm/APP"], "Did you mean segm/AP"),
        (["TEST.BEST_METRIC", "mIoU"], r"'mIoU' is no TEST\.BEST_METRIC"),
        (["TEST.BEST_METRIC", "sem_seg/mIoU", *NO_SEMANTICS], r"no TEST\.BEST_METRIC of this"),
        (["TEST.COCO_BACKEND", "pycocotool"], "Did you mean pycocotools"),
        (["TEST.COCO_MAX_DETECTIONS", "0"], "at least 1, found 0"),
        (["TEST.CONFIDENCE", "50"], r"TEST\.CONFIDENCE is 50\.0; it must be from 0 to 1"),
        (["TEST.BOOTSTRAP", "-1"], r"TEST\.BOOTSTRAP is -1; write the number of resamples"),
        (["TEST.RAND_FOREGROUND", "celll"], r"RAND_FOREGROUND is 'celll', which is no class of"),
        (["SOLVER.RANK_PATIENCE", "-1"], r"RANK_PATIENCE is -1\.0; write seconds"),
        (["SOLVER.OPTIMIZER", "AdamV"], "Did you mean Adam, AdamW"),
        (["SOLVER.AMP.DTYPE", "bf61"], "Did you mean bf16"),
        (["SOLVER.LR_SCHEDULER_NAME", "WarmupPoly"], "Did you mean WarmupPolyLR"),
        (["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full"], "CLIP_TYPE.*full_model"),
        (["MODEL.DEVICE", "gpu"], r"MODEL\.DEVICE 'gpu' is not known"),
        (["MODEL.DEVICE", "cuda:99"], r"MODEL\.DEVICE is cuda:99"),
        (["TEST.AUG.ENABLED", "True", "TEST.AUG.FLIP", "False"], "nothing to average"),
        (["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "()"], "lengths of the shorter side"),
        (["TEST.TILE.SIZE", "48"], "at least 64 pixels"),
        (["TEST.TILE.SIZE", "128"], r"OVERLAP is 128; expected 1 to 96 .* quarter of the size, 32"),
        (["TEST.TILE.SIZE", "512", "INPUT.MIN_SIZE_TEST", "800"], "at their own size"),
        (
            ["TEST.TILE.SIZE", "512", "TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(400,)"],
            "not the same scale for all",
        ),
        (["TEST.PRECISE_BN.ENABLED", "True"], r"PRECISE_BN\.ENABLED True is not supported"),
        (["TEST.EXPECTED_RESULTS", "[['bbox', 'AP', 38.5, 0.2]]"], "EXPECTED_RESULTS.*38.5"),
        (["VIS_PERIOD", "20"], "VIS_PERIOD 20 is not supported"),
        (["MODEL.PANOPTIC_FPN.COMBINE.ENABLED", "False"], "COMBINE.ENABLED False is not supported"),
        (["MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT", "2"], "WEIGHT 2.0 is not supported"),
        (["--resume"], r"--resume: OUTPUT_DIR .* holds no last_checkpoint"),
        (["--eval-only", "DATASETS.SPECS", "()"], r"DATASETS\.TEST is empty"),
    ],
)
def test_mistakes_are_told_before_a_model_is_built(
    coco_spec, tmp_path, monkeypatch, words, expected
):
    def built(*args, **kwargs):
        raise AssertionError("a model was built")

    monkeypatch.setattr("project.engine.trainer.build_model", built)
    with pytest.raises(UserError, match=expected):
        train(coco_spec, tmp_path / "run", *words)


def test_a_mistake_is_one_paragraph_without_a_traceback(tmp_path):
    done = run_process(
        "tools/train_net.py", "--config-file", TINY, "--dataset", tmp_path / "missing.yaml"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "missing.yaml" in errors[0]


def test_wrong_words_end_with_status_two():
    done = run_process("tools/train_net.py", "--no-such-flag")
    assert done.returncode == 2
