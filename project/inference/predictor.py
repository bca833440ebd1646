"""A trained model as a function of one image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.evaluation import inference_context
from detectron2.modeling import build_model
from torch import nn

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.data.augment import build_augmentations
from project.data.images import read_image
from project.data.records import Record
from project.data.register import dataset_info, find_dataset
from project.data.spec import DEFAULT_MAX_PIXELS
from project.data.transforms.channels import planar
from project.data.transforms.fused import Augmenter
from project.engine.checkpoint import class_names, load_weights
from project.errors import ConfigError
from project.modeling.testing import build_test_model


class Predictor:
    """Predicts one image at a time, exactly as the test loader and the evaluation do.

    `Predictor(cfg, weights)` builds and loads a model, `Predictor(cfg, model=model)` takes one.

    Attributes:
        model: of the config, without what TEST.TILE and TEST.AUG put around it.
    """

    @configurable
    def __init__(
        self,
        *,
        model: nn.Module,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
        channels: int = 3,
        bits: int = 8,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        tested: nn.Module | None = None,
        exact: bool = False,
    ) -> None:
        """Keeps what it is given.

        Args:
            model: any Detectron2 architecture.
            augmentations: applied to each image; those of the test loader.
            image_format: "BGR" or "RGB", what the model was trained on.
            channels: of the images that it was trained on, C.
            bits: likewise; for `read`.
            max_pixels: of an image that is no data set's, for `read`.
            tested: what predicts, see `build_test_model`; the model itself where it is None.
            exact: see `project.data.transforms.fused.Augmenter`.
        """
        self.model = model
        self.max_pixels = max_pixels
        self._tested = model if tested is None else tested
        self.augmentations = Augmenter(augmentations, exact=exact)
        self.image_format = image_format
        self.channels = channels
        self.bits = bits

    @classmethod
    def from_config(
        cls, cfg: CfgNode, weights: str | Path | None = None, *, model: nn.Module | None = None
    ) -> dict[str, Any]:
        """Arguments of the constructor.

        Args:
            cfg: complete, see `project.engine.setup.prepare_config`.
            weights: a file; MODEL.WEIGHTS where it is None.
            model: takes the place of a new one with weights.
        """
        if model is None:
            model = build_model(cfg)
            load_weights(model, str(weights or cfg.MODEL.WEIGHTS), class_names(cfg))
        names = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
        limits = [find_dataset(name)[0].max_pixels for name in names]
        return {
            "model": model,
            "tested": build_test_model(cfg, model),
            "max_pixels": max(limits, default=DEFAULT_MAX_PIXELS),
            "augmentations": build_augmentations(cfg, is_train=False),
            "image_format": cfg.INPUT.FORMAT,
            "channels": cfg.INPUT.CHANNELS,
            "bits": cfg.INPUT.BITS,
            "exact": cfg.EXACT,
        }

    def read(self, path: str | Path, record: Record | None = None) -> np.ndarray:
        """Reads an image as the training did, for `__call__` with "RGB".

        Args:
            path: of the image.
            record: of a registered data set, if the image is that record's: then its EXIF
                orientation counts as it does there, and otherwise always.

        Returns:
            (H, W, C) of 0 to 255, uint8 or float32.

        Raises:
            DatasetError: see `project.data.images.read_image`.
        """
        if record is None:
            return read_image(
                path,
                "RGB",
                max_pixels=self.max_pixels,
                channels=self.channels,
                bits=self.bits,
            )
        spec = dataset_info(record["dataset"]).spec
        return read_image(
            path,
            "RGB",
            exif=spec.exif,
            stated=(record["height"], record["width"]),
            max_pixels=spec.max_pixels,
            channels=self.channels,
            bits=self.bits,
        )

    def __call__(self, image: np.ndarray, image_format: str = "BGR") -> dict[str, Any]:
        """Predicts one image.

        Args:
            image: (H, W, C) of 0 to 255, uint8 or float32.
            image_format: "BGR" or "RGB", the order of three channels.

        Returns:
            What the model yields, on the CPU and at the image's own size: "instances", "sem_seg"
            (K, H, W), "panoptic_seg" ((H, W) ids, segments); of an image that is seen in tiles in
            the form of `TiledModel`.

        Raises:
            ConfigError: an unknown format, or other channels than the model takes.
        """
        if image_format not in ("BGR", "RGB"):
            raise ConfigError(f"image_format: expected 'BGR' or 'RGB', found {image_format!r}")
        if image.ndim != 3 or image.shape[2] != self.channels:
            raise ConfigError(
                f"the image has the shape {image.shape}; expected (height, width,"
                f" {self.channels}), as INPUT.CHANNELS says; give `Predictor.read` its path"
            )
        if self.channels == 3 and image_format != self.image_format:
            image = image[:, :, ::-1]
        pixels = torch.from_numpy(planar(self.augmentations(image)[0]))
        height, width = image.shape[:2]
        with inference_context(self._tested), torch.no_grad():
            output = self._tested([{"image": pixels, "height": height, "width": width}])[0]
        return {key: _to_cpu(value) for key, value in output.items()}


def _to_cpu(value: Any) -> Any:
    """A tensor, Instances, or panoptic (ids, segments), on the CPU."""
    if isinstance(value, tuple):
        return (value[0].cpu(), *value[1:])
    return value.to("cpu")
