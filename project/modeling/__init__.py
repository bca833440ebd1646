"""Models; importing this package registers them with Detectron2."""

from project.modeling.deeplab_head import DeepLabHead
from project.modeling.fcn_head import FCNHead
from project.modeling.mask_unet import MaskUNet
from project.modeling.sem_seg_loss import SemSegLoss
from project.modeling.semantic_head import SemanticHead
from project.modeling.smp_head import SMPHead
from project.modeling.unet_backbone import UNetEncoder, build_unet_backbone
from project.modeling.unet_fpn import EncoderFPN, build_unet_fpn_backbone
from project.modeling.unet_head import UNetHead

__all__ = [
    "DeepLabHead",
    "EncoderFPN",
    "FCNHead",
    "MaskUNet",
    "SMPHead",
    "SemSegLoss",
    "SemanticHead",
    "UNetEncoder",
    "UNetHead",
    "build_unet_backbone",
    "build_unet_fpn_backbone",
]
