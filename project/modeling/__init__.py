"""Models; importing this package registers them with Detectron2."""

from project.modeling.bottom_up import BottomUpPanoptic
from project.modeling.mask_unet import MaskUNet
from project.modeling.sem_seg_loss import SemSegLoss
from project.modeling.unet_backbone import UNetEncoder, build_unet_backbone
from project.modeling.unet_fpn import EncoderFPN, build_unet_fpn_backbone
from project.modeling.unet_head import UNetHead
from project.modeling.watershed_unet import WatershedUNet

__all__ = [
    "BottomUpPanoptic",
    "EncoderFPN",
    "MaskUNet",
    "SemSegLoss",
    "UNetEncoder",
    "UNetHead",
    "WatershedUNet",
    "build_unet_backbone",
    "build_unet_fpn_backbone",
]
