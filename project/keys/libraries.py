"""Config keys of networks that other libraries bring."""

from detectron2.config import CfgNode


def add_timm_keys(cfg: CfgNode) -> None:
    """Adds MODEL.TIMM, in place."""
    # A network of the library timm (BACKBONE.NAME "build_timm_backbone", or
    # "build_timm_fpn_backbone" with a pyramid on FPN.IN_FEATURES); see docs/backbones.md. With it
    # INPUT.FORMAT becomes RGB, and PIXEL_MEAN and PIXEL_STD those that timm gives for NAME.
    cfg.MODEL.TIMM = CfgNode()
    # As timm calls it, e.g. "convnext_tiny" or, with its weights, "convnext_tiny.fb_in22k".
    cfg.MODEL.TIMM.NAME = ""
    # Features to compute, e.g. [stage2, stage3]; empty: all that timm yields.
    cfg.MODEL.TIMM.OUT_FEATURES = []
    # Start from timm's weights, fetched once; MODEL.WEIGHTS takes their place.
    cfg.MODEL.TIMM.PRETRAINED = False
    # A file of this network's weights to start from instead: .safetensors, .pth, .pt or .bin.
    cfg.MODEL.TIMM.WEIGHTS = ""
    # Share of residual branches left out in training, more in later ones; 0.1 to 0.3 for large
    # ConvNeXt and Swin.
    cfg.MODEL.TIMM.DROP_PATH = 0.0
    # k: stage1 to stage<k>, and all that they are computed from, stay as they are; 0: all learns.
    cfg.MODEL.TIMM.FREEZE = 0
    # Further arguments of the network, e.g. [{patch_size: 2, window_size: 4}] for Swin.
    cfg.MODEL.TIMM.ARGUMENTS = []


def add_hugging_face_keys(cfg: CfgNode) -> None:
    """Adds MODEL.HUGGING_FACE, in place."""
    # A model of the library transformers (META_ARCHITECTURE "HuggingFaceSegmenter"), see
    # docs/transformers.md.
    cfg.MODEL.HUGGING_FACE = node = CfgNode()
    # Which: "mask2former", "maskformer", "oneformer", "eomt", or for TASK semantic also
    # "segformer", "upernet", "dpt", "beit" and others. WEIGHTS, if given, decides in its place.
    node.NAME = "mask2former"
    # "semantic", "instance" or "panoptic". Models that label pixels alone do the first.
    node.TASK = "semantic"
    # Pretrained weights to start from: a local folder with config.json and model.safetensors, or
    # a name on the hub; "": random ones. Where PIXEL_MEAN and PIXEL_STD are not written, they
    # follow from its preprocessor_config.json. Weights of our own go into MODEL.WEIGHTS.
    node.WEIGHTS = ""
    # What differs from the library's defaults, or from the config of WEIGHTS: {num_queries: 50,
    # backbone_config: {model_type: swin, depths: [2, 2, 2, 2], ...}}.
    node.CONFIG = CfgNode(new_allowed=True)
    # Panoptic: queries whose class probability is not above it are left out, and those that win
    # less than this share of their mask.
    node.OBJECT_THRESHOLD = 0.8
    node.OVERLAP_THRESHOLD = 0.8
