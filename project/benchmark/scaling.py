"""How training, loading and scoring grow with what there is to do; not compared with anything.

Each sweep measures all its points in turns, round after round, so that a machine that slows down
slows all of them; the figures are medians.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine.defaults import create_ddp_model
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.benchmark.coco_scenes import CocoScenes
from project.benchmark.made_batches import CLASSES, training_batch, write_images
from project.config import load_config
from project.data.register import register_dataset, unregister_dataset
from project.engine.launch import launch
from project.engine.loader import build_train_loader
from project.engine.optim import build_gradient_clipper, build_optimizer
from project.engine.step import TrainStep
from project.evaluation.instance import InstanceEvaluator
from project.modeling.precision import amp_dtype
from project.modeling.quick import quicken

_REPOSITORY = Path(__file__).resolve().parents[2]
_CONFIG = _REPOSITORY / "configs" / "double_digits" / "mask_unet_demo.yaml"
_STEPS = 4  # of a point and round

Run = Callable[[], float]


@dataclass(frozen=True)
class Sweep:
    """One line of one plot.

    Attributes:
        name: of the plot.
        x: what grows.
        y: what is measured, with its unit.
        values: of x.
        build: makes, of a value, what measures once.
        power: of x that y would grow with if nothing were in the way.
    """

    name: str
    x: str
    y: str
    values: tuple[int, ...]
    build: Callable[[int], Run]
    power: int


@dataclass(frozen=True)
class Line:
    """What a sweep gave: y for each x."""

    sweep: Sweep
    points: dict[int, float]

    def __str__(self) -> str:
        figures = ", ".join(f"{x}: {y:.3g}" for x, y in self.points.items())
        return f"{self.sweep.name}; {self.sweep.y} by {self.sweep.x}: {figures}"


def sweeps() -> tuple[Sweep, ...]:
    """All there are; the cheapest first."""
    rate, step = "images a second", "milliseconds of a step"
    return (
        Sweep("Scoring", "objects found in an image", "ms an image", (5, 20, 80), _scoring, 1),
        Sweep("Scoring", "images", "ms an image", (50, 200, 800), _scored_images, 0),
        Sweep("Loading", "objects in an image", "ms an image", (1, 8, 32, 128), _objects, 1),
        Sweep("Loading", "workers", rate, (0, 1, 2, 4), _workers, 1),
        Sweep("Training", "images in a batch", rate, (1, 2, 4, 8, 16, 32), _batch, 0),
        Sweep("Training", "pixels of a side", step, (64, 128, 256, 512), _side, 2),
        Sweep("Training", "objects in an image", step, (1, 4, 16, 64), _crowd, 0),
        Sweep("Training", "ranks of one thread each", rate, (1, 2), _ranks, 1),
    )


def measure(sweep: Sweep, rounds: int) -> Line:
    """Measures all points of a sweep in turns.

    Args:
        sweep: which.
        rounds: of all points, after one that does not count.
    """
    runs = {value: sweep.build(value) for value in sweep.values}
    for run in runs.values():
        run()
    found = [{value: run() for value, run in runs.items()} for _ in range(rounds)]
    return Line(sweep, {value: median(one[value] for one in found) for value in runs})


def _batch(images: int) -> Run:
    step = _training(training_batch(images, 64, 2))
    return lambda: images / step()


def _side(side: int) -> Run:
    step = _training(training_batch(4, side, 2))
    return lambda: 1e3 * step()


def _crowd(objects: int) -> Run:
    step = _training(training_batch(8, 64, objects))
    return lambda: 1e3 * step()


def _ranks(ranks: int) -> Run:
    """Each rank has 8 images."""

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seconds"
            words = argparse.Namespace(
                num_gpus=ranks, num_machines=1, machine_rank=0, dist_url="auto"
            )
            launch(_rank, words, (str(path),), device="cpu")
            return 8 * ranks / float(path.read_text())

    return run


def _rank(path: str) -> None:
    torch.set_num_threads(1)
    step = _training(training_batch(8, 64, 2, seed=comm.get_rank()))
    step()
    seconds = step()
    if comm.is_main_process():
        Path(path).write_text(str(seconds), encoding="utf-8")


def _training(batch: list[dict[str, Any]]) -> Run:
    """Seconds of a step of the demo's model on one batch, over and over."""
    cfg = _demo()
    torch.manual_seed(0)
    model = build_model(cfg).train()
    quicken(cfg, model)
    optimizer = build_optimizer(cfg, model)
    step = TrainStep(
        create_ddp_model(model, broadcast_buffers=False, device_ids=None),
        iter(lambda: batch, None),
        optimizer,
        device="cpu",
        dtype=amp_dtype(cfg),
        clip=build_gradient_clipper(cfg),
    )
    step.iter = 0

    def run() -> float:
        with EventStorage():
            begin = time.perf_counter()
            for _ in range(_STEPS):
                step.run_step()
            return (time.perf_counter() - begin) / _STEPS

    return run


def _demo() -> CfgNode:
    cfg = load_config(_CONFIG)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = CLASSES
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 1 + CLASSES
    return cfg


def _objects(objects: int) -> Run:
    run = _loading(objects, 0)
    return lambda: 1e3 / run()


def _workers(workers: int) -> Run:
    return _loading(8, workers)


def _loading(objects: int, workers: int) -> Run:
    """Images a second, batch by batch, of JPEGs of 640 x 480."""

    def run() -> float:
        with _registered(objects) as name:
            cfg = _demo()
            cfg.DATASETS.TRAIN = (name,)
            cfg.INPUT.MASK_FORMAT = "polygon"
            cfg.INPUT.MIN_SIZE_TRAIN = (480,)
            cfg.MODEL.MASK_UNET.SEMANTICS = False
            cfg.DATALOADER.NUM_WORKERS = workers
            batches = iter(build_train_loader(cfg, seed=0))
            next(batches)  # workers start
            begin = time.perf_counter()
            count = sum(len(batch) for batch in islice(batches, 2 * _STEPS))
            return count / (time.perf_counter() - begin)

    return run


@contextmanager
def _registered(objects: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        (name,) = register_dataset(**write_images(Path(folder), 32, objects))
        try:
            yield name
        finally:
            unregister_dataset(name)


def _scoring(detections: int) -> Run:
    return _scored(CocoScenes(50, detections))


def _scored_images(images: int) -> Run:
    return _scored(CocoScenes(images, 20))


def _scored(scenes: CocoScenes) -> Run:
    """Milliseconds an image, from a model's outputs to scores."""

    def run() -> float:
        evaluator = InstanceEvaluator(scenes.ours)
        begin = time.perf_counter()
        evaluator.reset()
        for inputs, outputs in scenes.outputs():
            evaluator.process(inputs, outputs)
        evaluator.evaluate()
        return 1e3 * (time.perf_counter() - begin) / scenes.images

    return run


def measure_all(rounds: int, only: str) -> Iterator[Line]:
    """Measures every sweep whose name and x hold `only`.

    Args:
        rounds: see `measure`.
        only: text.
    """
    for sweep in sweeps():
        if only in f"{sweep.name} {sweep.x}":
            yield measure(sweep, rounds)
