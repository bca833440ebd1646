"""Config keys of instances without regions: by centres and by watershed."""

from detectron2.config import CfgNode


def add_dense_instance_keys(cfg: CfgNode) -> None:
    """Adds MODEL.BOTTOM_UP and MODEL.WATERSHED, in place."""
    # META_ARCHITECTURE "BottomUpPanoptic" (docs/bottom_up.md); lengths are in pixels of what the
    # network is fed, the defaults are those of Panoptic-DeepLab on Cityscapes.
    cfg.MODEL.BOTTOM_UP = CfgNode()
    # Deviation of the Gaussian on an object's centre: less where objects are small.
    cfg.MODEL.BOTTOM_UP.CENTER_SIGMA = 8.0
    # Lower peaks of the heatmap, 0 to 1, are no objects; at most TEST.DETECTIONS_PER_IMAGE are.
    cfg.MODEL.BOTTOM_UP.CENTER_THRESHOLD = 0.1
    # Side of the window in which only the highest peak is a centre; odd.
    cfg.MODEL.BOTTOM_UP.NMS_KERNEL = 7
    # Factors of the losses: squared error of the heatmap, and distance of the offsets in pixels.
    cfg.MODEL.BOTTOM_UP.CENTER_LOSS_WEIGHT = 200.0
    cfg.MODEL.BOTTOM_UP.OFFSET_LOSS_WEIGHT = 0.01

    # META_ARCHITECTURE "WatershedUNet" (docs/bottom_up.md); lengths as above.
    cfg.MODEL.WATERSHED = CfgNode()
    # Pixels that have two objects within this distance are taught as border between them.
    cfg.MODEL.WATERSHED.BORDER_WIDTH = 2
    # A seed is where depth * (1 - border) is above this, 0 to 1: more cuts more.
    cfg.MODEL.WATERSHED.SEED_THRESHOLD = 0.5
    # Pixels whose things are together likelier than this belong to objects.
    cfg.MODEL.WATERSHED.FOREGROUND_THRESHOLD = 0.5
    # Deviation of a Gaussian on what seeds are looked for in, against two seeds in one object.
    cfg.MODEL.WATERSHED.SMOOTHING = 1.0
    # Objects of fewer pixels are dropped.
    cfg.MODEL.WATERSHED.MIN_AREA = 1
    # Factors of the losses of depth and border.
    cfg.MODEL.WATERSHED.DEPTH_LOSS_WEIGHT = 1.0
    cfg.MODEL.WATERSHED.BORDER_LOSS_WEIGHT = 1.0
