"""From a record to what a model eats: pixels, objects and semantic labels, changed alike.

N objects, H x W pixels of the image as it is fed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks

from project.data.architectures import model_parts
from project.data.augment import build_augmentations
from project.data.labels import (
    decode_masks,
    has_label_map,
    read_semantic,
    semantic_from_masks,
)
from project.data.mask_layers import change_masks
from project.data.masks import visible_part
from project.data.pixels import errors_of_annotation, errors_of_sample, read_pixels
from project.data.records import Annotation, Record
from project.data.register import DatasetInfo, dataset_info
from project.errors import ConfigError, DatasetError

_KEPT = ("dataset", "file_name", "image_id", "height", "width")


class SegmentationMapper:
    """Maps records for instance, semantic and joint training alike, and for testing."""

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
        mask_format: str,
        instances: bool,
        semantics: bool,
        infos: Mapping[str, DatasetInfo],
        channels: int = 3,
        bits: int = 8,
    ) -> None:
        """Keeps what it is given.

        Args:
            is_train: adds the truth; otherwise only the image is mapped.
            augmentations: applied in order, to the image and its truth.
            image_format: "BGR" or "RGB", the order of three channels.
            mask_format: "bitmask", or "polygon", where all objects must have polygons.
            instances: in training, add "instances".
            semantics: in training, add "sem_seg".
            infos: of every data set whose records come.
            channels: of the images, C; see `project.data.images.read_image`.
            bits: of the images, 8 or 16; see there.

        Raises:
            ConfigError: another mask format.
        """
        if mask_format not in ("bitmask", "polygon"):
            raise ConfigError(
                f"INPUT.MASK_FORMAT: expected auto, bitmask or polygon, found {mask_format!r}"
            )
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.mask_format = mask_format
        self.instances = instances
        self.semantics = semantics
        self.infos = infos
        self.channels = channels
        self.bits = bits

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Arguments of the constructor; INPUT.MASK_FORMAT must be resolved."""
        parts = model_parts(cfg)
        names = cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST
        return {
            "is_train": is_train,
            "augmentations": build_augmentations(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
            "mask_format": cfg.INPUT.MASK_FORMAT,
            "instances": parts.instances,
            "semantics": parts.semantics,
            "infos": {name: dataset_info(name) for name in names},
            "channels": cfg.INPUT.CHANNELS,
            "bits": cfg.INPUT.BITS,
        }

    def __call__(self, record: Record) -> dict[str, Any]:
        """Maps one record, which stays as it is.

        Returns:
            dataset, file_name, image_id, height and width of the record; "image" (C, H, W), of 0 to
            255 in uint8 or float32, see `project.data.images.read_image`; in training as asked for
            "instances" (gt_boxes, gt_classes, and gt_masks unless there are boxes only; crowds and
            what has left the image are not among them) and "sem_seg" (H, W) int64.

        Raises:
            UserError: whatever goes wrong, with data set, file, image id and annotation.
        """
        with errors_of_sample(record):
            return self._map(record)

    def _map(self, record: Record) -> dict[str, Any]:
        info = self.infos[record["dataset"]]
        image = read_pixels(record, info, self.image_format, channels=self.channels, bits=self.bits)
        annotations = record.get("annotations", []) if self.is_train else []
        masks = self._decode(record, annotations)
        semantic = self._semantic(record, annotations, masks)
        data = T.AugInput(image, sem_seg=semantic)
        transforms = self.augmentations(data)
        item: dict[str, Any] = {key: value for key, value in record.items() if key in _KEPT}
        item["image"] = torch.from_numpy(np.ascontiguousarray(data.image.transpose(2, 0, 1)))
        if semantic is not None:
            item["sem_seg"] = torch.from_numpy(data.sem_seg.astype(np.int64))
        if self.is_train and self.instances:
            item["instances"] = self._objects(annotations, masks, transforms, data.image.shape[:2])
        return item

    def _decode(self, record: Record, annotations: Sequence[Annotation]) -> list[np.ndarray]:
        """(H0, W0) bool masks at the image's own size, where they are needed."""
        derived = self.semantics and not has_label_map(record)
        masks: list[np.ndarray] = []
        if derived or (self.instances and self.mask_format == "bitmask"):
            for annotation in annotations:
                with errors_of_annotation(annotation):
                    masks += decode_masks([annotation], record["height"], record["width"])
        return masks

    def _semantic(
        self, record: Record, annotations: Sequence[Annotation], masks: Sequence[np.ndarray]
    ) -> np.ndarray | None:
        """(H0, W0) uint8 semantic truth at the image's own size, where it is wanted."""
        if not (self.is_train and self.semantics):
            return None
        info = self.infos[record["dataset"]]
        if has_label_map(record):
            return read_semantic(record, info)
        shape = (record["height"], record["width"])
        return semantic_from_masks(annotations, masks, shape, info.categories)

    def _objects(
        self,
        annotations: Sequence[Annotation],
        masks: Sequence[np.ndarray],
        transforms: T.TransformList,
        shape: tuple[int, int],
    ) -> Instances:
        taught = [i for i, a in enumerate(annotations) if not a["iscrowd"]]
        chosen = [annotations[i] for i in taught]
        if not all("segmentation" in a for a in chosen):
            return _box_instances(chosen, transforms, shape)
        if self.mask_format == "polygon":
            return _polygon_instances(chosen, transforms, shape)
        return _bitmask_instances(chosen, [masks[i] for i in taught], transforms, shape)


def _instances(
    annotations: Sequence[Annotation], boxes: np.ndarray, shape: tuple[int, int]
) -> tuple[Instances, np.ndarray]:
    """Objects with (N, 4) XYXY boxes, without those of no size; and which of them are kept."""
    kept = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    instances = Instances(shape)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes[kept].astype(np.float32)))
    classes = np.array([a["category_id"] for a in annotations], dtype=np.int64)
    instances.gt_classes = torch.from_numpy(classes[kept])
    return instances, kept


def _bitmask_instances(
    annotations: Sequence[Annotation],
    masks: Sequence[np.ndarray],
    transforms: T.TransformList,
    shape: tuple[int, int],
) -> Instances:
    stack = change_masks(masks, transforms.apply_segmentation, shape)
    boxes = np.zeros((len(masks), 4))
    for index, mask in enumerate(stack):
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        boxes[index] = x, y, x + width, y + height
    instances, kept = _instances(annotations, boxes, shape)
    instances.gt_masks = BitMasks(torch.from_numpy(stack[kept]))
    return instances


def _polygon_instances(
    annotations: Sequence[Annotation], transforms: T.TransformList, shape: tuple[int, int]
) -> Instances:
    outlines = []
    boxes = np.zeros((len(annotations), 4))
    for index, annotation in enumerate(annotations):
        with errors_of_annotation(annotation):
            parts = _visible_parts(annotation, transforms, shape)
        outlines.append([points.ravel() for points, _ in parts])
        if parts:
            corners = np.stack([box for _, box in parts])
            boxes[index] = *corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)
    instances, kept = _instances(annotations, boxes, shape)
    instances.gt_masks = PolygonMasks([outlines[i] for i in kept])
    return instances


def _visible_parts(
    annotation: Annotation, transforms: T.TransformList, shape: tuple[int, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Polygons after the transforms and their boxes, see `visible_part`; none of no pixel.

    Detectron2's crop needs the package shapely for this, and keeps what is outside of others.
    """
    if isinstance(annotation["segmentation"], dict):
        raise DatasetError(
            "its segmentation is no polygon but RLE, which INPUT.MASK_FORMAT 'polygon' cannot hold;"
            " set it to 'auto' or 'bitmask'"
        )
    height, width = shape
    parts = []
    for polygon in annotation["segmentation"]:
        points = transforms.apply_coords(np.asarray(polygon, dtype=np.float64).reshape(-1, 2))
        if not np.isfinite(points).all():  # pycocotools would never come back
            raise DatasetError("its polygon holds numbers that are not finite; export it again")
        part = visible_part(points, width, height)
        if part is not None:
            parts.append(part)
    return parts


def _box_instances(
    annotations: Sequence[Annotation], transforms: T.TransformList, shape: tuple[int, int]
) -> Instances:
    boxes = np.zeros((len(annotations), 4))
    for index, annotation in enumerate(annotations):
        with errors_of_annotation(annotation):
            box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
            boxes[index] = transforms.apply_box(np.array([box]))[0]
    height, width = shape
    boxes = boxes.clip(0, [width, height, width, height])
    return _instances(annotations, boxes, shape)[0]
