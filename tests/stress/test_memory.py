"""Memory does not grow with the images that are scored, nor with the iterations of a training."""

import ctypes
import gc
import os
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.structures import BoxMode

import factories
from forked_training import finish, printed, start
from project.data.categories import Categories
from project.data.label_maps import LabelEncoding
from project.data.labels import write_label_map
from project.engine.trainer import Trainer
from project.evaluation import base
from project.evaluation.detections import ImageDetections
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.semantic import SemanticEvaluator

SIZE = (480, 640)
OBJECTS, CLASSES = 100, 20
SCENES = 10  # that the images of a data set share
MANY, WARM = 10_000, 500
LIMIT = 200e6  # bytes

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


def ellipses(rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
    """(N, 4) centre and radii; near `like`, or anywhere."""
    if like is not None:
        return np.maximum(like + rng.normal(0, 3, like.shape), 3)
    centres = rng.uniform(0.02, 0.98, (OBJECTS, 2)) * SIZE[::-1]
    return np.concatenate([centres, 2 ** rng.uniform(3, 6.5, (OBJECTS, 2))], axis=1)


def encode(shapes: np.ndarray) -> list[dict[str, Any]]:
    masks = np.zeros((*SIZE, len(shapes)), dtype=np.uint8, order="F")
    for number, (x, y, width, height) in enumerate(shapes.round().astype(int).tolist()):
        pixels = np.zeros(SIZE, dtype=np.uint8)
        masks[..., number] = cv2.ellipse(pixels, (x, y), (width, height), 0, 0, 360, 1, -1)
    return mask_util.encode(masks)


@dataclass
class Scene:
    """What several images show, and what is found there."""

    annotations: list[dict[str, Any]]
    masks: list[bytes]
    boxes: np.ndarray
    classes: np.ndarray


def make_scene(rng: np.random.Generator) -> Scene:
    true = ellipses(rng)
    classes = rng.integers(0, CLASSES, OBJECTS)
    annotations = [
        {
            "bbox": mask_util.toBbox(rle).tolist(),
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": int(thing),
            "segmentation": rle,
            "iscrowd": 0,
        }
        for rle, thing in zip(encode(true), classes)
    ]
    found = encode(ellipses(rng, true))
    wrong = rng.random(OBJECTS) < 0.1
    return Scene(
        annotations,
        [rle["counts"] for rle in found],
        mask_util.toBbox(found).astype(np.float64),
        np.where(wrong, rng.integers(0, CLASSES, OBJECTS), classes),
    )


def registered_in_memory(monkeypatch, records: list[dict[str, Any]]) -> None:
    """Makes every data set's name stand for these records."""
    things = tuple(f"class {n}" for n in range(CLASSES))
    categories = Categories(things=things, stuff=("background",))
    meaning = {number: number for number in range(CLASSES + 1)}
    encoding = LabelEncoding(False, meaning, categories.semantic, "here", False)
    info = SimpleNamespace(name="many", categories=categories, encoding=encoding)
    monkeypatch.setattr(base, "dataset_info", lambda name: info)
    monkeypatch.setattr(base, "dataset_records", lambda name: records)


def score_instances(monkeypatch, images: int, **settings: Any) -> Iterator[InstanceEvaluator]:
    """Yields the evaluator after each image."""
    rng = np.random.default_rng(0)
    scenes = [make_scene(rng) for _ in range(SCENES)]
    size = {"height": SIZE[0], "width": SIZE[1]}
    records = [
        {"image_id": n, "file_name": "", "annotations": scenes[n % SCENES].annotations, **size}
        for n in range(images)
    ]
    registered_in_memory(monkeypatch, records)
    evaluator = InstanceEvaluator("many", **settings)
    for record in records:
        scene = scenes[record["image_id"] % SCENES]
        # Copies, as every image has masks of its own.
        masks = [bytes(bytearray(counts)) for counts in scene.masks]
        found = ImageDetections(
            SIZE, scene.boxes.copy(), rng.random(OBJECTS).round(3), scene.classes.copy(), masks
        )
        evaluator.add(record["image_id"], found, "")
        yield evaluator


def score_semantics(monkeypatch, folder: Path, images: int) -> Iterator[SemanticEvaluator]:
    """Yields the evaluator after each image; label maps with speckle."""
    rng = np.random.default_rng(0)
    maps = []
    for n in range(SCENES):
        coarse = rng.integers(0, CLASSES + 1, (SIZE[0] // 40, SIZE[1] // 40), dtype=np.uint8)
        maps.append(coarse.repeat(40, axis=0).repeat(40, axis=1))
        write_label_map(folder / f"{n}.png", maps[-1])
    records = [
        {
            "image_id": n,
            "file_name": "",
            "sem_seg_file_name": str(folder / f"{n % SCENES}.png"),
            "height": SIZE[0],
            "width": SIZE[1],
        }
        for n in range(images)
    ]
    registered_in_memory(monkeypatch, records)
    evaluator = SemanticEvaluator("many")
    for record in records:
        speckled = maps[record["image_id"] % SCENES].copy()
        speckled[rng.random(SIZE) < 0.05] = 3
        evaluator.process([record], [{"sem_seg": torch.from_numpy(speckled)}])
        yield evaluator


def resident() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def start_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most bytes since `start_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def assert_flat(steps: Iterator[Any], images: int) -> dict[str, Any]:
    """Scores all images; memory may grow by `LIMIT` after the first ones. Gives the scores."""
    began = time.perf_counter()
    for _ in range(WARM):
        next(steps)
    gc.collect()
    # What earlier tests have left free would hide what this one takes.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident()
    start_peak()
    (evaluator,) = deque(steps, maxlen=1)
    grown = resident() - before
    scores = evaluator.evaluate()
    print(
        f"{type(evaluator).__name__}, {images} images: {grown / 1e6:.0f} MB more after them,"
        f" {(peak() - before) / 1e6:.0f} MB at most, {time.perf_counter() - began:.0f} s"
    )
    assert peak() - before < LIMIT
    return scores


@pytest.mark.slow
def test_instances_of_10_000_images(monkeypatch):
    scores = assert_flat(score_instances(monkeypatch, MANY), MANY)
    assert 20 < scores["segm"]["AP"] < 90 and 20 < scores["bbox"]["AP"] < 90


@pytest.mark.slow
def test_label_maps_of_10_000_images(monkeypatch, tmp_path):
    scores = assert_flat(score_semantics(monkeypatch, tmp_path, MANY), MANY)
    assert 50 < scores["sem_seg"]["mIoU"] < 99


@pytest.mark.parametrize("images", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_scores_are_pycocotools(monkeypatch, images):
    *_, streamed = score_instances(monkeypatch, images)
    *_, library = score_instances(monkeypatch, images, backend="pycocotools")
    found, expected = streamed.evaluate(), library.evaluate()
    for task in ("bbox", "segm"):
        assert 20 < expected[task]["AP"] < 90
        found_classes, classes = (scores[task].pop("per_class") for scores in (found, expected))
        for name, of in classes.items():
            assert found_classes[name] == pytest.approx(of, abs=1e-9)
        assert found[task].pop("confusion", None) == expected[task].pop("confusion", None)
        assert found[task] == pytest.approx(expected[task], abs=1e-9)


@pytest.mark.parametrize("task", ["instances", "semantics"])
def test_what_is_kept_of_an_image(monkeypatch, tmp_path, task):
    """By Python's own count, with fewer images than memory could be measured by."""
    first, images = 5, 25
    steps = {
        "instances": lambda: score_instances(monkeypatch, images),
        "semantics": lambda: score_semantics(monkeypatch, tmp_path, images),
    }[task]()
    for _ in range(first):
        next(steps)
    tracemalloc.start()
    try:
        next(steps)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(images - first - 1):
            next(steps)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    of_image = (after - before) / (images - first - 1)
    assert of_image * MANY < LIMIT / 2, "the other half is for the end"


@dataclass(frozen=True)
class NoteMemory:
    """Notes what the process has in memory every 100 iterations."""

    notes: Path

    def __call__(self) -> None:
        """Called in the process that trains."""
        before_step = Trainer.before_step

        def watched(trainer: Trainer) -> None:
            if trainer.iter % 100 == 0:
                gc.collect()
                with open(self.notes, "a") as file:
                    file.write(f"{resident()}\n")
            before_step(trainer)

        Trainer.before_step = watched


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_training_is_flat_over_1000_iterations(tmp_path, workers):
    """Of the kernels that oneDNN keeps, by their shapes, up to 1,024 come first.

    That makes 120 MB here, and 60 MB with ONEDNN_PRIMITIVE_CACHE_CAPACITY 100.
    """
    spec = factories.make_coco(tmp_path / "data", num_images=5)
    words = ["SOLVER.MAX_ITER", "4101", "SOLVER.CHECKPOINT_PERIOD", "200", "TEST.EVAL_PERIOD", "0"]
    words += ["SOLVER.CHECKPOINTS_KEPT", "2", "TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"]
    words += ["DATALOADER.NUM_WORKERS", workers, "SOLVER.LOG_PERIOD", "20"]
    processes = start(spec, tmp_path / "run", *words, sabotage=NoteMemory(tmp_path / "notes"))
    assert finish(processes, timeout=6000) == [0], printed(tmp_path / "run")
    sizes = np.array([int(line) for line in (tmp_path / "notes").read_text().split()]) / 1e6
    assert len(sizes) == 42
    slope = np.polyfit(np.arange(11), sizes[-11:], 1)[0] * 10
    print(f"{workers} workers: {sizes.round(1).tolist()} MB, {slope:.2f} MB in 1000 iterations")
    assert slope < 2
