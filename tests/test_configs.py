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


def load(path: Path) -> CfgNode:
    """The config as it is after the data set has filled in its classes."""
    cfg = load_config(path)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.TIMM.PRETRAINED = False  # nothing is fetched
    cfg.MODEL.HUGGING_FACE.WEIGHTS = ""
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS) or 3
    return cfg


def opening_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:count])


def test_configs_are_there():
    assert len(CONFIGS) > 20


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY / "configs"))


def is_recipe(path: Path) -> bool:
    """Whether it is one of those that tests/test_recipes.py trains for a step."""
    return path.parent.name in ("coco", "cityscapes", "voc") and not path.name.startswith("Base-")


def is_part(path: Path) -> bool:
    """Whether the file is only a part of others: a base without a command of its own."""
    return path.name.startswith("Base-") and "--config-file" not in opening_comment(path)


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not is_part(path) and not is_recipe(path)], ids=_name
)
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
