"""Data sets and predictions written for one test."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import factories
from evaluation_cases import FORMATS, erase_unlisted, write_coco

_numbers = itertools.count()


@pytest.fixture
def coco_dataset(tmp_path: Path, registered: Callable[[Path], list[str]]) -> Callable[..., str]:
    """A function (objects of each image, see `write_coco`) -> registered name."""

    def make(*images: list[dict[str, Any]]) -> str:
        folder = tmp_path / f"set{next(_numbers)}"
        folder.mkdir()
        return registered(write_coco(folder, images))[0]

    return make


@pytest.fixture
def perfect(tmp_path: Path) -> Callable[[str], tuple[Path, dict[str, Path]]]:
    """A function (name in `FORMATS`) -> specification and its truth as predictions."""

    def make(name: str) -> tuple[Path, dict[str, Path]]:
        folder = tmp_path / f"data{next(_numbers)}"
        folder.mkdir()
        spec = FORMATS[name](folder)
        paths = factories.write_perfect_predictions(spec, "val", tmp_path / "predictions")
        erase_unlisted(paths["panoptic"])
        return spec, paths

    return make
