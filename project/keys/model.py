"""Config keys of models."""

from detectron2.config import CfgNode


def add_model_keys(cfg: CfgNode) -> None:
    """Adds keys of MODEL that every model has, and those of the U-Net, in place."""
    # "auto": the GPU where there is one, otherwise the CPU.
    cfg.MODEL.DEVICE = "auto"
    # Memory layout NHWC: faster convolutions on CPUs with bf16 and on tensor cores. EXACT has NCHW.
    cfg.MODEL.CHANNELS_LAST = True
    # Computes the backbone's stages again in the backward pass instead of keeping what they need:
    # about a third more time, much less memory.
    cfg.MODEL.GRADIENT_CHECKPOINTING = False
    # Compiles the backbone and the layers of the semantic head with torch.compile: a minute or more
    # at the start, quicker steps afterwards. Needs a C++ compiler on the CPU, Triton on a GPU.
    cfg.MODEL.COMPILE = False
    # How an image is normalised before the backbone: "fixed" by PIXEL_MEAN and PIXEL_STD, or
    # "image" by its own mean and deviation of each channel, against changes of light and colour.
    cfg.MODEL.PIXEL_NORMALIZATION = "fixed"
    # 0: counted from the data set. Another number must agree with the data set.
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 0
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 0

    # Parts of META_ARCHITECTURE "MaskUNet"; with both, panoptic segments are merged from them.
    cfg.MODEL.MASK_UNET = CfgNode({"INSTANCES": True, "SEMANTICS": True})
    # Instances with masks; False: with boxes alone, and then nothing is merged.
    cfg.MODEL.MASK_ON = True
    # Stuff of fewer pixels becomes void in the merge. 4096 suits images of COCO's size.
    cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 0

    # The U-Net encoder (BACKBONE.NAME "build_unet_backbone" or "build_unet_fpn_backbone").
    cfg.MODEL.UNET = CfgNode()
    # Channels of stage1, stage2, ...; each stage halves the size of the one before.
    cfg.MODEL.UNET.WIDTHS = [64, 128, 256, 512, 1024]
    # Stride of stage1: 1 as published (Ronneberger et al. 2015), 2 for speed on large images.
    cfg.MODEL.UNET.STEM_STRIDE = 1
    # "double_conv" as published, or "residual" (He et al. 2016: basic blocks on a stem of one
    # convolution).
    cfg.MODEL.UNET.BLOCK = "double_conv"
    # Blocks of each stage; empty: one each, as published.
    cfg.MODEL.UNET.NUM_BLOCKS = []
    # Between stages: "max_pool" or "strided_conv".
    cfg.MODEL.UNET.DOWNSAMPLE = "max_pool"
    # Normalisation: any name that Detectron2's get_norm takes; "" for none.
    cfg.MODEL.UNET.NORM = "BN"
    # Stages that feed the FPN of "build_unet_fpn_backbone"; its channels are FPN.OUT_CHANNELS.
    cfg.MODEL.UNET.FPN_IN_FEATURES = ["stage3", "stage4", "stage5"]
    # The U-Net's convolutions: "same" (padded), or "valid" as published, in mirrored surroundings.
    cfg.MODEL.UNET.PADDING = "same"
    # Dilation rates of the blocks of its coarsest stage, e.g. [1, 2, 4]; empty: none.
    cfg.MODEL.UNET.BOTTLENECK_DILATIONS = []
