"""From a record to what a model eats: pixels, objects and semantic labels, changed alike.

N objects, H x W pixels of the image as it is fed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import Instances

from project.data.architectures import model_parts
from project.data.augment import build_augmentations
from project.data.labels import (
    decode_masks,
    has_label_map,
    read_semantic,
    semantic_from_masks,
)
from project.data.objects import (
    annotated_boxes,
    box_instances,
    filled_instances,
    mask_instances,
    polygon_instances,
)
from project.data.pixels import errors_of_annotation, errors_of_sample, read_pixels
from project.data.records import Annotation, Record
from project.data.register import DatasetInfo, dataset_info
from project.data.transforms.channels import planar
from project.data.transforms.fused import Augmenter
from project.data.transforms.shapes import keep_lines
from project.errors import ConfigError

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
        exact: bool = False,
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
            exact: pixels, boxes and masks are to the last digit those of Detectron2's mapper.

        Raises:
            ConfigError: another mask format.
        """
        if mask_format not in ("bitmask", "polygon"):
            raise ConfigError(
                f"INPUT.MASK_FORMAT: expected auto, bitmask or polygon, found {mask_format!r}"
            )
        self.is_train = is_train
        self.augmentations = Augmenter(augmentations, exact=exact)
        self.image_format = image_format
        self.mask_format = mask_format
        self.instances = instances
        self.semantics = semantics
        self.infos = infos
        self.channels = channels
        self.bits = bits
        self.exact = exact

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
            "exact": cfg.EXACT,
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
        masks = self._decode(record, annotations) if self._derives(record) else None
        semantic = self._semantic(record, annotations, masks)
        image, semantic, transforms = self.augmentations(image, semantic)
        item: dict[str, Any] = {key: value for key, value in record.items() if key in _KEPT}
        item["image"] = torch.from_numpy(planar(image))
        if semantic is not None:
            item["sem_seg"] = torch.from_numpy(semantic.astype(np.int64))
        if self.is_train and self.instances:
            item["instances"] = self._objects(record, masks, transforms, image.shape[:2])
        return item

    def _derives(self, record: Record) -> bool:
        """Whether the semantic truth comes from the objects."""
        return self.is_train and self.semantics and not has_label_map(record)

    def _decode(self, record: Record, annotations: Sequence[Annotation]) -> list[np.ndarray]:
        """(H0, W0) bool masks at the image's own size."""
        masks: list[np.ndarray] = []
        for annotation in annotations:
            with errors_of_annotation(annotation):
                masks += decode_masks([annotation], record["height"], record["width"])
        return masks

    def _semantic(
        self,
        record: Record,
        annotations: Sequence[Annotation],
        masks: Sequence[np.ndarray] | None,
    ) -> np.ndarray | None:
        """(H0, W0) uint8 semantic truth at the image's own size, where it is wanted."""
        if not (self.is_train and self.semantics):
            return None
        info = self.infos[record["dataset"]]
        if masks is None:
            return read_semantic(record, info)
        shape = (record["height"], record["width"])
        return semantic_from_masks(annotations, masks, shape, info.categories)

    def _objects(
        self,
        record: Record,
        masks: Sequence[np.ndarray] | None,
        transforms: T.TransformList,
        shape: tuple[int, int],
    ) -> Instances:
        annotations = record.get("annotations", [])
        taught = [i for i, a in enumerate(annotations) if not a["iscrowd"]]
        chosen = [annotations[i] for i in taught]
        if not all("segmentation" in a for a in chosen):
            return box_instances(chosen, transforms, shape)
        boxes = annotated_boxes(chosen, transforms, shape) if self.exact else None
        if self.mask_format == "polygon":
            return polygon_instances(chosen, transforms, shape, boxes)
        # Beside semantic truth, objects are changed as it is, so that both agree on every pixel.
        fills = self.exact or not self.semantics
        if fills and _are_outlines(chosen) and keep_lines(transforms):
            stated = record["height"], record["width"]
            return filled_instances(chosen, stated, transforms, shape, boxes)
        decoded = self._decode(record, chosen) if masks is None else [masks[i] for i in taught]
        return mask_instances(chosen, decoded, transforms, shape, boxes)


def _are_outlines(annotations: Sequence[Annotation]) -> bool:
    return all(isinstance(a["segmentation"], list) for a in annotations)
