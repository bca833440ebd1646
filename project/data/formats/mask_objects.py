"""Objects that formats find as pixels."""

import numpy as np
from detectron2.structures import BoxMode

from project.data.masks import encode_mask, measure_mask
from project.data.problems import Id
from project.data.records import Annotation


def object_of_mask(mask: np.ndarray, annotation_id: Id, thing_id: int) -> Annotation:
    """The object of an (H, W) bool mask, which has a pixel."""
    box, area = measure_mask(mask)
    return Annotation(
        id=annotation_id,
        bbox=box,
        bbox_mode=BoxMode.XYWH_ABS,
        category_id=thing_id,
        segmentation=encode_mask(mask),
        iscrowd=0,
        area=area,
    )
