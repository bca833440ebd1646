"""Memory and time of a whole prediction of one large image in tiles: read, predicted, written."""

import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.modeling import build_model

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.config import load_config
from project.data.categories import Categories
from project.errors import ConfigError
from project.inference.predictor import Predictor
from project.inference.writer import PredictionWriter

CONFIGS = ("configs/unet/unet_small.yaml", "configs/mask_unet/mask_unet_small.yaml")
_REPOSITORY = Path(__file__).resolve().parents[2]
_THINGS, _STUFF = tuple("0123456789"), ("background",)


@dataclass(frozen=True)
class TilingCost:
    """What one image took.

    Attributes:
        config: of the model, whose weights are random.
        side: of the image, pixels.
        tile: side of a tile.
        overlap: of tiles.
        predict_seconds: from pixels to the output of the whole image.
        total_seconds: with reading and writing.
        peak_mb: largest resident memory of the process, all libraries included.
        objects: instances that were found.
    """

    config: str
    side: int
    tile: int
    overlap: int
    predict_seconds: float
    total_seconds: float
    peak_mb: float
    objects: int

    def __str__(self) -> str:
        return (
            f"{self.config}: {self.side} x {self.side} in tiles of {self.tile} with an overlap of"
            f" {self.overlap}: peak {self.peak_mb:.0f} MB, {self.predict_seconds:.0f} s, with"
            f" reading and writing {self.total_seconds:.0f} s; {self.objects} objects"
        )


def measure_all(
    side: int, tile: int, overlap: int, threads: int, only: str
) -> Iterator[TilingCost]:
    """Measures the small U-Net and the joint model, each in a process of its own.

    Args:
        side: of the square image, pixels.
        tile: side of a tile.
        overlap: of tiles.
        threads: of torch.
        only: configs whose path holds it.

    Raises:
        ConfigError: tiles that do not go on, or an image that is one tile.
    """
    if not overlap < tile < side:
        raise ConfigError(
            f"--side {side} --tile {tile} --overlap {overlap}: a tile must be smaller than the"
            " image and larger than its overlap"
        )
    for config in CONFIGS:
        if only in config:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                yield pool.submit(measure, config, side, tile, overlap, threads).result()


def measure(config: str, side: int, tile: int, overlap: int, threads: int) -> TilingCost:
    """Measures one model in this process, whose memory must be fresh."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.jpg"
        cv2.imwrite(str(source), _picture(side))
        start = time.perf_counter()
        predictor = _predictor(config, side, tile, overlap)
        image = predictor.read(source)
        begin = time.perf_counter()
        output = predictor(image, "RGB")
        predicted = time.perf_counter() - begin
        writer = PredictionWriter(Path(folder) / "out", Categories(_THINGS, _STUFF))
        writer.add("large", 1, image, output)
        writer.close()
        total = time.perf_counter() - start
    # Kilobytes on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    objects = len(output["instances"]) if "instances" in output else 0
    return TilingCost(config, side, tile, overlap, predicted, total, peak, objects)


def _predictor(config: str, side: int, tile: int, overlap: int) -> Predictor:
    cfg = load_config(_REPOSITORY / config)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(_THINGS)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(_STUFF) + len(_THINGS)
    cfg.INPUT.MIN_SIZE_TEST = 0
    cfg.TEST.TILE.SIZE, cfg.TEST.TILE.OVERLAP = tile, overlap
    torch.manual_seed(0)
    predictor = Predictor(cfg, model=build_model(cfg))
    predictor.max_pixels = side**2
    return predictor


def _picture(side: int) -> np.ndarray:
    """(side, side, 3) uint8: smooth colours, in which a network of random weights finds much."""
    coarse = np.random.default_rng(0).integers(0, 256, (side // 40, side // 40, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
