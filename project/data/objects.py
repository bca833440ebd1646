"""The objects of an image that is fed: boxes, classes and masks after its changes.

N objects, H x W pixels of the image as it is fed.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks

from project.data.mask_layers import change_masks
from project.data.masks import check_polygons, visible_part
from project.data.pixels import errors_of_annotation
from project.data.raster import joined_boxes, raster_polygons
from project.data.records import Annotation
from project.errors import DatasetError

Outlines = list[list[np.ndarray]]  # of each object its polygons, (P, 2) float x and y


def mask_instances(
    annotations: Sequence[Annotation],
    masks: Sequence[np.ndarray],
    transforms: T.TransformList,
    shape: tuple[int, int],
    boxes: np.ndarray | None = None,
) -> Instances:
    """Objects of pixels, whose masks are changed as label maps are.

    Args:
        annotations: N.
        masks: of them, bool, at the image's own size.
        transforms: of the image.
        shape: (H, W).
        boxes: see `_instances`.
    """
    stack = change_masks(masks, transforms.apply_segmentation, shape)
    seen = np.zeros((len(masks), 4))
    for index, mask in enumerate(stack):
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        seen[index] = x, y, x + width, y + height
    return _with_masks(annotations, stack, shape, seen, boxes)


def filled_instances(
    annotations: Sequence[Annotation],
    stated: tuple[int, int],
    transforms: T.TransformList,
    shape: tuple[int, int],
    boxes: np.ndarray | None = None,
) -> Instances:
    """Objects of pixels, whose polygons are changed and then filled, as Detectron2 does it.

    Args:
        annotations: N, with polygons.
        stated: height and width of the image as it is stored.
        transforms: of the image, which bend no line.
        shape: (H, W).
        boxes: see `_instances`.

    Raises:
        DatasetError: see `project.data.masks.check_polygons`.
    """
    for annotation in annotations:
        with errors_of_annotation(annotation):
            check_polygons(annotation["segmentation"], *stated)
    stack, seen = raster_polygons(_changed_outlines(annotations, transforms), *shape)
    return _with_masks(annotations, stack, shape, seen, boxes)


def polygon_instances(
    annotations: Sequence[Annotation],
    transforms: T.TransformList,
    shape: tuple[int, int],
    boxes: np.ndarray | None = None,
) -> Instances:
    """Objects of polygons, of which only what is in the image is kept.

    Detectron2's crop needs the package shapely for this, and keeps what is outside of others; so
    is it here where it has `boxes` of its own.
    """
    outlines = _changed_outlines(annotations, transforms)
    if boxes is not None:
        instances, kept = _instances(annotations, shape, boxes)
        instances.gt_masks = PolygonMasks([[p.ravel() for p in outlines[i]] for i in kept])
        return instances
    kept_parts: list[list[np.ndarray]] = [[] for _ in annotations]
    seen = np.zeros((len(annotations), 4))
    for index, points, box in _visible_parts(outlines, shape):
        seen[index] = joined_boxes(seen[index], box) if kept_parts[index] else box
        kept_parts[index].append(points.ravel())
    instances, kept = _instances(annotations, shape, seen, boxes)
    instances.gt_masks = PolygonMasks([kept_parts[i] for i in kept])
    return instances


def _visible_parts(
    outlines: Outlines, shape: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The object's number, the points in the image and the XYXY box of each polygon that is seen.

    All are compared with the image's borders at once: few polygons need to be cut.
    """
    parts = [(index, points) for index, polygons in enumerate(outlines) for points in polygons]
    counts = np.array([len(points) for _, points in parts])
    if not len(parts) or not counts.all():
        corners = np.full((len(parts), 4), np.nan)  # left to `visible_part`
    else:
        points = np.concatenate([points for _, points in parts])
        starts = counts.cumsum() - counts
        ends = [ufunc.reduceat(points, starts) for ufunc in (np.minimum, np.maximum)]
        corners = np.concatenate(ends, axis=1)
    height, width = shape
    inside = (corners[:, :2] >= 0).all(1) & (corners[:, 2:] <= (width, height)).all(1)
    whole = (inside & (counts > 2)).tolist()
    for (index, points), is_whole, box in zip(parts, whole, corners):
        if is_whole:
            yield index, points, box
        elif (part := visible_part(points, width, height)) is not None:
            yield index, *part


def box_instances(
    annotations: Sequence[Annotation], transforms: T.TransformList, shape: tuple[int, int]
) -> Instances:
    """Objects of boxes alone."""
    return _instances(annotations, shape, _changed_boxes(annotations, transforms, shape))[0]


def annotated_boxes(
    annotations: Sequence[Annotation], transforms: T.TransformList, shape: tuple[int, int]
) -> np.ndarray | None:
    """(N, 4) XYXY boxes that Detectron2 gives objects: None after a crop, those of their masks."""
    if any(isinstance(transform, T.CropTransform) for transform in transforms.transforms):
        return None
    return _changed_boxes(annotations, transforms, shape)


def _changed_boxes(
    annotations: Sequence[Annotation], transforms: T.TransformList, shape: tuple[int, int]
) -> np.ndarray:
    """(N, 4) XYXY around the corners of the annotated boxes, within the image."""
    boxes = np.zeros((len(annotations), 4))
    for index, annotation in enumerate(annotations):
        with errors_of_annotation(annotation):
            box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
            boxes[index] = transforms.apply_box(np.array([box]))[0]
    height, width = shape
    return boxes.clip(0, [width, height, width, height])


def _with_masks(
    annotations: Sequence[Annotation],
    stack: np.ndarray,
    shape: tuple[int, int],
    seen: np.ndarray,
    boxes: np.ndarray | None,
) -> Instances:
    instances, kept = _instances(annotations, shape, seen, boxes)
    # A choice of all would be a copy of all.
    chosen = stack if len(kept) == len(stack) else stack[kept]
    instances.gt_masks = BitMasks(torch.from_numpy(chosen))
    return instances


def _instances(
    annotations: Sequence[Annotation],
    shape: tuple[int, int],
    seen: np.ndarray,
    boxes: np.ndarray | None = None,
) -> tuple[Instances, np.ndarray]:
    """Objects without those of no size.

    Args:
        annotations: N.
        shape: (H, W).
        seen: (N, 4) XYXY boxes about what the image has of them.
        boxes: (N, 4) XYXY boxes that they get in place of these.

    Returns:
        The objects, and the indices of those that are kept.
    """
    boxes = seen if boxes is None else boxes
    sizes = np.minimum(seen[:, 2:] - seen[:, :2], boxes[:, 2:] - boxes[:, :2])
    kept = np.flatnonzero((sizes > 0).all(axis=1))
    instances = Instances(shape)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes[kept].astype(np.float32)))
    classes = np.array([a["category_id"] for a in annotations], dtype=np.int64)
    instances.gt_classes = torch.from_numpy(classes[kept])
    return instances, kept


def _changed_outlines(annotations: Sequence[Annotation], transforms: T.TransformList) -> Outlines:
    """The polygons of objects after the transforms, which are applied to all points at once.

    Raises:
        DatasetError: an object that has no polygons, or numbers that are not finite.
    """
    outlines: Outlines = []
    for annotation in annotations:
        with errors_of_annotation(annotation):
            outlines.append(_outlines(annotation))
    parts = [points for polygons in outlines for points in polygons]
    if not parts:
        return outlines
    moved = transforms.apply_coords(np.concatenate(parts))
    begin = 0
    for polygons in outlines:
        for index, points in enumerate(polygons):
            polygons[index] = moved[begin : begin + len(points)]
            begin += len(points)
    if not np.isfinite(moved).all():  # pycocotools would never come back
        for annotation, polygons in zip(annotations, outlines):
            with errors_of_annotation(annotation):
                _check_finite(polygons)
    return outlines


def _outlines(annotation: Annotation) -> list[np.ndarray]:
    """(P, 2) float points of each polygon as it is annotated."""
    if isinstance(annotation["segmentation"], dict):
        raise DatasetError(
            "its segmentation is no polygon but RLE, which INPUT.MASK_FORMAT 'polygon' cannot hold;"
            " set it to 'auto' or 'bitmask'"
        )
    return [
        np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        for polygon in annotation["segmentation"]
    ]


def _check_finite(polygons: list[np.ndarray]) -> None:
    if not all(np.isfinite(points).all() for points in polygons):
        raise DatasetError("its polygon holds numbers that are not finite; export it again")
