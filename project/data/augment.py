"""The random changes of training images that a config asks for: by a list, or by single keys."""

import logging
from functools import reduce
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from project.data.transforms.geometry import ResizeShortestEdge
from project.data.transforms.listed import KEY, Step, read_steps
from project.data.transforms.photometric import COLOURS
from project.data.transforms.table import (
    COPY_PASTE,
    CROPS,
    colour_jitter,
    flip,
    large_scale_jitter,
)
from project.errors import ConfigError

logger = logging.getLogger(__name__)

# Keys that a list takes the place of -> values that nobody will miss: the default, and off.
_REPLACED: dict[str, tuple[Any, ...]] = {
    "CROP.ENABLED": (False,),
    "LSJ.ENABLED": (False,),
    "MIN_SIZE_TRAIN": ((800,), (0,)),
    "RANDOM_FLIP": ("horizontal", "none"),
    "COLOR_JITTER": (0.0,),
}
_CROPPING = {"CROP.ENABLED", "LSJ.ENABLED"}


def build_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """What INPUT asks for, but for copy_paste; in testing only the resize of MIN_SIZE_TEST.

    Raises:
        ConfigError: an impossible value.
    """
    if not is_train:
        return _resize((cfg.INPUT.MIN_SIZE_TEST,), cfg.INPUT.MAX_SIZE_TEST, "choice")
    steps = read_steps(cfg.INPUT.AUGMENTATIONS)
    if steps:
        return [built for step in steps for built in step.build(cfg.INPUT.FORMAT)]
    return [
        *(_large_scale_jitter(cfg) if cfg.INPUT.LSJ.ENABLED else _crop_and_resize(cfg)),
        *_flip(cfg.INPUT.RANDOM_FLIP),
        *_colour_jitter(cfg.INPUT.COLOR_JITTER, cfg.INPUT.FORMAT),
    ]


def check_augmentations(cfg: CfgNode, *, instances: bool) -> None:
    """Checks what can be checked without data.

    Args:
        cfg: a config.
        instances: objects are taught.

    Raises:
        ConfigError: see `build_augmentations`; or what the images or masks have no room for.
    """
    build_augmentations(cfg, is_train=True)
    channels = cfg.INPUT.CHANNELS
    for step in read_steps(cfg.INPUT.AUGMENTATIONS):
        if channels != COLOURS and step.needs_colour:
            raise ConfigError(
                f"{KEY}: {step.name}: {' and '.join(step.needs_colour)} need {COLOURS} channels,"
                f" INPUT.CHANNELS is {channels}; set them to 0"
            )
        if instances and step.kind.bitmask and cfg.INPUT.MASK_FORMAT == "polygon":
            raise ConfigError(
                f"{KEY}: {step.name} cannot be used with INPUT.MASK_FORMAT polygon, since"
                f" {step.kind.bitmask}; set it to auto or bitmask"
            )


def needs_bitmasks(cfg: CfgNode) -> bool:
    """Whether objects must be held as pixels, whatever the data holds."""
    return any(step.kind.bitmask for step in read_steps(cfg.INPUT.AUGMENTATIONS))


def copy_paste_step(cfg: CfgNode) -> Step | None:
    """The entry copy_paste of the list, if there is one."""
    steps = read_steps(cfg.INPUT.AUGMENTATIONS)
    return steps[-1] if steps and steps[-1].name == COPY_PASTE else None


def log_replaced(cfg: CfgNode) -> None:
    """Tells which keys do nothing because there is a list, and warns where a crop is lost."""
    steps = read_steps(cfg.INPUT.AUGMENTATIONS)
    unused = _replaced(cfg.INPUT) if steps else {}
    if unused:
        named = ", ".join(f"INPUT.{key} {value}" for key, value in unused.items())
        logger.info("%s takes the place of %s, which is not used", KEY, named)
    if unused.keys() & _CROPPING and not any(step.name in CROPS for step in steps):
        logger.warning(
            "%s has no crop in place of that of the config: images are fed whole, which takes more"
            " memory; %s crop",
            KEY,
            " and ".join(CROPS),
        )


def _replaced(node: CfgNode) -> dict[str, Any]:
    """Keys that are set to something, but whose place the list takes -> their values."""
    found = {}
    for key, harmless in _REPLACED.items():
        value = reduce(getattr, key.split("."), node)
        if (tuple(value) if isinstance(value, list) else value) not in harmless:
            found[key] = value
    return found


def _crop_and_resize(cfg: CfgNode) -> list[T.Augmentation]:
    crop = cfg.INPUT.CROP
    sizes, style = cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
    return [
        *([T.RandomCrop(crop.TYPE, crop.SIZE)] if crop.ENABLED else []),
        *_resize(sizes, cfg.INPUT.MAX_SIZE_TRAIN, style),
    ]


def _resize(sizes: tuple[int, ...], max_size: int, style: str) -> list[T.Augmentation]:
    """Nothing where all sizes are 0."""
    return [ResizeShortestEdge(sizes, max_size, style)] if any(sizes) else []


def _large_scale_jitter(cfg: CfgNode) -> list[T.Augmentation]:
    lsj = cfg.INPUT.LSJ
    return large_scale_jitter((lsj.MIN_SCALE, lsj.MAX_SCALE), (lsj.SIZE, lsj.SIZE))


def _flip(direction: str) -> list[T.Augmentation]:
    if direction not in ("none", "horizontal", "vertical"):
        raise ConfigError(
            f"INPUT.RANDOM_FLIP: expected none, horizontal or vertical, found {direction!r}"
        )
    return [] if direction == "none" else flip(direction, prob=0.5)


def _colour_jitter(strength: float, image_format: str) -> list[T.Augmentation]:
    if not 0 <= strength < 1:
        raise ConfigError(f"INPUT.COLOR_JITTER: expected 0 <= value < 1, found {strength}")
    return colour_jitter(strength, strength, strength, 0.0, image_format)
