"""The model that is tested: as it is, in several views (TEST.AUG), in tiles (TEST.TILE) or both."""

from detectron2.config import CfgNode
from torch import nn

from project.data.architectures import model_parts
from project.errors import ConfigError
from project.modeling.panoptic import build_merge, count_stuff
from project.modeling.quick import quick_copy
from project.modeling.tiles import ALIGNMENT
from project.modeling.tiling import TiledModel
from project.modeling.views import AugmentedModel, views_of


def build_test_model(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Makes a model quick for testing, in a copy, and wraps it in views and tiles.

    Args:
        cfg: complete, see `project.engine.setup.prepare_config`.
        model: of the config; tiles are seen in all views. What is done to it later has no effect.
    """
    model = quick_copy(cfg, model)
    if cfg.TEST.AUG.ENABLED:
        model = AugmentedModel(
            model,
            views=views_of(cfg),
            merge=build_merge(cfg),
            max_size=cfg.TEST.AUG.MAX_SIZE,
            iou_threshold=cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
            limit=cfg.TEST.DETECTIONS_PER_IMAGE,
        )
    if cfg.TEST.TILE.SIZE:
        parts = model_parts(cfg)
        model = TiledModel(
            model,
            size=cfg.TEST.TILE.SIZE,
            overlap=cfg.TEST.TILE.OVERLAP,
            num_stuff=count_stuff(cfg) if parts.instances and parts.semantics else 0,
            merge=build_merge(cfg),
        )
    return model


def check_test_time(cfg: CfgNode) -> None:
    """Checks TEST.TILE and TEST.AUG.

    Raises:
        ConfigError: impossible sizes, or two keys that do not go together.
    """
    tile, aug = cfg.TEST.TILE, cfg.TEST.AUG
    if tile.SIZE:
        _check_tile(tile.SIZE, tile.OVERLAP)
        if cfg.INPUT.MIN_SIZE_TEST:
            raise ConfigError(
                f"TEST.TILE.SIZE is {tile.SIZE} and INPUT.MIN_SIZE_TEST {cfg.INPUT.MIN_SIZE_TEST}:"
                " images are cut into tiles at their own size; set INPUT.MIN_SIZE_TEST 0, and train"
                " on crops of images at their own size"
            )
    if not aug.ENABLED:
        return
    if not aug.MIN_SIZES or min(aug.MIN_SIZES) < 0:
        raise ConfigError(
            f"TEST.AUG.MIN_SIZES is {tuple(aug.MIN_SIZES)}; expected lengths of the shorter side in"
            " pixels, such as (400, 600, 800), or 0 for the size that images have"
        )
    if len(views_of(cfg)) < 2:
        raise ConfigError(
            "TEST.AUG asks for one view, and there is nothing to average: set TEST.AUG.FLIP True,"
            " or give TEST.AUG.MIN_SIZES several sizes"
        )
    if tile.SIZE and any(aug.MIN_SIZES):
        raise ConfigError(
            f"TEST.AUG.MIN_SIZES is {tuple(aug.MIN_SIZES)} and TEST.TILE.SIZE {tile.SIZE}: tiles"
            " at the borders of an image are smaller, so a length of the shorter side is not the"
            " same scale for all; set TEST.AUG.MIN_SIZES (0,) to see tiles flipped, or"
            " TEST.TILE.SIZE 0"
        )


def _check_tile(size: int, overlap: int) -> None:
    if size < 2 * ALIGNMENT:
        raise ConfigError(
            f"TEST.TILE.SIZE is {size}; expected at least {2 * ALIGNMENT} pixels, usually 512 or"
            " more, or 0 for no tiles"
        )
    if not 0 < overlap <= size - ALIGNMENT:
        raise ConfigError(
            f"TEST.TILE.OVERLAP is {overlap}; expected 1 to {size - ALIGNMENT} pixels, which is"
            f" TEST.TILE.SIZE less {ALIGNMENT}; usually a quarter of the size, {size // 4}"
        )
