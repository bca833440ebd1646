"""Anchors that are made once for maps of a size, not in every step."""

from collections import OrderedDict
from typing import Any

import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.structures import Boxes
from torch import Tensor, nn

MOST_NUMBERS = 2**24  # that are remembered, 64 MB: of 800 x 1,088 pixels five levels have 900,000


class CachedAnchors(DefaultAnchorGenerator):
    """Detectron2's, which remembers the anchors of the last sizes; they must not be changed."""

    _known: "OrderedDict[tuple, list[Boxes]] | None" = None

    def forward(self, features: list[Tensor]) -> list[Boxes]:
        """The anchors of each level.

        Args:
            features: (N, C, H, W) of each level.

        Returns:
            (H * W * anchors of a cell, 4) of each level.
        """
        if torch.is_inference_mode_enabled():  # what is made in it may not be used outside
            return super().forward(features)
        if self._known is None:
            self._known = OrderedDict()
        cells = next(iter(self.cell_anchors))
        key = (cells.device, cells.dtype, *(feature.shape[-2:] for feature in features))
        if key in self._known:
            self._known.move_to_end(key)
        else:
            self._known[key] = super().forward(features)
            self._forget()
        return list(self._known[key])

    def _forget(self) -> None:
        """Drops the sizes that were not asked for longest, but not the last one."""
        assert self._known is not None
        numbers = [sum(level.tensor.numel() for level in found) for found in self._known.values()]
        while len(numbers) > 1 and sum(numbers) > MOST_NUMBERS:
            self._known.popitem(last=False)
            del numbers[0]

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own."""
        return {**self.__dict__, "_known": None}


def cache_anchors(module: nn.Module) -> None:
    """Lets each Detectron2 generator of upright anchors below `module` remember them, in place."""
    for child in module.modules():
        if type(child) is DefaultAnchorGenerator:
            child.__class__ = CachedAnchors
