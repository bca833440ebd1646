"""The random changes of training images that a config asks for: by a list, or by single keys."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from project.data.transforms.geometry import ResizeShortestEdge
from project.data.transforms.listed import KEY, Step, read_steps
from project.data.transforms.photometric import COLOURS
from project.data.transforms.table import (
    COPY_PASTE,
    colour_jitter,
    flip,
    large_scale_jitter,
)
from project.errors import ConfigError

# Keys that a list takes the place of -> values that leave nothing out: the default, and off.
_REPLACED: dict[str, tuple[Any, ...]] = {
    "CROP.ENABLED": (False,),
    "LSJ.ENABLED": (False,),
    "MIN_SIZE_TRAIN": ((800,), (0,)),
    "RANDOM_FLIP": ("horizontal", "none"),
    "COLOR_JITTER": (0.0,),
}


def build_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """What INPUT asks for, but for copy_paste; in testing only the resize of MIN_SIZE_TEST.

    Raises:
        ConfigError: an impossible value, or a list beside keys that it takes the place of.
    """
    if not is_train:
        return _resize((cfg.INPUT.MIN_SIZE_TEST,), cfg.INPUT.MAX_SIZE_TEST, "choice")
    steps = read_steps(cfg.INPUT.AUGMENTATIONS)
    if steps:
        _check_alone(cfg.INPUT)
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


def _check_alone(node: CfgNode) -> None:
    for key, harmless in _REPLACED.items():
        value: Any = node
        for name in key.split("."):
            value = value[name]
        value = tuple(value) if isinstance(value, list) else value
        if value not in harmless:
            raise ConfigError(
                f"{KEY} takes the place of INPUT.{key}, which is {value}; say it in the list and"
                f" set INPUT.{key} to {harmless[-1]}"
            )


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
