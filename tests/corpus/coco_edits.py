"""Damaging a COCO file as a function of its content."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import factories
from corpus.case import Id, Place, edit_json

Entry = dict[str, Any]  # an object of the file, or the file's own


def damaged(
    change: Callable[[Entry], Id | None], *, split: str | None = "train", **keywords: Any
) -> Callable[[Path], Place]:
    """How to write a COCO data set of which one file is changed.

    Args:
        change: changes the content of the file of `split` in place; returns the annotation that is
            to be named, or None.
        split: whose file is changed.
        **keywords: of `factories.make_coco`.
    """

    def make(root: Path) -> Place:
        spec = factories.make("coco", root, **{"num_images": 2, **keywords})
        file = root / f"{split}.json"
        return Place(spec, file, edit_json(file, change), split)

    return make
