"""Every file under configs/ loads, builds its model, and says what it is for."""

from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

import project.modeling  # noqa: F401
from project.config import load_config
from project.data.architectures import model_parts

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
NAMES = [str(path.relative_to(REPOSITORY / "configs")) for path in CONFIGS]
PUBLISHED = {  # box AP and mask AP of val2017 in Detectron2's MODEL_ZOO.md
    "coco/mask_rcnn_R_50_FPN_1x.yaml": ("38.6", "35.2"),
    "coco/mask_rcnn_R_50_FPN_3x.yaml": ("41.0", "37.2"),
    "coco/mask_rcnn_R_101_FPN_3x.yaml": ("42.9", "38.6"),
    "coco/mask_rcnn_X_101_32x8d_FPN_3x.yaml": ("44.3", "39.5"),
    "coco/cascade_mask_rcnn_R_50_FPN_3x.yaml": ("44.3", "38.5"),
    "coco/mask_rcnn_R_50_FPN_LSJ.yaml": ("44.6", "40.3"),
}


def load(path: Path) -> CfgNode:
    """The config as it is after the data set has filled in its classes."""
    cfg = load_config(path)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.TIMM.PRETRAINED = False  # nothing is fetched
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS) or 3
    return cfg


def opening_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:count])


def test_configs_are_there():
    assert set(PUBLISHED) < set(NAMES)


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY / "configs"))


def is_part(path: Path) -> bool:
    """Whether the file is only a part of others: a base without a command of its own."""
    return path.name.startswith("Base-") and "--config-file" not in opening_comment(path)


@pytest.mark.parametrize("path", [path for path in CONFIGS if not is_part(path)], ids=_name)
def test_builds(path):
    cfg = load(path)
    assert all((REPOSITORY / spec).is_file() for spec in cfg.DATASETS.SPECS)
    cfg.MODEL.DEVICE = "meta"  # shapes without values: large networks in no time
    with torch.device("meta"):
        model = build_model(cfg)
    parts = model_parts(cfg)
    assert parts.instances or parts.semantics
    if cfg.MODEL.META_ARCHITECTURE == "MaskUNet":
        assert (model.roi_heads is not None) == parts.instances
        assert (model.sem_seg_head is not None) == parts.semantics


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_opens_with_its_command_and_its_aim(path):
    comment, name = opening_comment(path), str(path.relative_to(REPOSITORY))
    if path.name.startswith("Base-"):
        assert "a base for others" in comment.lower()
    else:
        assert f"--config-file {name}" in comment or "make demo" in comment
    for aim in PUBLISHED.get(name.removeprefix("configs/"), ()):
        assert aim in comment


def test_published_settings_are_detectron2s():
    """Against the configs that lie in the Detectron2 package: the keys that it has too."""
    zoo = Path(pytest.importorskip("detectron2").__file__).parent / "model_zoo" / "configs"
    if not zoo.is_dir():
        pytest.skip("this Detectron2 has no configs in its package")
    pairs = {
        "mask_rcnn_R_50_FPN_1x": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
        "mask_rcnn_R_50_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
        "mask_rcnn_R_101_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x",
        "mask_rcnn_X_101_32x8d_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x",
        "cascade_mask_rcnn_R_50_FPN_3x": "Misc/cascade_mask_rcnn_R_50_FPN_3x",
    }
    for ours, theirs in pairs.items():
        found = load(REPOSITORY / "configs" / "coco" / f"{ours}.yaml")
        expected = load(zoo / f"{theirs}.yaml")
        for cfg in (found, expected):
            cfg.MODEL.META_ARCHITECTURE = ""
            cfg.MODEL.MASK_UNET.SEMANTICS = False
            cfg.DATASETS.clear()
            cfg.OUTPUT_DIR = ""
        assert expected.SOLVER.MAX_ITER in (90000, 270000)
        assert found == expected, ours
