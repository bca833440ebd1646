"""Config keys of data sets, images and loaders."""

from detectron2.config import CfgNode


def add_data_keys(cfg: CfgNode) -> None:
    """Adds EXACT, and keys of DATASETS, INPUT and DATALOADER, in place."""
    # True: stock Detectron2's arithmetic wherever ours is quicker and not equal to the last bit,
    # such as Pillow's resizing of images, to compare with it number by number. It costs the speed.
    cfg.EXACT = False
    # Specification files (datasets/*.yaml) to register; `--dataset D.yaml` sets this.
    cfg.DATASETS.SPECS = ()
    # The check of the data at the start of a training: "full" decodes every file, "quick" a few of
    # each split, "auto" all where that takes about five seconds at most.
    cfg.DATASETS.CHECK = "auto"
    # Channels of the images: 1 (grey), 3 (in the order of FORMAT) or those of your TIFF and NumPy
    # files, in the files' order. MODEL.PIXEL_MEAN and PIXEL_STD have one number for each.
    cfg.INPUT.CHANNELS = 3
    # 8: of 16-bit images the upper eight bits are fed. 16: all of them, 65535 as 255.0.
    cfg.INPUT.BITS = 8
    # How object masks are held: "polygon", "bitmask", or "auto": polygon where all are polygons.
    cfg.INPUT.MASK_FORMAT = "auto"
    # Largest change of brightness, contrast and saturation in training; 0.2 draws 0.8 to 1.2.
    cfg.INPUT.COLOR_JITTER = 0.0
    # Large-scale jitter (Ghiasi et al. 2021): resize by a random factor of SIZE, then crop or pad
    # to SIZE x SIZE. Takes the place of MIN_SIZE_TRAIN and CROP.
    cfg.INPUT.LSJ = CfgNode({"ENABLED": False, "SIZE": 1024, "MIN_SCALE": 0.1, "MAX_SCALE": 2.0})
    # Random changes in training, in their order: [{name: flip, prob: 0.5}, {name: blur}, ...], see
    # docs/augmentations.md. Takes the place of all other keys of INPUT that change training
    # images, wherever they are set; the log names those.
    cfg.INPUT.AUGMENTATIONS = []
    # Images without objects for each image with objects in training, a random choice (by SEED) of
    # those there are; 0: none. Negative: FILTER_EMPTY_ANNOTATIONS says whether all or none.
    cfg.DATALOADER.EMPTY_RATIO = -1.0
