"""Config keys of tiles and views in testing."""

from detectron2.config import CfgNode


def add_testing_keys(cfg: CfgNode) -> None:
    """Adds keys of TEST, in place."""
    # Images of more than SIZE pixels a side are scored and predicted in tiles of SIZE x SIZE, whose
    # neighbours overlap by OVERLAP pixels or a little more; 0: all images whole. OVERLAP should be
    # the model's receptive field, and above the size of most objects; see docs/high_resolution.md.
    cfg.TEST.TILE = CfgNode({"SIZE": 0, "OVERLAP": 128})
    # TEST.AUG.ENABLED averages over views of an image: each of MIN_SIZES (lengths of the shorter
    # side, the longer up to MAX_SIZE; 0: the size of INPUT.MIN_SIZE_TEST) as it is and, with FLIP,
    # flipped left to right; with FLIP_VERTICAL top to bottom too, for what has no up, such as
    # aerial and microscope images.
    cfg.TEST.AUG.MIN_SIZES = (0,)
    cfg.TEST.AUG.FLIP_VERTICAL = False
