"""Detectron2's poolers with our RoIAlign."""

import torch
import torch.nn.functional as F
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from torch import Tensor, nn

from project.layers.roi_align import RoIAlign, replace_roi_align


class Pooler(ROIPooler):
    """Joins the levels' RoIs by one copy of whole RoIs, in the layout that they have.

    Detectron2 fills a tensor of zeros instead, in NCHW, number by number where RoIs are in NHWC,
    and on a GPU waits for the RoIs of each level.
    """

    def forward(self, x: list[Tensor], box_lists: list[Boxes]) -> Tensor:
        """Pools every box from the level of its size, as Detectron2 does.

        Args:
            x: (N, C, H, W) of each level, finest first.
            box_lists: of each image.

        Returns:
            (R, C, P, Q) in the order of the boxes.
        """
        on_gpu = x[0].is_cuda and not torch.jit.is_tracing() and not torch.compiler.is_compiling()
        if len(x) == 1 or not (on_gpu or self._is_ours(x)) or not sum(map(len, box_lists)):
            return super().forward(x, box_lists)
        boxes = _with_images(box_lists)
        levels = assign_boxes_to_levels(
            box_lists,
            self.min_level,
            self.max_level,
            self.canonical_box_size,
            self.canonical_level,
        )
        order = levels.argsort(stable=True)
        # `bincount` would make the host wait once more for the size of its result.
        numbers = torch.arange(len(x), device=levels.device)
        counts = (levels == numbers[:, None]).sum(dim=1).tolist()
        parts = boxes[order].split(counts)
        pooled = [p(f, part) for p, f, part in zip(self.level_poolers, x, parts, strict=True)]
        if on_gpu:  # torchvision's operator yields NCHW
            return torch.cat(pooled).index_select(0, order.argsort())
        pooled = [part.permute(0, 2, 3, 1) for part in pooled]  # (R, P, Q, C)
        if any(part.requires_grad for part in pooled):
            joined = torch.cat(pooled).index_select(0, order.argsort())
        else:
            joined = pooled[0].new_empty(len(boxes), *pooled[0].shape[1:])
            for places, part in zip(order.split(counts), pooled, strict=True):
                joined.index_copy_(0, places, part)
        return joined.permute(0, 3, 1, 2)

    def _is_ours(self, x: list[Tensor]) -> bool:
        return all(
            isinstance(pooler, RoIAlign) and pooler.is_ours(level)
            for pooler, level in zip(self.level_poolers, x)
        )


def _with_images(box_lists: list[Boxes]) -> Tensor:
    """(R, 5) image, x1, y1, x2, y2; Detectron2's way waits for a GPU."""
    numbered = [F.pad(own.tensor, (1, 0), value=i) for i, own in enumerate(box_lists)]
    return torch.cat(numbered)


def replace_poolers(module: nn.Module) -> None:
    """Gives every Detectron2 pooler below `module` our RoIAlign, in place."""
    replace_roi_align(module)
    for child in module.modules():
        if type(child) is ROIPooler:
            child.__class__ = Pooler
