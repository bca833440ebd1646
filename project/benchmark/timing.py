"""Two ways to do one thing, timed in turns.

On a machine that others use too, times of one way after the other differ for reasons of the
machine. So each round runs both, in alternating order, and the medians are over the rounds.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import cast

import torch

Run = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """A baseline and its candidate.

    Attributes:
        name: what is compared, one line.
        build: makes (baseline, candidate), called once, right before they run. It compares their
            results first, and raises where they differ by more than it says.
        goal: least ratio that we want; None for one that only explains. Those with a goal make the
            table of docs/performance.md.
        against: whose way the baseline is.
        unit: "ms" of a call; with any other, e.g. "MB", a call returns its own figure in it.
    """

    name: str
    build: Callable[[], tuple[Run, Run]]
    goal: float | None = None
    against: str = "stock Detectron2"
    unit: str = "ms"


@dataclass(frozen=True)
class Comparison:
    """What the rounds of one pair gave.

    Attributes:
        name: the pair's.
        baseline: median of a call, in the unit.
        candidate: the same.
        ratio: median over the rounds of baseline / candidate; above 1 the candidate is quicker.
        spread: lower and upper quartile of the rounds' ratios.
        rounds: how many.
        goal: the pair's.
        against: the pair's.
        unit: the pair's.
    """

    name: str
    baseline: float
    candidate: float
    ratio: float
    spread: tuple[float, float]
    rounds: int
    goal: float | None = None
    against: str = "stock Detectron2"
    unit: str = "ms"

    def __str__(self) -> str:
        low, high = self.spread
        return (
            f"{self.name:<64} {self.baseline:8.2f} {self.unit} {self.candidate:8.2f} {self.unit} "
            f"{self.ratio:6.2f}x  ({low:.2f} to {high:.2f})"
            f"{'' if self.goal is None else f', goal {self.goal:g}x'}"
        )


def compare(pair: Pair, rounds: int) -> Comparison:
    """Runs a pair in turns, after one call of each that is not counted.

    Args:
        pair: what to run.
        rounds: at least 1.
    """
    contestants = pair.build()
    measure = _milliseconds if pair.unit == "ms" else _own_figure
    for run in contestants:
        run()
    found = [_round(contestants, measure, reverse=bool(number % 2)) for number in range(rounds)]
    ratios = [baseline / candidate for baseline, candidate in found]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if rounds > 1 else ratios * 3
    return Comparison(
        name=pair.name,
        baseline=median(baseline for baseline, _ in found),
        candidate=median(candidate for _, candidate in found),
        ratio=median(ratios),
        spread=(low, high),
        rounds=rounds,
        goal=pair.goal,
        against=pair.against,
        unit=pair.unit,
    )


def _round(
    contestants: tuple[Run, Run], measure: Callable[[Run], float], reverse: bool
) -> tuple[float, float]:
    """Figures of (baseline, candidate), the candidate first if `reverse`."""
    figures = [0.0, 0.0]
    for index in (1, 0) if reverse else (0, 1):
        figures[index] = measure(contestants[index])
    return figures[0], figures[1]


def _milliseconds(run: Run) -> float:
    begin = time.perf_counter()
    run()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin)


def _own_figure(run: Run) -> float:
    return float(cast(float, run()))


def machine() -> dict[str, str | int]:
    """What a figure needs beside it to mean something."""
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
    }


def write_json(path: Path, comparisons: Iterable[Comparison]) -> None:
    """Writes {"machine": {...}, "comparisons": {name: {"ratio": ..., ...}}}."""
    by_name = {comparison.name: asdict(comparison) for comparison in comparisons}
    for fields in by_name.values():
        del fields["name"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "comparisons": by_name}, indent=2) + "\n")
