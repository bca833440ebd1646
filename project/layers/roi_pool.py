"""RoI max pooling, in float32 (torchvision's operator takes features and RoIs of one type)."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import RoIPool as TorchvisionRoIPool
from torchvision.ops import roi_pool


class RoIPool(nn.Module):
    """The largest value in each bin of a RoI (Girshick 2015, arXiv:1504.08083).

    RoIs and bins are rounded to whole cells, which moves an edge by up to half a cell: the
    misalignment that RoIAlign (He et al. 2017, arXiv:1703.06870) does away with.

    Legend: N images, C channels, H x W cells of the feature map, R RoIs, P x Q output bins.
    """

    def __init__(self, output_size: tuple[int, int], spatial_scale: float):
        """Holds the size (P, Q) and the cells a pixel, e.g. 1/8 at stride 8."""
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Pools every RoI.

        Args:
            features: (N, C, H, W).
            rois: (R, 5): image in [0, N), x1, y1, x2, y2 in pixels.

        Returns:
            (R, C, P, Q) in the features' dtype.
        """
        precise = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            pooled = roi_pool(
                features.to(precise), rois.to(precise), self.output_size, self.spatial_scale
            )
        return pooled.to(features.dtype)


def replace_roi_pool(module: nn.Module) -> None:
    """Puts a `RoIPool` in place of each of torchvision's below `module`."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is TorchvisionRoIPool:
                old: Any = child
                setattr(parent, name, RoIPool(old.output_size, old.spatial_scale))
