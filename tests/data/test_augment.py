"""The augmentations that a config asks for."""

import pytest
from detectron2.data import transforms as T

from project.config import get_project_config
from project.data.augment import build_augmentations
from project.errors import ConfigError


def names(is_train: bool = True, **changes) -> list[str]:
    cfg = get_project_config()
    cfg.merge_from_list([x for key, value in changes.items() for x in (f"INPUT.{key}", value)])
    return [type(a).__name__ for a in build_augmentations(cfg, is_train)]


def test_the_default_is_detectron2s():
    assert names() == ["ResizeShortestEdge", "RandomFlip"]
    assert names(is_train=False) == ["ResizeShortestEdge"]


def test_zero_sizes_mean_no_resizing():
    assert names(MIN_SIZE_TRAIN=(0,), RANDOM_FLIP="none") == []
    assert names(is_train=False, MIN_SIZE_TEST=0) == []


def test_testing_never_draws():
    every = {"CROP.ENABLED": True, "COLOR_JITTER": 0.2, "LSJ.ENABLED": True}
    assert names(is_train=False, **every) == ["ResizeShortestEdge"]


def test_everything():
    assert names(**{"CROP.ENABLED": True, "COLOR_JITTER": 0.2}) == [
        "RandomCrop",
        "ResizeShortestEdge",
        "RandomFlip",
        "RandomBrightness",
        "RandomContrast",
        "RandomSaturation",
    ]
    assert names(**{"LSJ.ENABLED": True, "CROP.ENABLED": True}) == [
        "ResizeScale",
        "FixedSizeCrop",
        "RandomFlip",
    ]


def test_the_direction_of_the_flip():
    cfg = get_project_config()
    cfg.INPUT.RANDOM_FLIP = "vertical"
    (_, flip) = build_augmentations(cfg, is_train=True)
    assert isinstance(flip, T.RandomFlip) and flip.vertical and not flip.horizontal


@pytest.mark.parametrize(
    ("key", "value"), [("COLOR_JITTER", 1.0), ("COLOR_JITTER", -0.1), ("RANDOM_FLIP", "sideways")]
)
def test_impossible_values(key, value):
    with pytest.raises(ConfigError, match=key):
        names(**{key: value})
