"""Config keys that follow from the network of timm that a config names."""

from detectron2.config import CfgNode

from project.errors import ConfigError
from project.modeling.timm_models import (
    check_name,
    check_pretrained,
    check_weights_file,
    input_statistics,
    merge_arguments,
)

BACKBONES = ("build_timm_backbone", "build_timm_fpn_backbone")


def fill_from_timm(cfg: CfgNode, *, training: bool) -> None:
    """Feeds a network of timm what it was trained with, and fetches no weights in vain, in place.

    With pretrained weights or without, so that a model is fed alike whatever it started from:
    images in RGB, normalised as timm says. Images of other than 1 or 3 channels have no statistics
    there, and keep the config's.

    Raises:
        ConfigError: an unknown network, weights that timm does not have, or a wrong argument.
        WeightsError: MODEL.TIMM.WEIGHTS is not there.
    """
    if cfg.MODEL.BACKBONE.NAME not in BACKBONES:
        return
    timm = cfg.MODEL.TIMM
    if not timm.NAME:
        raise ConfigError("MODEL.TIMM.NAME is empty: name a network of timm, e.g. convnext_tiny")
    check_name(timm.NAME)
    merge_arguments(timm.ARGUMENTS)
    cfg.INPUT.FORMAT = "RGB"
    if cfg.INPUT.CHANNELS in (1, 3):
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = input_statistics(timm.NAME)
    if not training or cfg.MODEL.WEIGHTS:
        timm.PRETRAINED, timm.WEIGHTS = False, ""  # MODEL.WEIGHTS has all
    if timm.WEIGHTS:
        check_weights_file(timm.WEIGHTS)
    elif timm.PRETRAINED:
        check_pretrained(timm.NAME)
