"""Every system goes the whole road from its config: trains, scores, goes on, predicts.

A new system is one line in `SYSTEMS`, best of its small form, configs/<system>/<name>_digits.yaml.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
)

import factories
import project.modeling  # noqa: F401
from project.config import load_config
from tool_runner import REPOSITORY, load_tool

TINY = "tests/tiny.yaml"
RESNET = ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64]
RESNET += ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.NORM", "BN"]
RES4 = ["MODEL.RPN.IN_FEATURES", ["res4"], "MODEL.ROI_HEADS.IN_FEATURES", ["res4"]]
RES4 += ["MODEL.ANCHOR_GENERATOR.SIZES", [[16, 32]]]
ALL_RES = ["res2", "res3", "res4", "res5"]

# System -> config from the top of the repository, and KEY VALUE pairs that make another of it.
SYSTEMS: dict[str, tuple[str, list]] = {
    "mask_unet": (TINY, []),
    "unet": (TINY, ["MODEL.MASK_UNET.INSTANCES", False]),
    "mask_rcnn_fpn": (TINY, ["MODEL.MASK_UNET.SEMANTICS", False]),
    "cascade_mask_rcnn": (
        TINY,
        [
            *["MODEL.MASK_UNET.SEMANTICS", False, "MODEL.ROI_HEADS.NAME", "CascadeROIHeads"],
            *["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True],
        ],
    ),
    "fcn": ("configs/fcn/fcn_8s_digits.yaml", []),
    "deeplabv3plus": ("configs/deeplab/deeplabv3plus_digits.yaml", []),
    "pspnet_of_smp": ("configs/pspnet/pspnet_digits.yaml", []),
    "unet_as_published": ("configs/unet/unet_valid_digits.yaml", []),
    "hrnet_of_timm": ("configs/timm/hrnet_digits.yaml", []),
    "mask_rcnn_c4": ("configs/mask_rcnn/c4_digits.yaml", []),
    "mask_rcnn_timm": ("configs/mask_rcnn/timm_digits.yaml", []),
    "mask_rcnn_dice": ("configs/mask_rcnn/dice_digits.yaml", []),
    "point_rend": ("configs/mask_rcnn/point_rend_digits.yaml", []),
    "mask_scoring": ("configs/mask_rcnn/mask_scoring_digits.yaml", []),
    "bmask": ("configs/mask_rcnn/bmask_digits.yaml", []),
    "bottom_up": ("configs/bottom_up/bottom_up_digits.yaml", []),
    "watershed": ("configs/watershed/watershed_digits.yaml", []),
    "mask_rcnn_dc5_library": (
        TINY,
        [
            *["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", *RESNET, *RES4],
            *["MODEL.RESNETS.OUT_FEATURES", ["res4"], "MODEL.ROI_HEADS.NAME", "StandardROIHeads"],
        ],
    ),
    "semantic_fpn_library": (
        TINY,
        [
            *["MODEL.META_ARCHITECTURE", "SemanticSegmentor", *RESNET],
            *["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"],
            *["MODEL.FPN.IN_FEATURES", ALL_RES, "MODEL.RESNETS.OUT_FEATURES", ALL_RES],
            *["MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead", "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32],
            *["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["p2", "p3", "p4", "p5"]],
        ],
    ),
    "timm": ("configs/timm/mobilenet_digits.yaml", []),
    "mask2former": ("configs/mask2former/mask2former_digits.yaml", []),
    "maskformer": ("configs/maskformer/maskformer_digits.yaml", []),
    "oneformer": ("configs/oneformer/oneformer_digits.yaml", []),
    "eomt": ("configs/eomt/eomt_digits.yaml", []),
    "segformer_hf": ("configs/segformer_hf/segformer_digits.yaml", []),
}
# What makes a test of seconds of any config.
SHORT = [
    *["MODEL.DEVICE", "cpu", "SEED", 7, "DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2],
    *["SOLVER.WARMUP_ITERS", 0, "SOLVER.STEPS", [], "SOLVER.LOG_PERIOD", 1],
    *["SOLVER.BASE_LR", 1e-4],
    *["SOLVER.CHECKPOINT_PERIOD", 2, "TEST.EVAL_PERIOD", 0, "TEST.REPORT_IMAGES", 0],
    *["MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING", "none", "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", []],
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    return factories.make_coco(tmp_path_factory.mktemp("data") / "coco", num_images=2)


def words(name: str, spec: Path) -> tuple[list[str], list[str]]:
    """Flags of a tool that takes a config and a data set, and KEY VALUE pairs."""
    config, overrides = SYSTEMS[name]
    flags = ["--config-file", str(REPOSITORY / config), "--dataset", str(spec)]
    return flags, [str(word) for word in (*SHORT, *overrides)]


def train(name: str, spec: Path, output: Path, iterations: int, *flags: str) -> dict:
    """The scores of the run."""
    known, keys = words(name, spec)
    keys += ["OUTPUT_DIR", str(output), "SOLVER.MAX_ITER", str(iterations)]
    assert load_tool("tools/train_net.py").main([*known, *flags, *keys]) == 0
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert results["weights"]["iteration"] == iterations - 1
    return next(iter(results["datasets"].values()))


def numbers(scores: dict) -> Iterator[tuple[str, float | None]]:
    """The first number of each task."""
    for task, metric in {"segm": "AP", "sem_seg": "mIoU", "panoptic_seg": "PQ"}.items():
        if task in scores:
            yield task, scores[task][metric]


@pytest.mark.parametrize("name", SYSTEMS)
def test_whole_road(name, spec, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    first = dict(numbers(train(name, spec, run, 2)))
    assert first and all(0 <= value <= 100 for value in first.values())
    losses = [line for line in _metrics(run) if "total_loss" in line]
    assert [line["iteration"] for line in losses] == [0, 1]

    assert (
        dict(numbers(train(name, spec, run, 4, "--resume", "--accept-changes"))).keys()
        == first.keys()
    )
    losses = [line for line in _metrics(run) if "total_loss" in line]
    assert [line["iteration"] for line in losses] == [0, 1, 2, 3]

    # The weights alone: they describe themselves.
    flags = ["--weights", str(run / "model_final.pth"), "--output", str(out)]
    flags += ["--input", str(spec.parent / "images" / "val"), "MODEL.DEVICE", "cpu"]
    assert load_tool("tools/predict.py").main(flags) == 0
    assert len(list((out / "overlays").iterdir())) == 2
    assert (out / "predictions.json").is_file() or len(list((out / "label_maps").iterdir())) == 2


def _metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]


def test_every_architecture_and_head_of_ours_is_a_system():
    used = set()
    for config, overrides in SYSTEMS.values():
        model = load_config(REPOSITORY / config, [str(word) for word in overrides]).MODEL
        used |= {model.META_ARCHITECTURE, model.SEM_SEG_HEAD.NAME, model.ROI_MASK_HEAD.NAME}
    for registry in (META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY, ROI_MASK_HEAD_REGISTRY):
        ours = {name for name, part in registry if part.__module__.startswith("project.")}
        assert ours, registry
        assert ours <= used
