"""Random changes of training images, from Detectron2's transforms."""

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from project.data.categories import IGNORE_LABEL
from project.errors import ConfigError

_PAD_GREY = 128.0


def build_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """The list that INPUT describes; in testing only the resize of MIN_SIZE_TEST.

    Raises:
        ConfigError: COLOR_JITTER or RANDOM_FLIP has an impossible value.
    """
    if not is_train:
        return _resize((cfg.INPUT.MIN_SIZE_TEST,), cfg.INPUT.MAX_SIZE_TEST, "choice")
    return [
        *(_large_scale_jitter(cfg) if cfg.INPUT.LSJ.ENABLED else _crop_and_resize(cfg)),
        *_flip(cfg.INPUT.RANDOM_FLIP),
        *_colour_jitter(cfg.INPUT.COLOR_JITTER),
    ]


def _crop_and_resize(cfg: CfgNode) -> list[T.Augmentation]:
    crop = cfg.INPUT.CROP
    sizes, style = cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
    return [
        *([T.RandomCrop(crop.TYPE, crop.SIZE)] if crop.ENABLED else []),
        *_resize(sizes, cfg.INPUT.MAX_SIZE_TRAIN, style),
    ]


def _resize(sizes: tuple[int, ...], max_size: int, style: str) -> list[T.Augmentation]:
    """Nothing where all sizes are 0."""
    return [T.ResizeShortestEdge(sizes, max_size, style)] if any(sizes) else []


def _large_scale_jitter(cfg: CfgNode) -> list[T.Augmentation]:
    """Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3."""
    lsj = cfg.INPUT.LSJ
    return [
        T.ResizeScale(lsj.MIN_SCALE, lsj.MAX_SCALE, lsj.SIZE, lsj.SIZE),
        T.FixedSizeCrop((lsj.SIZE, lsj.SIZE), pad_value=_PAD_GREY, seg_pad_value=IGNORE_LABEL),
    ]


def _flip(direction: str) -> list[T.Augmentation]:
    if direction not in ("none", "horizontal", "vertical"):
        raise ConfigError(
            f"INPUT.RANDOM_FLIP: expected none, horizontal or vertical, found {direction!r}"
        )
    if direction == "none":
        return []
    return [T.RandomFlip(horizontal=direction == "horizontal", vertical=direction == "vertical")]


def _colour_jitter(strength: float) -> list[T.Augmentation]:
    if not 0 <= strength < 1:
        raise ConfigError(f"INPUT.COLOR_JITTER: expected 0 <= value < 1, found {strength}")
    if strength == 0:
        return []
    limits = 1 - strength, 1 + strength
    return [T.RandomBrightness(*limits), T.RandomContrast(*limits), T.RandomSaturation(*limits)]
