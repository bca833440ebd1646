"""How the memory of an evaluator grows with the images: stock's against ours.

Each side scores the same masks in a process of its own, so that neither finds memory which the
other has left. The figure is the growth of the peak after the first images, the end included.
"""

import gc
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from project.benchmark.timing import Comparison, Pair, Run

DETECTIONS = 100
_GOAL = 19.5  # 200 MB in 10,000 images, where stock takes 3,900 MB
_ROOT = Path(__file__).resolve().parents[2]


def pairs() -> Iterator[Pair]:
    """500 images are enough to see the slope; 10,000 are scored by `make stress`."""
    for images, warm, goal in ((500, 100, _GOAL), (60, 30, None)):
        yield Pair(
            f"growth of an evaluator in {images:,} images, {DETECTIONS} masks each",
            partial(_build, images, warm),
            goal=goal,
            unit="MB",
        )


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """How it was measured."""
    return f"each side of the {len(comparisons)} comparisons ran once: all rounds say the same"


def growth(side: str, images: int, warm: int) -> float:
    """Scores in this process.

    Args:
        side: "stock" or "ours".
        images: how many.
        warm: after which the growth is measured, less than `images`.

    Returns:
        MB (10**6 bytes).
    """
    from detectron2.evaluation import COCOEvaluator, DatasetEvaluator

    from project.benchmark.coco_scenes import CocoScenes
    from project.benchmark.quiet import quietly
    from project.evaluation.instance import InstanceEvaluator

    scenes = CocoScenes(images, DETECTIONS)
    evaluator: DatasetEvaluator
    with quietly():
        if side == "stock":
            evaluator = COCOEvaluator(scenes.stock, output_dir=str(scenes.folder / "inference"))
        else:
            evaluator = InstanceEvaluator(scenes.ours)
        evaluator.reset()
        before = 0
        for number, (inputs, outputs) in enumerate(scenes.outputs()):
            if number == warm:
                gc.collect()
                Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
                before = _status("VmRSS")
            evaluator.process(inputs, outputs)
        evaluator.evaluate()
    # Of less, a ratio says nothing.
    return max((_status("VmHWM") - before) / 1e6, 0.1)


def _status(field: str) -> int:
    """Bytes."""
    line = Path("/proc/self/status").read_text().split(f"{field}:")[1]
    return int(line.split()[0]) * 1024


def _build(images: int, warm: int) -> tuple[Run, Run]:
    if not Path("/proc/self/clear_refs").exists():
        raise OSError("peaks of memory are measured on Linux only")
    return partial(_measure, "stock", images, warm), partial(_measure, "ours", images, warm)


@cache  # it takes minutes, and another run says the same to a few MB
def _measure(side: str, images: int, warm: int) -> float:
    code = f"from project.benchmark.memory import growth; print(growth({side!r}, {images}, {warm}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])
