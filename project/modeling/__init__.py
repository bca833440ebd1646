"""Models; importing this package registers them with Detectron2."""

from project.modeling.bottom_up import BottomUpPanoptic
from project.modeling.boundary_mask_head import BoundaryMaskHead
from project.modeling.deeplab_head import DeepLabHead
from project.modeling.fcn_head import FCNHead
from project.modeling.hugging_face.segmenter import HuggingFaceSegmenter
from project.modeling.mask_heads import ConvMaskHead
from project.modeling.mask_scoring import MaskScoringHead
from project.modeling.mask_unet import MaskUNet
from project.modeling.point_rend import PointRendHead
from project.modeling.sem_seg_loss import SemSegLoss
from project.modeling.semantic_head import SemanticHead
from project.modeling.smp_head import SMPHead
from project.modeling.timm_backbone import (
    TimmBackbone,
    build_timm_backbone,
    build_timm_fpn_backbone,
)
from project.modeling.unet_backbone import UNetEncoder, build_unet_backbone
from project.modeling.unet_fpn import EncoderFPN, build_unet_fpn_backbone
from project.modeling.unet_head import UNetHead
from project.modeling.watershed_unet import WatershedUNet

__all__ = [
    "BottomUpPanoptic",
    "BoundaryMaskHead",
    "ConvMaskHead",
    "DeepLabHead",
    "EncoderFPN",
    "FCNHead",
    "HuggingFaceSegmenter",
    "MaskScoringHead",
    "MaskUNet",
    "PointRendHead",
    "SMPHead",
    "SemSegLoss",
    "SemanticHead",
    "TimmBackbone",
    "UNetEncoder",
    "UNetHead",
    "WatershedUNet",
    "build_timm_backbone",
    "build_timm_fpn_backbone",
    "build_unet_backbone",
    "build_unet_fpn_backbone",
]
