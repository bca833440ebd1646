"""PointRend (Kirillov et al. 2020, arXiv:1912.08193) by Detectron2's project of that name.

Legend: R RoIs of all images, P points each.
"""

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.projects.point_rend import PointRendMaskHead
from detectron2.structures import Instances
from torch import Tensor

from project.errors import ConfigError
from project.modeling.features import select_features


@ROI_MASK_HEAD_REGISTRY.register()
class PointRendHead(PointRendMaskHead):
    """Detectron2's head, also for class-agnostic masks, batches without objects and autocast."""

    in_float32 = True  # see `project.modeling.quick`

    def __init__(self, cfg: CfgNode, input_shape: dict[str, ShapeSpec]):
        """Builds the coarse head and the point head.

        Args:
            cfg: ROI_MASK_HEAD and POINT_HEAD of MODEL.
            input_shape: the levels that the RoI heads read.

        Raises:
            ConfigError: features that the heads do not read, or that are narrower than CONV_DIM.
        """
        mask, point = cfg.MODEL.ROI_MASK_HEAD, cfg.MODEL.POINT_HEAD
        coarse = select_features(input_shape, mask.IN_FEATURES, "MODEL.ROI_MASK_HEAD.IN_FEATURES")
        select_features(input_shape, point.IN_FEATURES, "MODEL.POINT_HEAD.IN_FEATURES")
        width = sum(shape.channels for shape in coarse.values())
        if width < mask.CONV_DIM:
            raise ConfigError(
                f"PointRendHead: MODEL.ROI_MASK_HEAD.CONV_DIM is {mask.CONV_DIM}, and the features"
                f" of IN_FEATURES have {width} channels together; it may not be more"
            )
        cfg = cfg.clone()
        cfg.defrost()
        # One class for all is how the original, which knows none, makes class-agnostic masks.
        count = 1 if mask.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.POINT_HEAD.NUM_CLASSES = count
        cfg.MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK = False
        super().__init__(cfg, input_shape)

    def forward(self, features: dict[str, Tensor], instances: list[Instances]) -> Any:
        """Losses in training, otherwise the instances with `pred_masks`; all in float32."""
        precise = {name: feature.float() for name, feature in features.items()}
        with torch.autocast(next(iter(precise.values())).device.type, enabled=False):
            return super().forward(precise, instances)

    def _sample_train_points(
        self, coarse_mask: Tensor, instances: list[Instances]
    ) -> tuple[Tensor, Tensor]:
        """Where each mask is least certain, and what is there: (R, P, 2) and (R, P)."""
        if len(coarse_mask):
            return super()._sample_train_points(coarse_mask, instances)
        points = coarse_mask.new_zeros(0, self.mask_point_train_num_points, 2)
        return points, points[..., 0]
