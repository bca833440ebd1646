"""Panoptic quality of made scenes: torchmetrics, which must be installed for it, against ours.

Detectron2's own evaluator needs panopticapi, which compares files and not what a model yields.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from project.benchmark.timing import Comparison, Pair, Run
from project.data.categories import Categories
from project.data.labels import Segment
from project.evaluation.panoptic_quality import VOID, count_segments, overlaps, panoptic_scores

NUM_STUFF, NUM_THINGS = 53, 80
_STUFF_SEGMENTS, _OBJECTS = 5, 12
_UNKNOWN = 255  # a class that torchmetrics takes for void
_TOLERANCE = 1e-8
_CATEGORIES = Categories(
    things=tuple(f"thing {n}" for n in range(NUM_THINGS)),
    stuff=tuple(f"stuff {n}" for n in range(NUM_STUFF)),
)


@dataclass(frozen=True)
class Scene:
    """True and predicted segments of one image, 0 where there is none.

    Attributes:
        ids: (H, W) int32, true.
        segments: id -> semantic id, true.
        found: (H, W) int32, predicted.
        found_segments: id -> semantic id, predicted.
    """

    ids: np.ndarray
    segments: dict[int, int]
    found: np.ndarray
    found_segments: dict[int, int]


def pairs() -> Iterator[Pair]:
    """From maps in memory to the scores; nothing where torchmetrics is not installed."""
    if importlib.util.find_spec("torchmetrics"):
        for images, size, goal in ((2, (480, 640), 100), (1, (60, 80), None)):
            name = f"panoptic quality, images: {images}, {size[1]}x{size[0]}"
            yield Pair(name, partial(_build, images, size), goal=goal, against="torchmetrics")


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """What was checked."""
    if not comparisons:
        return "torchmetrics is not installed, so there is nothing to compare with"
    return f"PQ, SQ and RQ of each class agree to {_TOLERANCE:g}"


def _build(images: int, size: tuple[int, int]) -> tuple[Run, Run]:
    rng = np.random.default_rng(0)
    scenes = [_scene(rng, size) for _ in range(images)]
    batch = [
        torch.from_numpy(np.stack([_pairs_of(*of) for of in maps]))
        for maps in (
            [(s.found, s.found_segments) for s in scenes],
            [(s.ids, s.segments) for s in scenes],
        )
    ]
    theirs, ours = partial(_torchmetrics, *batch), partial(_ours, scenes)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # it divides whole numbers, by default to float32
    try:
        check(theirs(), ours())
    finally:
        torch.set_default_dtype(before)
    return theirs, ours


def _torchmetrics(found: Tensor, truth: Tensor) -> np.ndarray:
    """(K, 3) PQ, SQ and RQ of each class, 0 to 1."""
    from torchmetrics.detection import PanopticQuality

    things = set(range(NUM_STUFF, NUM_STUFF + NUM_THINGS))
    metric: Any = PanopticQuality(
        things=things,
        stuffs=set(range(NUM_STUFF)),
        allow_unknown_preds_category=True,
        return_sq_and_rq=True,
        return_per_class=True,
    )
    metric.update(found, truth)
    # Its classes are things first, then stuff.
    return metric.compute().numpy()[
        [*range(NUM_THINGS, NUM_THINGS + NUM_STUFF), *range(NUM_THINGS)]
    ]


def _ours(scenes: Sequence[Scene]) -> dict[str, Any]:
    counts = np.zeros((NUM_STUFF + NUM_THINGS, 4), dtype=np.int64)
    for scene in scenes:
        truth = [
            Segment(id=i, semantic_id=k, isthing=k >= NUM_STUFF, iscrowd=0, area=0)
            for i, k in scene.segments.items()
        ]
        overlap = overlaps(scene.ids, scene.found)
        counts += count_segments(overlap, truth, scene.found_segments, len(counts))
    return panoptic_scores(counts, _CATEGORIES)


def check(expected: np.ndarray, found: dict[str, Any]) -> None:
    """Compares the scores of each class.

    Args:
        expected: (K, 3) PQ, SQ and RQ, 0 to 1.
        found: our scores.

    Raises:
        AssertionError: they are trivial, or one differs.
    """
    assert 20 < found["PQ"] < 95, f"PQ {found['PQ']} proves nothing"
    for name, theirs in zip(_CATEGORIES.semantic, expected.tolist()):
        of = found["per_class"][name]
        for metric, value in zip(("PQ", "SQ", "RQ"), theirs):
            ours = (of[metric] or 0.0) / 100  # theirs are 0, or NaN, where nothing was there
            value = value if value == value else 0.0
            same = abs(value - ours) <= _TOLERANCE
            assert same, f"{metric} of {name}: {value} by torchmetrics, {ours} by ours"


def _scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Stuff in bands, objects before it; the prediction moves, misses, invents and mistakes."""
    stuff = rng.permutation(NUM_STUFF)[:_STUFF_SEGMENTS]
    edges = np.sort(rng.integers(0, size[0], _STUFF_SEGMENTS - 1))
    objects = rng.random((_OBJECTS, 4)) * [size[1], size[0], size[1] / 6, size[0] / 6]
    classes = rng.integers(0, NUM_THINGS, _OBJECTS) + NUM_STUFF
    ids, segments = _drawn(size, stuff, edges, objects, classes)
    void = _painted(np.zeros(size, np.uint8), rng.random(4) * [*size[::-1], 60, 60], 1) > 0
    ids[void] = VOID
    moved = objects + rng.normal(0, size[0] / 100, objects.shape)
    others = np.where(rng.random(_OBJECTS) < 0.1, classes[::-1], classes)
    kept = rng.random(_OBJECTS) < 0.9
    moved_edges = np.clip(edges + rng.integers(-9, 9, len(edges)), 0, size[0])
    found, found_segments = _drawn(size, stuff, np.sort(moved_edges), moved[kept], others[kept])
    present = np.unique(ids)
    return Scene(ids, {i: k for i, k in segments.items() if i in present}, found, found_segments)


def _drawn(
    size: tuple[int, int],
    stuff: np.ndarray,
    edges: np.ndarray,
    objects: np.ndarray,
    classes: np.ndarray,
) -> tuple[np.ndarray, dict[int, int]]:
    rows = np.searchsorted(edges, np.arange(size[0]), side="right") + 1
    ids = np.repeat(rows.astype(np.int32)[:, None], size[1], axis=1)
    for number, shape in enumerate(objects, start=len(stuff) + 1):
        ids = _painted(ids, shape, number)
    segments = dict(enumerate([*stuff.tolist(), *classes.tolist()], start=1))
    present = set(np.unique(ids).tolist())
    return ids, {i: k for i, k in segments.items() if i in present}


def _painted(ids: np.ndarray, shape: np.ndarray, number: int) -> np.ndarray:
    x, y, width, height = np.maximum(shape, 3).round().astype(int).tolist()
    return cv2.ellipse(ids, (x, y), (width, height), 0, 0, 360, number, -1)


def _pairs_of(ids: np.ndarray, segments: dict[int, int]) -> np.ndarray:
    """(H, W, 2) semantic and instance ids, as torchmetrics takes them."""
    table = np.full(max(segments) + 1, _UNKNOWN)
    table[list(segments)] = list(segments.values())
    return np.stack([table[ids], ids], axis=-1)
