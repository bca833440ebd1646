"""COCO's scores from a model's outputs: stock's evaluator, and faster-coco-eval, against ours."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from detectron2.evaluation import COCOEvaluator

from project.benchmark.coco_scenes import CocoScenes
from project.benchmark.quiet import quietly
from project.benchmark.timing import Comparison, Pair, Run
from project.evaluation.instance import InstanceEvaluator

IMAGES, DETECTIONS = 600, 75
_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_TASKS = ("bbox", "segm")
_TOLERANCE = 1e-9

Score = Callable[[CocoScenes], dict[str, Any]]


def pairs() -> Iterator[Pair]:
    """The whole way, then what only explains it."""
    whole = f"COCO scores of {IMAGES} images, {IMAGES * DETECTIONS:,} detections"
    yield Pair(f"{whole}, boxes and masks", partial(_build, stock_scores, IMAGES), goal=6)
    yield Pair(f"{whole}, stock writes no files", partial(_build, _unwritten, IMAGES))
    faster = "faster-coco-eval in our evaluator"
    yield Pair(f"{whole}, streamed", partial(_build, _faster, IMAGES), against=faster)
    yield Pair("COCO scores of 8 images", partial(_build, stock_scores, 8))


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """What was checked."""
    return (
        f"AP, AP50, AP75, APs, APm, APl and each class's AP of the {len(comparisons)} comparisons"
        f" agree to {_TOLERANCE:g}"
    )


def our_scores(scenes: CocoScenes, **settings: Any) -> dict[str, Any]:
    """Scores by our evaluator, as a run has it."""
    return _scored(InstanceEvaluator(scenes.ours, **settings), scenes)


def stock_scores(scenes: CocoScenes) -> dict[str, Any]:
    """Scores by Detectron2's evaluator, as its `tools/train_net.py` has it."""
    return _stock(scenes, str(scenes.folder / "inference"))


def _unwritten(scenes: CocoScenes) -> dict[str, Any]:
    return _stock(scenes, None)


def _stock(scenes: CocoScenes, folder: str | None) -> dict[str, Any]:
    with quietly():
        scores = _scored(COCOEvaluator(scenes.stock, output_dir=folder), scenes)
    return {task: _in_our_form(scores[task]) for task in _TASKS}


def _faster(scenes: CocoScenes) -> dict[str, Any]:
    return our_scores(scenes, backend="faster-coco-eval")


def _scored(evaluator: Any, scenes: CocoScenes) -> dict[str, Any]:
    evaluator.reset()
    for inputs, outputs in scenes.outputs():
        evaluator.process(inputs, outputs)
    return evaluator.evaluate()


def _in_our_form(scores: dict[str, float]) -> dict[str, Any]:
    classes = {name[3:]: {"AP": ap} for name, ap in scores.items() if name.startswith("AP-")}
    return {**scores, "per_class": classes}


def _build(theirs: Score, images: int) -> tuple[Run, Run]:
    scenes = CocoScenes(images, DETECTIONS)
    check(theirs(scenes), our_scores(scenes))
    return partial(theirs, scenes), partial(our_scores, scenes)


def check(expected: dict[str, Any], found: dict[str, Any]) -> None:
    """Compares the scores.

    Raises:
        AssertionError: one of them is trivial, or differs.
    """
    for task in _TASKS:
        assert 5 < expected[task]["AP"] < 95, f"{task} AP {expected[task]['AP']} proves nothing"
        numbers = {m: (expected[task][m], found[task][m]) for m in _METRICS}
        for name, of in expected[task]["per_class"].items():
            numbers[name] = of["AP"], found[task]["per_class"][name]["AP"]
        for name, (theirs, ours) in numbers.items():
            absent = ours is None and theirs != theirs  # stock says NaN
            same = absent or (ours is not None and abs(theirs - ours) <= _TOLERANCE)
            assert same, f"{task} {name}: {theirs} by the other side, {ours} by ours"
