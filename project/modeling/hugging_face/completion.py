"""What a config of a library's model leaves out and its weights know: filled in before a run."""

import logging
from typing import Any

from detectron2.config import CfgNode, get_cfg

from project.errors import ConfigError
from project.modeling.hugging_face import library
from project.modeling.hugging_face.pretrained import read_folder

logger = logging.getLogger(__name__)

_STATISTICS = {"PIXEL_MEAN": "image_mean", "PIXEL_STD": "image_std"}


def complete_hugging_face(cfg: CfgNode, *, training: bool) -> None:
    """Takes over what lies with MODEL.HUGGING_FACE.WEIGHTS, and checks the keys, in place.

    Afterwards the config alone describes the model: NAME and CONFIG are those of the weights, with
    the config's own changes, and the statistics of pixels are what they expect. Without training
    the weights themselves are not needed, since MODEL.WEIGHTS holds all.

    Raises:
        ConfigError: a model that there is not or that cannot do the task, or a key that it lacks.
        WeightsError: weights that cannot be found.
    """
    if cfg.MODEL.META_ARCHITECTURE != "HuggingFaceSegmenter":
        return
    keys = cfg.MODEL.HUGGING_FACE
    if not cfg.MODEL.MASK_ON:
        raise ConfigError(
            "MODEL.MASK_ON is False, but HuggingFaceSegmenter finds objects by their masks; take"
            " GeneralizedRCNN for boxes alone"
        )
    if keys.WEIGHTS and not library.is_plain(keys.NAME, keys.CONFIG):
        given, pixels = read_folder(keys.WEIGHTS)
        keys.NAME = given.model_type
        keys.CONFIG = _merged(library.plain_config(given), keys.CONFIG)
        _fill_statistics(cfg, pixels)
    library.check_name(keys.NAME, keys.TASK)
    library.build_config(keys.NAME, keys.CONFIG)
    if cfg.INPUT.MASK_FORMAT == "auto":
        cfg.INPUT.MASK_FORMAT = "bitmask"  # the models learn from pixels
    if not training:
        keys.WEIGHTS = ""


def _merged(given: CfgNode, changes: CfgNode) -> CfgNode:
    """The config of weights with the changes that the user wrote."""
    values = library.as_dict(given)
    for key, value in library.as_dict(changes).items():
        both_groups = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = {**values[key], **value} if both_groups else value
    return CfgNode(values, new_allowed=True)


def _fill_statistics(cfg: CfgNode, pixels: dict[str, Any]) -> None:
    """Mean and deviation that pretrained weights expect, where the config writes none itself."""
    defaults = get_cfg().MODEL
    if cfg.MODEL.PIXEL_NORMALIZATION == "image" or cfg.INPUT.CHANNELS != 3:
        return
    for key, name in _STATISTICS.items():
        if name in pixels and list(cfg.MODEL[key]) == list(defaults[key]):
            # The files speak of 0 to 1 and of RGB.
            values = [255.0 * value for value in pixels[name]]
            cfg.MODEL[key] = values[::-1] if cfg.INPUT.FORMAT == "BGR" else values
            logger.info("MODEL.%s is %s, as the weights expect", key, cfg.MODEL[key])
