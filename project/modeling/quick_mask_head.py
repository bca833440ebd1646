"""Detectron2's mask head with targets and statistics that stay on the device, for GPUs."""

from typing import Any

from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.structures import Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from project.layers.mask_losses import mask_bce
from project.modeling.mask_heads import joined, mask_targets, of_class


class QuickMaskHead(MaskRCNNConvUpsampleHead):
    """Trains as Detectron2's, without waiting for the device; predicts as it does."""

    def forward(self, x: Tensor, instances: list[Instances]) -> Any:
        """See `BaseMaskRCNNHead`.

        Args:
            x: (R, C, P, P) pooled features.
            instances: those of the regions, by image; with truth in training.
        """
        if not self.training or self.vis_period:
            return super().forward(x, instances)
        logits = self.layers(x)
        logits = of_class(logits, joined(instances, "gt_classes"))
        targets = mask_targets(instances, logits.shape[-1])
        put_statistics(logits, targets)
        return {"loss_mask": mask_bce(logits, targets) * self.loss_weight}


def put_statistics(logits: Tensor, targets: Tensor) -> None:
    """Detectron2's shares of cells that are right and wrong, as tensors.

    Args:
        logits: (R, M, M).
        targets: (R, M, M) of 0 and 1.
    """
    if not len(logits):
        return
    inside = targets > 0.5
    wrong = (logits > 0) != inside
    storage = get_event_storage()
    storage.put_scalar("mask_rcnn/accuracy", 1 - wrong.float().mean())
    for name, cells in (("false_positive", ~inside), ("false_negative", inside)):
        storage.put_scalar(f"mask_rcnn/{name}", (wrong & cells).sum() / cells.sum().clamp(min=1))


def quicken_mask_heads(module: nn.Module) -> None:
    """Gives Detectron2's convolutional mask heads below `module` the way above, in place."""
    for child in module.modules():
        if type(child) is MaskRCNNConvUpsampleHead:
            child.__class__ = QuickMaskHead
