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


VALID = ["MODEL.UNET.PADDING", "valid", "MODEL.UNET.NORM", "", "MODEL.SEM_SEG_HEAD.NORM", ""]
DILATED = ["MODEL.UNET.BOTTLENECK_DILATIONS", [1, 2, 4], "MODEL.SEM_SEG_HEAD.UPSAMPLE"]
DILATED += ["pixel_shuffle"]
DEEP = ["MODEL.SEM_SEG_HEAD.DEEP_SUPERVISION", [0.5, 0.25]]
AUXILIARY = ["MODEL.SEM_SEG_HEAD.AUXILIARY_FEATURES", ["stage3"]]
COARSE = ["MODEL.UNET.STEM_STRIDE", 2, "MODEL.UNET.BLOCK", "residual"]
FCN = ["MODEL.SEM_SEG_HEAD.NAME", "FCNHead"]
THREE = ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage3", "stage2", "stage4"]]
DEEPLAB = ["MODEL.SEM_SEG_HEAD.NAME", "DeepLabHead", "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", 16]
DEEPLAB += ["MODEL.SEM_SEG_HEAD.CONVS_DIM", 16, "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT", 0.0]
DEEPLAB += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage4"]]
PROJECT = ["MODEL.SEM_SEG_HEAD.PROJECT_FEATURES", ["stage1"]]
PROJECT += ["MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", [8]]


def smp(decoder: str, features: list[str], **arguments: Any) -> list[Any]:
    """A decoder of segmentation_models_pytorch."""
    head = ["MODEL.SEM_SEG_HEAD.NAME", "SMPHead", "MODEL.SEM_SEG_HEAD.DECODER", decoder]
    head += ["MODEL.SEM_SEG_HEAD.DECODER_ARGUMENTS", [arguments]]
    return [*head, "MODEL.SEM_SEG_HEAD.IN_FEATURES", features]


ALL = ["stage1", "stage2", "stage3", "stage4"]
THIN = (16, 12, 8, 8)
RES5 = [*RESNET, "MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.STEM_OUT_CHANNELS", 8]
RES5 += ["MODEL.RESNETS.RES2_OUT_CHANNELS", 16, "MODEL.RESNETS.WIDTH_PER_GROUP", 4]
C4 = [*RES5, "MODEL.RESNETS.OUT_FEATURES", ["res4"], "MODEL.ROI_HEADS.NAME", "Res5ROIHeads"]
ROI_POOL = ["MODEL.ROI_POOLER", "ROIPool"]
AGNOSTIC = ["MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", True]
DICE = ["MODEL.ROI_MASK_HEAD.NAME", "ConvMaskHead", "MODEL.ROI_MASK_HEAD.LOSSES", ["bce", "dice"]]
SCORING = ["MODEL.ROI_MASK_HEAD.NAME", "MaskScoringHead"]
SCORING += ["MODEL.ROI_MASK_HEAD.MASK_IOU.NUM_CONV", 2, "MODEL.ROI_MASK_HEAD.MASK_IOU.CONV_DIM", 8]
SCORING += ["MODEL.ROI_MASK_HEAD.MASK_IOU.FC_DIM", 16]
BOUNDARY = ["MODEL.ROI_MASK_HEAD.NAME", "BoundaryMaskHead"]
POINT_REND = ["MODEL.ROI_MASK_HEAD.NAME", "PointRendHead", "MODEL.ROI_MASK_HEAD.FC_DIM", 32]
POINT_REND += ["MODEL.POINT_HEAD.FC_DIM", 16, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", 2]
POINT_REND += ["MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", 196]
TIMM = ["MODEL.BACKBONE.NAME", "build_timm_backbone", "MODEL.TIMM.NAME", "mobilenetv3_small_050"]
TIMM_HEAD = ["MODEL.SEM_SEG_HEAD.WIDTHS", [8, 8, 8, 8], "MODEL.SEM_SEG_HEAD.IN_FEATURES"]
TIMM_HEAD += [["stage1", "stage2", "stage3", "stage4", "stage5"]]
SWIN_FPN = ["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.TIMM.DROP_PATH", 0.1]
SWIN_FPN += ["MODEL.TIMM.NAME", "swin_tiny_patch4_window7_224", "MODEL.TIMM.ARGUMENTS"]
SWIN_FPN += [[{"patch_size": 2, "window_size": 4, "embed_dim": 16, "num_heads": [1, 2, 4, 8]}]]
SWIN_FPN[-1] += [{"depths": [1, 2, 1, 1]}]
SWIN_FPN += ["MODEL.FPN.IN_FEATURES", ["stage2", "stage3", "stage4"]]
SWIN_FPN += ["MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5"]]
SWIN_FPN += ["MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4"]]
SWIN = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
SWIN |= {"window_size": 4, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
HF_RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 12, 16]}
HF_RESNET |= {"depths": [1, 1, 1, 1], "layer_type": "basic"}
HF_RESNET |= {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
POINTS = {"train_num_points": 128, "num_queries": 6, "hidden_dim": 32, "dim_feedforward": 16}
POINTS |= {"encoder_feedforward_dim": 16, "encoder_layers": 1, "num_attention_heads": 2}
DETR = {"model_type": "detr", "d_model": 16, "num_queries": 6, "decoder_layers": 2, "dropout": 0.0}
DETR |= {"encoder_layers": 1, "decoder_ffn_dim": 16, "encoder_ffn_dim": 16}
DETR |= {"decoder_attention_heads": 2, "encoder_attention_heads": 2}


def hugging_face(name: str, task: str, **config: Any) -> list[Any]:
    """A model of the library transformers with random weights."""
    pairs = ["MODEL.META_ARCHITECTURE", "HuggingFaceSegmenter", "MODEL.HUGGING_FACE.NAME", name]
    pairs += ["MODEL.HUGGING_FACE.TASK", task, "MODEL.HUGGING_FACE.OBJECT_THRESHOLD", 0.1]
    return [*pairs, "MODEL.HUGGING_FACE.CONFIG", config]


MASK2FORMER = {**POINTS, "feature_size": 32, "mask_feature_size": 32, "decoder_layers": 4}
MASKFORMER = {"backbone_config": HF_RESNET, "fpn_feature_size": 32, "mask_feature_size": 16}
ONEFORMER = {**POINTS, "backbone_config": SWIN, "conv_dim": 32, "mask_dim": 32, "dropout": 0.0}
ONEFORMER |= {
    "hidden_dim": 64,
    "decoder_layers": 4,
    "query_dec_layers": 1,
    "text_encoder_width": 64,
}
ONEFORMER |= {"text_encoder_num_layers": 1, "text_encoder_vocab_size": 40}
ONEFORMER |= {"text_encoder_context_length": 8, "task_seq_len": 8, "text_encoder_n_ctx": 2}
EOMT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_blocks": 2}
EOMT |= {"image_size": 64, "patch_size": 8, "num_queries": 6, "train_num_points": 128}
SEGFORMER = {"hidden_sizes": [8, 8, 12, 16], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16}
SEGFORMER |= {"num_attention_heads": [1, 1, 2, 2]}

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
    "instances_c4": [*C4, *INSTANCES],
    "instances_dice": [*UNET_FPN, *INSTANCES, *DICE, *AGNOSTIC],
    "instances_scoring": [*UNET_FPN, *INSTANCES, *SCORING],
    "instances_scoring_agnostic": [*UNET_FPN, *INSTANCES, *SCORING, *AGNOSTIC, *CASCADE],
    "instances_boundary": [*UNET_FPN, *INSTANCES, *BOUNDARY],
    "instances_boundary_agnostic": [*UNET_FPN, *INSTANCES, *BOUNDARY, *AGNOSTIC, *ROI_POOL],
    "instances_point_rend": [*UNET_FPN, *INSTANCES, *POINT_REND],
    "instances_point_rend_agnostic": [*UNET_FPN, *INSTANCES, *POINT_REND, *AGNOSTIC],
    "instances_timm": [*SWIN_FPN, *INSTANCES],
    "semantics_timm": [*TIMM, *TIMM_HEAD, *SEMANTICS],
    "semantics": [*UNET, *STAGES, *SEMANTICS],
    "semantics_resnet": [*RESNET, *RES_STAGES, *SEMANTICS],
    "semantics_one_level": [*UNET, "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage4"], *SEMANTICS],
    "semantics_valid": [*UNET, *STAGES, *SEMANTICS, *VALID, *DEEP],
    "semantics_dilated": [*UNET, *STAGES, *SEMANTICS, *DILATED, *DEEP, *AUXILIARY],
    "semantics_fcn": [*UNET, *COARSE, *FCN, *THREE, *SEMANTICS],
    "semantics_deeplab": [*UNET, *DEEPLAB, *SEMANTICS],
    "semantics_deeplab_plus": [*UNET, *DEEPLAB, *PROJECT, *SEMANTICS],
    "semantics_pspnet": [
        *[*UNET, *COARSE, *smp("pspnet", ["stage4"], out_channels=16, dropout=0.0)],
        *[*AUXILIARY, *SEMANTICS],
    ],
    "semantics_segformer": [*UNET, *smp("segformer", ALL, segmentation_channels=16), *SEMANTICS],
    "semantics_upernet": [*UNET, *smp("upernet", ALL, decoder_channels=16), *SEMANTICS],
    "semantics_dpt": [
        *[*UNET, *COARSE, *SEMANTICS],
        *smp("dpt", ALL, fusion_channels=16, intermediate_channels=THIN),
    ],
    "semantics_fpn": [
        *[*UNET, *SEMANTICS],
        *smp("fpn", ALL, pyramid_channels=16, segmentation_channels=32, dropout=0.0),
    ],
    "joint_mask2former": hugging_face(
        "mask2former", "panoptic", backbone_config=SWIN, **MASK2FORMER
    ),
    "semantics_mask2former": hugging_face(
        "mask2former", "semantic", backbone_config=HF_RESNET, **MASK2FORMER
    ),
    "instances_maskformer": hugging_face(
        "maskformer", "instance", decoder_config=DETR, use_auxiliary_loss=True, **MASKFORMER
    ),
    "joint_oneformer": hugging_face("oneformer", "panoptic", **ONEFORMER),
    "semantics_oneformer_no_texts": hugging_face(
        "oneformer", "semantic", contrastive_weight=0.0, **ONEFORMER
    ),
    "instances_eomt": hugging_face("eomt", "instance", **EOMT),
    "semantics_hf_segformer": hugging_face("segformer", "semantic", **SEGFORMER),
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
