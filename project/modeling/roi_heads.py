"""Detectron2's RoI heads, with what of a config their parts must agree on."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    build_roi_heads,
)
from torch import nn

from project.errors import ConfigError
from project.layers.blocks import check_choice
from project.layers.roi_pool import replace_roi_pool
from project.modeling.features import select_features
from project.modeling.mask_heads import check_losses
from project.modeling.pooler import replace_poolers

POOLERS = ("ROIAlignV2", "ROIAlign", "ROIPool")
# Mask heads that take whole levels and pool by themselves.
SELF_POOLING = ("BoundaryMaskHead", "PointRendHead")
# Mask heads that read pixels of the truth, not its outline.
NEED_BITMASKS = ("PointRendHead",)
_CHOOSE_LOSSES = ("ConvMaskHead", "MaskScoringHead", "BoundaryMaskHead")
_NOT_FOR_RES5 = ("MaskScoringHead", *SELF_POOLING)
_REFUSED = {
    "PointRendMaskHead": "write PointRendHead: the same with class-agnostic masks, and it takes"
    " batches without objects",
    "ImplicitPointRendMaskHead": "it cannot take batches without objects; write PointRendHead",
}


def check_roi_config(cfg: CfgNode) -> None:
    """Checks names and combinations that would be found wrong late, or never.

    Raises:
        ConfigError: the key, what it holds and what it may hold.
    """
    heads, mask = cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_MASK_HEAD
    check_choice("MODEL.ROI_HEADS.NAME", heads, _names(ROI_HEADS_REGISTRY))
    if cfg.MODEL.ROI_POOLER:
        check_choice("MODEL.ROI_POOLER", cfg.MODEL.ROI_POOLER, POOLERS)
    if heads != "Res5ROIHeads":
        check_choice(
            "MODEL.ROI_BOX_HEAD.NAME", cfg.MODEL.ROI_BOX_HEAD.NAME, _names(ROI_BOX_HEAD_REGISTRY)
        )
    if heads == "CascadeROIHeads" and not cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG:
        raise ConfigError(
            "MODEL.ROI_HEADS.NAME CascadeROIHeads refines one box for all classes: set also"
            " MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True"
        )
    if cfg.MODEL.MASK_ON:
        _check_mask_head(cfg, heads, mask)


def _check_mask_head(cfg: CfgNode, heads: str, mask: CfgNode) -> None:
    if mask.NAME in _REFUSED:
        raise ConfigError(f"MODEL.ROI_MASK_HEAD.NAME {mask.NAME}: {_REFUSED[mask.NAME]}")
    check_choice("MODEL.ROI_MASK_HEAD.NAME", mask.NAME, _names(ROI_MASK_HEAD_REGISTRY))
    check_losses(mask.LOSSES)
    if list(mask.LOSSES) != ["bce"] and mask.NAME not in _CHOOSE_LOSSES:
        raise ConfigError(
            f"MODEL.ROI_MASK_HEAD.LOSSES {list(mask.LOSSES)}: {mask.NAME} has its own loss; set"
            f" MODEL.ROI_MASK_HEAD.NAME to {' or '.join(_CHOOSE_LOSSES)}"
        )
    if heads == "Res5ROIHeads" and mask.NAME in _NOT_FOR_RES5:
        raise ConfigError(
            f"MODEL.ROI_MASK_HEAD.NAME {mask.NAME} needs features of its own, and Res5ROIHeads"
            " shares those of the boxes: choose ConvMaskHead, or ROI_HEADS.NAME StandardROIHeads"
        )
    if mask.NAME in NEED_BITMASKS and cfg.INPUT.MASK_FORMAT == "polygon":
        raise ConfigError(
            f"INPUT.MASK_FORMAT polygon: {mask.NAME} reads masks as pixels; set it to auto or"
            " bitmask"
        )


def needs_bitmasks(cfg: CfgNode) -> bool:
    """Whether the mask head reads pixels of the truth."""
    return cfg.MODEL.MASK_ON and cfg.MODEL.ROI_MASK_HEAD.NAME in NEED_BITMASKS


def build_instance_heads(cfg: CfgNode, shapes: dict[str, ShapeSpec]) -> nn.Module:
    """Builds MODEL.ROI_HEADS, with one pooler for all where MODEL.ROI_POOLER names it.

    Raises:
        ConfigError: names, combinations or features that cannot be.
    """
    check_roi_config(cfg)
    names = cfg.MODEL.ROI_HEADS.IN_FEATURES
    chosen = select_features(shapes, names, "MODEL.ROI_HEADS.IN_FEATURES")
    if cfg.MODEL.ROI_HEADS.NAME == "Res5ROIHeads":
        _check_res5(cfg, chosen)
    cfg = cfg.clone()
    cfg.defrost()
    if cfg.MODEL.ROI_POOLER:
        for head in (cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD):
            head.POOLER_TYPE = cfg.MODEL.ROI_POOLER
    if cfg.MODEL.ROI_MASK_HEAD.NAME in SELF_POOLING:
        cfg.MODEL.ROI_MASK_HEAD.POOLER_TYPE = ""
    heads = build_roi_heads(cfg, shapes)
    if not cfg.EXACT:
        replace_poolers(heads)
    replace_roi_pool(heads)
    return heads


def _check_res5(cfg: CfgNode, chosen: dict[str, ShapeSpec]) -> None:
    channels = 4 * cfg.MODEL.RESNETS.RES2_OUT_CHANNELS
    if [shape.channels for shape in chosen.values()] != [channels]:
        found = ", ".join(f"{name} of {shape.channels}" for name, shape in chosen.items())
        raise ConfigError(
            f"MODEL.ROI_HEADS: Res5ROIHeads goes on where a ResNet stops, at one feature of"
            f" {channels} channels (res4, 4 * RESNETS.RES2_OUT_CHANNELS); IN_FEATURES gives {found}"
        )


def _names(registry: object) -> list[str]:
    return [name for name, _ in registry]  # type: ignore[attr-defined]
