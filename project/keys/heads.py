"""Config keys of semantic heads and of the heads on regions of interest."""

from detectron2.config import CfgNode


def add_semantic_head_keys(cfg: CfgNode) -> None:
    """Adds keys of semantic heads and of the dilated ResNet under some, in place."""
    head, resnets = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.RESNETS
    # The U-Net head (SEM_SEG_HEAD.NAME "UNetHead") on SEM_SEG_HEAD.IN_FEATURES, in any order.
    # Decoder channels a level, finest first, none for the coarsest feature, where the decoder
    # starts; empty: those of the features.
    head.WIDTHS = []
    # How an encoder feature joins the decoder: "concat", "add" or "none".
    head.SKIP = "concat"
    # From one level to the next: "transposed", "bilinear", "bilinear_conv" or "pixel_shuffle".
    head.UPSAMPLE = "transposed"
    # From the finest feature to the image's size: "bilinear" or "pixel_shuffle".
    head.FINAL_UPSAMPLE = "bilinear"
    # Convolutions a decoder level.
    head.NUM_CONVS = 2
    # Losses that are summed, each times its weight (1 unless it says so): cross_entropy, focal,
    # ohem, dice, tversky, lovasz and boundary, e.g. [{name: focal, gamma: 2.0}, {name: dice,
    # weight: 0.5}]; see docs/training.md. LOSS_WEIGHT scales the sum.
    head.LOSSES = [{"name": "cross_entropy"}, {"name": "dice"}]
    # Class weights of cross_entropy, focal and ohem: "none", "inverse_frequency" (counted from the
    # training data once, then kept in CLASS_WEIGHTS) or "given" (CLASS_WEIGHTS in the order of the
    # classes).
    head.CLASS_WEIGHTING = "none"
    head.CLASS_WEIGHTS = []
    # UNetHead: factors of levels before the finest that are judged in training, e.g. [0.5, 0.25].
    head.DEEP_SUPERVISION = []
    # Any head of ours: backbone features that are judged too, and the factor (PSPNet: [res4], 0.4).
    head.AUXILIARY_FEATURES, head.AUXILIARY_WEIGHT = [], 0.4
    # DeepLabHead: finer features that join late, and their channels ([res2], [48]): V3+; none: V3.
    head.PROJECT_FEATURES, head.PROJECT_CHANNELS = [], []
    # Its ASPP: channels of a branch, rates of three convolutions, dropout behind it.
    head.ASPP_CHANNELS, head.ASPP_DILATIONS, head.ASPP_DROPOUT = 256, [6, 12, 18], 0.1
    head.USE_DEPTHWISE_SEPARABLE_CONV = False
    # build_resnet_deeplab_backbone: 2 keeps res4 at stride 8 (with RES5_DILATION 4); RES5_DILATION
    # times these; stem "deeplab" (three 3x3 convolutions) or "basic", that of the weights of R-50.
    resnets.RES4_DILATION, resnets.RES5_MULTI_GRID, resnets.STEM_TYPE = 1, [1, 2, 4], "deeplab"
    # SMPHead: a decoder of segmentation_models_pytorch, its arguments, e.g. [{dropout: 0.1}].
    head.DECODER, head.DECODER_ARGUMENTS = "pspnet", []


def add_roi_keys(cfg: CfgNode) -> None:
    """Adds keys of RoI heads, in place."""
    # How every head of MaskUNet pools its RoIs: "ROIAlignV2", "ROIAlign" (with the half-cell shift
    # of the first Detectron) or "ROIPool" (Girshick 2015, which rounds to cells); "": each head by
    # its own POOLER_TYPE.
    cfg.MODEL.ROI_POOLER = ""
    # Mask losses, summed: "bce", "dice" or both (heads ConvMaskHead, MaskScoringHead and
    # BoundaryMaskHead).
    cfg.MODEL.ROI_MASK_HEAD.LOSSES = ["bce"]
    # The part of "MaskScoringHead" that predicts the IoU of a mask (Huang et al. 2019).
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU = CfgNode(
        {"NUM_CONV": 4, "CONV_DIM": 256, "NUM_FC": 2, "FC_DIM": 1024, "LOSS_WEIGHT": 1.0}
    )
    # Convolutions of the boundary branch of "BoundaryMaskHead" (Cheng et al. 2020), and the factor
    # of its loss.
    cfg.MODEL.ROI_MASK_HEAD.BOUNDARY = CfgNode({"NUM_CONV": 2, "LOSS_WEIGHT": 1.0})
    # "PointRendHead" (Kirillov et al. 2020), by Detectron2's own keys: a coarse mask, of
    # OUTPUT_SIDE_RESOLUTION squared, by NUM_FC layers on IN_FEATURES at POOLER_RESOLUTION ...
    cfg.MODEL.ROI_MASK_HEAD.IN_FEATURES = ("p2",)
    cfg.MODEL.ROI_MASK_HEAD.FC_DIM = 1024
    cfg.MODEL.ROI_MASK_HEAD.NUM_FC = 2
    cfg.MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION = 7
    # ... then points, where the mask is least certain, by NUM_FC layers on the features of
    # POINT_HEAD.IN_FEATURES and the coarse mask.
    cfg.MODEL.ROI_MASK_HEAD.POINT_HEAD_ON = True
    point = cfg.MODEL.POINT_HEAD = CfgNode({"NAME": "StandardPointHead", "IN_FEATURES": ("p2",)})
    point.FC_DIM = 256
    point.NUM_FC = 3
    # The coarse mask is an input of every layer, or of the first alone.
    point.COARSE_PRED_EACH_LAYER = True
    # Points a mask in training: of OVERSAMPLE_RATIO times as many random ones, the least certain
    # make up the share IMPORTANCE_SAMPLE_RATIO.
    point.TRAIN_NUM_POINTS = 14 * 14
    point.OVERSAMPLE_RATIO = 3
    point.IMPORTANCE_SAMPLE_RATIO = 0.75
    # In prediction the mask's side doubles so often, each time with so many points anew.
    point.SUBDIVISION_STEPS = 5
    point.SUBDIVISION_NUM_POINTS = 28 * 28
