"""The one place that knows how classes are numbered.

Three numberings meet here:
    dataset id     what an annotation file writes (`category_id` 7), with gaps, any start
    thing id       0..T-1, contiguous: what `Instances.gt_classes` and `pred_classes` hold
    semantic id    0..K-1, contiguous over `[*stuff, *things]`: what label maps and logits hold
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

IGNORE_LABEL = 255  # semantic id of pixels that neither teach nor count
MAX_SEMANTIC_CLASSES = IGNORE_LABEL  # label maps are 8-bit


@dataclass(frozen=True)
class Categories:
    """The classes of one data set, the same for all its splits.

    Attributes:
        things: names of the countable classes, in the order of their thing ids.
        stuff: names of the uncountable classes; `("background",)` where only things are annotated.
        thing_dataset_ids: the data set's own id of each thing, in the order of `things`.
        stuff_dataset_ids: the same of `stuff`; empty where the data set has none.
    """

    things: tuple[str, ...] = ()
    stuff: tuple[str, ...] = ()
    thing_dataset_ids: tuple[int, ...] = ()
    stuff_dataset_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.thing_dataset_ids:
            object.__setattr__(self, "thing_dataset_ids", tuple(range(1, len(self.things) + 1)))
        assert len(self.thing_dataset_ids) == len(self.things)
        assert len(self.stuff_dataset_ids) in (0, len(self.stuff))
        assert len(set(self.semantic)) == len(self.semantic), self.semantic

    @property
    def semantic(self) -> tuple[str, ...]:
        """Names of all classes in the order of their semantic ids."""
        return (*self.stuff, *self.things)

    @property
    def dataset_to_thing(self) -> dict[int, int]:
        """Dataset id -> thing id."""
        return {dataset_id: i for i, dataset_id in enumerate(self.thing_dataset_ids)}

    @property
    def dataset_to_stuff(self) -> dict[int, int]:
        """Dataset id -> semantic id of stuff; the semantic ids themselves where there are none."""
        return {n: i for i, n in enumerate(self.stuff_dataset_ids or range(len(self.stuff)))}

    def semantic_of_thing(self, thing_id: int) -> int:
        """Semantic id of a thing id."""
        return len(self.stuff) + thing_id

    def semantic_of_segment(self, segment: Mapping[str, Any]) -> int:
        """Semantic id of one of Detectron2's `segments_info`.

        Its `category_id` is a thing id where `isthing`, and a semantic id otherwise.
        """
        category = int(segment["category_id"])
        return self.semantic_of_thing(category) if segment["isthing"] else category

    def is_thing(self, semantic_id: int) -> bool:
        """Whether a semantic id is that of a thing."""
        return semantic_id >= len(self.stuff)

    def thing_of_semantic(self) -> np.ndarray:
        """(K,) thing id of each semantic id, -1 for stuff."""
        return np.r_[np.full(len(self.stuff), -1), np.arange(len(self.things))].astype(np.int64)
