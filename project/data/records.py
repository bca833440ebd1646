"""What a data set yields, image by image: Detectron2's dataset dict, with our additions named.

https://detectron2.readthedocs.io/tutorials/datasets.html documents the standard keys.
"""

from typing import Any, TypedDict


class Annotation(TypedDict, total=False):
    """One object.

    Keys:
        id: what its file calls it, for messages; unique within its image.
        bbox: four numbers, as `bbox_mode` says (formats give XYWH_ABS), pixels.
        bbox_mode: a `detectron2.structures.BoxMode`.
        category_id: thing id, 0..T-1.
        segmentation: list of polygons `[x0, y0, x1, y1, ...]`; or an RLE
            `{"size": [h, w], "counts": bytes | str}`; or a segment of a panoptic PNG, decoded when
            it is asked for, `{"size": [h, w], "png": absolute path, "id": int}`; absent where only
            boxes exist.
        iscrowd: 1 for a region of many objects that is neither taught nor counted.
        area: pixels, as the file says; absent where it says nothing.
        keypoints: x, y and visibility of each, as COCO has them; 0 is not labelled. Absent where
            there are none.
        score: of the detector that found the object; absent where people drew it.
        mask_score: expected IoU of a mask that a model drew, 0 to 1.
    """

    id: int | str
    bbox: list[float]
    bbox_mode: int
    category_id: int
    segmentation: list[list[float]] | dict[str, Any]
    iscrowd: int
    area: float
    keypoints: list[float]
    score: float
    mask_score: float


class SegmentInfo(TypedDict):
    """One segment of a panoptic PNG.

    Keys:
        id: the number in the PNG, R + 256 G + 65536 B.
        semantic_id: its class; `IGNORE_LABEL` where the specification does not choose its class.
        iscrowd: 1 for a region of many objects.
    """

    id: int
    semantic_id: int
    iscrowd: int


class Record(TypedDict, total=False):
    """One image.

    Keys:
        dataset: the registered name of the data set and split; leads to classes and label encoding.
        file_name: absolute path of the image (it may not exist when only scoring).
        image_id: unique within the split, as the annotation file has it; else the file's stem.
        height, width: pixels, upright (after EXIF orientation).
        annotations: list of `Annotation`; absent where the format holds no objects.
        sem_seg_file_name: absolute path of the label map; absent where there is none, and then
            the semantic truth is that of the panoptic PNG, or else derived from the annotations.
        pan_seg_file_name: absolute path of the panoptic PNG; absent where there is none.
        segments_info: every segment of that PNG, with `id`, `semantic_id` and `iscrowd`.
    """

    dataset: str
    file_name: str
    image_id: int | str
    height: int
    width: int
    annotations: list[Annotation]
    sem_seg_file_name: str
    pan_seg_file_name: str
    segments_info: list[SegmentInfo]
