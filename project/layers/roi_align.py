"""Detectron2's `ROIAlign` with quicker ways on CPUs.

torchvision's operator visits four cells a sample, and its backward on the CPU runs in one thread.
The two products of `project.layers.separable` run in the matrix library, and their cost grows with
the cells of the map; the sums of `project.layers.bags` cost the same on maps of any size, but their
gradient orders its pairs first.

Legend: N images, C channels, H x W cells of the feature map, R RoIs, P x Q output bins,
S samples a bin and axis.
"""

from typing import Any

import torch
from detectron2.layers import ROIAlign
from torch import Tensor, nn
from torchvision.ops import roi_align

from project.layers.bags import bag_roi_align
from project.layers.separable import Grid, separable_roi_align

# Cells H * W up to which the products are used, and bags above. On 2 AVX512 cores that others used
# too, with 64 and 256 channels, bags were quicker by (products / bags, float32 and bfloat16)
#   forward: 1.2x to 2.9x at 8x8, 1.6x to 4.7x at 16x16, 2.1x to 6.4x at 32x32;
#   forward + backward: 0.6x to 1.9x at 8x8, 0.5x to 2.1x at 24x24, 0.9x to 4.2x at 32x32.
MAX_CELLS_TRAINING = 24 * 24
MAX_CELLS_FORWARD = 4 * 4
# A map has to be turned to channels_last for bags: in a copy that costs more than it saves where
# it has more than so many cells a bin.
MAX_CELLS_A_BIN = 8
# Samples a bin and axis where their number follows from the RoI's size; RoIs of real images have
# fewer, and those that have more are torchvision's.
MAX_SAMPLES = 256


class RoIAlign(nn.Module):
    """Detectron2's `ROIAlign`, in the quickest of the three ways.

    RoI coordinates stay in float32 (or better) for features of lower precision; Detectron2 rounds
    them to the features' type, which moves a bfloat16 edge at 200 pixels by up to half a pixel.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = True,
    ):
        """Holds what torchvision's `roi_align` takes beside features and RoIs.

        Args:
            output_size: P and Q.
            spatial_scale: cells a pixel, e.g. 1/8 at stride 8.
            sampling_ratio: S; 0 takes torchvision's adaptive number.
            aligned: False takes the half-cell shift of the first Detectron.
        """
        super().__init__()
        bins_y, bins_x = (output_size,) * 2 if isinstance(output_size, int) else output_size
        self.output_size = (bins_y, bins_x)
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Pools every RoI.

        Args:
            features: (N, C, H, W).
            rois: (R, 5): image in [0, N), x1, y1, x2, y2 in pixels.

        Returns:
            (R, C, P, Q) in the features' dtype.
        """
        grid = Grid(self.output_size, self.spatial_scale, self.sampling_ratio)
        if self.is_ours(features) and self._is_sampled(rois):
            if self.is_separable(features):
                return separable_roi_align(features, rois, *grid)
            if self.is_bagged(features, len(rois)):
                return bag_roi_align(features, rois, grid)
        precise = torch.promote_types(features.dtype, torch.float32)
        pooled = roi_align(
            features.to(precise),
            rois.to(precise),
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
        )
        return pooled.to(features.dtype)

    def is_ours(self, features: Tensor) -> bool:
        """Whether one of our ways may pool these features.

        Graphs that are traced, compiled or exported keep the one operator that exporters know.
        """
        return (
            self.aligned
            and features.device.type == "cpu"
            and not torch.jit.is_tracing()
            and not torch.compiler.is_compiling()
        )

    def is_separable(self, features: Tensor) -> bool:
        """Whether the map is so small that products are quicker than bags."""
        training = features.requires_grad and torch.is_grad_enabled()
        most_cells = MAX_CELLS_TRAINING if training else MAX_CELLS_FORWARD
        return features.shape[-2] * features.shape[-1] <= most_cells

    def is_bagged(self, features: Tensor, num_rois: int) -> bool:
        """Whether bags are quicker than torchvision's operator."""
        bins = num_rois * self.output_size[0] * self.output_size[1]
        return (
            features.is_contiguous(memory_format=torch.channels_last)
            or features[:, 0].numel() <= MAX_CELLS_A_BIN * bins
        )

    def _is_sampled(self, rois: Tensor) -> bool:
        """Whether bins have no more than MAX_SAMPLES; False for RoIs that are not finite."""
        if self.sampling_ratio > 0 or not len(rois):
            return True
        sides = (rois[:, 3:] - rois[:, 1:3]).abs().amax(dim=0) * self.spatial_scale
        return float(sides.amax()) <= MAX_SAMPLES * min(self.output_size)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )


def replace_roi_align(module: nn.Module) -> None:
    """Puts a `RoIAlign` in place of each Detectron2 `ROIAlign` below `module`.

    Subclasses of `ROIAlign` stay as they are: what they change is not known here.
    """
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is ROIAlign:
                old: Any = child
                ours = RoIAlign(old.output_size, old.spatial_scale, old.sampling_ratio, old.aligned)
                setattr(parent, name, ours)
