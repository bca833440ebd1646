"""Tiny models and batches that the tests of models share. A new part is tested by a new case."""

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances

from project.config import get_project_config

NUM_THINGS = 2
NUM_STUFF = 1

UNET = ["MODEL.BACKBONE.NAME", "build_unet_backbone"]
UNET += ["MODEL.UNET.WIDTHS", [8, 12, 16, 24]]
STAGES = ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage4", "stage1", "stage3", "stage2"]]
UNET_FPN = [*UNET, "MODEL.BACKBONE.NAME", "build_unet_fpn_backbone"]
UNET_FPN += ["MODEL.UNET.STEM_STRIDE", 2, "MODEL.UNET.BLOCK", "residual"]
UNET_FPN += ["MODEL.UNET.DOWNSAMPLE", "strided_conv"]
UNET_FPN += ["MODEL.UNET.FPN_IN_FEATURES", ["stage2", "stage3", "stage4"]]
UNET_FPN += ["MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5"]]
UNET_FPN += ["MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4"]]
UNET_FPN += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage1", "p2", "p3", "p4"]]
RESNET = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.DEPTH", 18]
RESNET += ["MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.NORM", "BN"]
RESNET += ["MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]]
RESNET += ["MODEL.BACKBONE.FREEZE_AT", 0]
RES_STAGES = ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res2", "res3", "res4", "res5"]]
RES_STAGES += ["MODEL.SEM_SEG_HEAD.WIDTHS", [8, 16, 24]]
RESNET_FPN = [*RESNET, "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"]
RESNET_FPN += ["MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"]]
RESNET_FPN += ["MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"]]
RESNET_FPN += ["MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"]]
RESNET_FPN += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["p2", "p3", "p4", "p5"]]

SEMANTICS = ["MODEL.MASK_UNET.INSTANCES", False]
INSTANCES = ["MODEL.MASK_UNET.SEMANTICS", False]
PIXEL_SHUFFLE = ["MODEL.SEM_SEG_HEAD.FINAL_UPSAMPLE", "pixel_shuffle"]
CASCADE = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads"]
CASCADE += ["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True]
LIBRARY_HEAD = ["MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead", "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32]
LIBRARY_HEAD += ["MODEL.SEM_SEG_HEAD.NORM", ""]
BOTTOM_UP = ["MODEL.META_ARCHITECTURE", "BottomUpPanoptic", "MODEL.BOTTOM_UP.CENTER_SIGMA", 3.0]
WATERSHED = ["MODEL.META_ARCHITECTURE", "WatershedUNet"]

# Name -> KEY VALUE pairs: every architecture, backbone and head of ours, alone and with those of
# Detectron2 that must work with them.
CASES: dict[str, list[Any]] = {
    "joint": UNET_FPN,
    "joint_shuffle": [*UNET_FPN, *PIXEL_SHUFFLE, "MODEL.SEM_SEG_HEAD.SKIP", "add"],
    "joint_channels_last": [*UNET_FPN, "MODEL.CHANNELS_LAST", True],
    "joint_boxes_only": [*UNET_FPN, "MODEL.MASK_ON", False],
    "joint_library_head": [*RESNET_FPN, *LIBRARY_HEAD],
    "joint_resnet": RESNET_FPN,
    "joint_bottom_up": [*UNET, *STAGES, *BOTTOM_UP],
    "joint_bottom_up_resnet": [*RESNET, *RES_STAGES, *BOTTOM_UP],
    "joint_watershed": [*UNET, *STAGES, *WATERSHED],
    "instances": [*UNET_FPN, *INSTANCES],
    "instances_cascade": [*UNET_FPN, *INSTANCES, *CASCADE],
    "semantics": [*UNET, *STAGES, *SEMANTICS],
    "semantics_resnet": [*RESNET, *RES_STAGES, *SEMANTICS],
    "semantics_one_level": [*UNET, "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage4"], *SEMANTICS],
    "library_segmentor": [*UNET, *STAGES, "MODEL.META_ARCHITECTURE", "SemanticSegmentor"],
    # For the head's sake: Detectron2's merge is not ours, so no config may ask for it.
    "library_panoptic": [*UNET_FPN, "MODEL.META_ARCHITECTURE", "PanopticFPN"],
}


def tiny_config(*overrides: Any) -> CfgNode:
    """A config for models of a few thousand parameters, with KEY VALUE pairs applied."""
    cfg = get_project_config()
    base: list[Any] = [
        *["MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "MaskUNet", "MODEL.MASK_ON", True],
        *["MODEL.PIXEL_STD", [60.0, 60.0, 60.0], "MODEL.FPN.OUT_CHANNELS", 16],
        *["MODEL.ROI_HEADS.NUM_CLASSES", NUM_THINGS, "MODEL.ROI_HEADS.NAME", "StandardROIHeads"],
        *["MODEL.SEM_SEG_HEAD.NUM_CLASSES", NUM_STUFF + NUM_THINGS],
        *["MODEL.SEM_SEG_HEAD.NAME", "UNetHead", "MODEL.SEM_SEG_HEAD.NORM", "BN"],
        *["MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", 1],
        *["MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 5],
        *["MODEL.ROI_MASK_HEAD.NUM_CONV", 1, "MODEL.ROI_MASK_HEAD.CONV_DIM", 8],
        *["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16, "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO"],
        *[2, "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2],
        *["MODEL.ANCHOR_GENERATOR.SIZES", [[16.0, 24.0]], "MODEL.RPN.POST_NMS_TOPK_TRAIN", 50],
        *["MODEL.RPN.POST_NMS_TOPK_TEST", 50, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0],
        *["MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.1],
        *["MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 1],
    ]
    cfg.merge_from_list([*base, *overrides])
    return cfg


def make_input(height: int, width: int, *, objects: int = 2, seed: int = 0) -> dict[str, Any]:
    """One training item: bright squares on noise, class i brightest in channel i.

    Things are numbered from 0, their semantic ids from NUM_STUFF; a pixel row is ignored.
    """
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 80, (3, height, width), generator=generator, dtype=torch.uint8)
    sem_seg = torch.zeros(height, width, dtype=torch.long)
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    classes = torch.arange(objects) % NUM_THINGS
    for i in range(objects):
        top, left = 4 + (i // 2) * 24, 4 + (i % 2) * 24
        masks[i, top : top + 20, left : left + 20] = True
        image[int(classes[i])][masks[i]] = 250
        sem_seg[masks[i]] = NUM_STUFF + classes[i]
    sem_seg[-1] = 255
    instances = Instances((height, width))
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes() if objects else Boxes([])
    instances.gt_classes = classes
    return {
        "image": image,
        "instances": instances,
        "sem_seg": sem_seg,
        "height": height,
        "width": width,
    }
