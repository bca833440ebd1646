"""Detectron2's `ROIAlign` with a quicker way for small feature maps on CPUs.

torchvision's operator visits four cells a sample, and its backward on the CPU runs in one thread.
The two products of `project.layers.separable` run in the matrix library, forwards and backwards;
their cost grows with the cells of the map, torchvision's does not, so each has its place.

Legend: N images, C channels, H x W cells of the feature map, R RoIs, P x Q output bins,
S samples a bin and axis.
"""

from typing import Any

import torch
from detectron2.layers import ROIAlign
from torch import Tensor, nn
from torchvision.ops import roi_align

from project.layers.separable import separable_roi_align

# Cells H * W up to which the products are used. `tools/benchmark.py roi-align` on 2 AVX512 cores
# in float32 (bfloat16 is two to three times quicker still), 64 and 256 channels:
#   forward + backward: 10x to 11x at 16x16, 4.3x to 5.1x at 32x32, about 2x at 64x64;
#   forward alone: 2.9x at 16x16, 1.7x to 1.8x at 32x32, 1.0x to 1.3x at 48x48; with one thread
#   and RoIs spread unevenly over the images it is even at 32x32.
MAX_CELLS_TRAINING = 64 * 64
MAX_CELLS_FORWARD = 32 * 32


class RoIAlign(nn.Module):
    """Detectron2's `ROIAlign`: separable where that is quicker, torchvision's operator elsewhere.

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
        if self.is_separable(features):
            return separable_roi_align(
                features, rois, self.output_size, self.spatial_scale, self.sampling_ratio
            )
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

    def is_separable(self, features: Tensor) -> bool:
        """Whether `separable_roi_align` pools these features.

        Graphs that are traced, compiled or exported keep the one operator that exporters know.
        """
        training = features.requires_grad and torch.is_grad_enabled()
        most_cells = MAX_CELLS_TRAINING if training else MAX_CELLS_FORWARD
        return (
            self.aligned
            and self.sampling_ratio > 0
            and features.device.type == "cpu"
            and features.shape[-2] * features.shape[-1] <= most_cells
            and not torch.jit.is_tracing()
            and not torch.compiler.is_compiling()
        )

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
