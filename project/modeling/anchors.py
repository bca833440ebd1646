"""Anchors that are made once for maps of a size, not in every step."""

from collections import OrderedDict

from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.structures import Boxes
from torch import Tensor, nn

MOST = 64  # sizes of batches that are remembered: 9 MB each for five levels of 800 x 1,088 pixels


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
        known = self._known
        if known is None:
            known = self._known = OrderedDict()
        key = (next(iter(self.cell_anchors)).device, *(feature.shape[-2:] for feature in features))
        if key in known:
            known.move_to_end(key)
            return list(known[key])
        found = known[key] = super().forward(features)
        if len(known) > MOST:
            known.popitem(last=False)
        return list(found)


def cache_anchors(module: nn.Module) -> None:
    """Lets each Detectron2 generator of upright anchors below `module` remember them, in place."""
    for child in module.modules():
        if type(child) is DefaultAnchorGenerator:
            child.__class__ = CachedAnchors
