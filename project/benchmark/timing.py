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

import torch

Run = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """A baseline and its candidate.

    Attributes:
        name: what is compared, one line.
        build: makes (baseline, candidate), called once, right before they run.
    """

    name: str
    build: Callable[[], tuple[Run, Run]]


@dataclass(frozen=True)
class Comparison:
    """What the rounds of one pair gave.

    Attributes:
        name: the pair's.
        baseline_ms: median milliseconds of a call.
        candidate_ms: the same.
        ratio: median over the rounds of baseline / candidate; above 1 the candidate is quicker.
        spread: lower and upper quartile of the rounds' ratios.
        rounds: how many.
    """

    name: str
    baseline_ms: float
    candidate_ms: float
    ratio: float
    spread: tuple[float, float]
    rounds: int

    def __str__(self) -> str:
        low, high = self.spread
        return (
            f"{self.name:<64} {self.baseline_ms:8.2f} ms {self.candidate_ms:8.2f} ms "
            f"{self.ratio:6.2f}x  ({low:.2f} to {high:.2f})"
        )


def compare(pair: Pair, rounds: int) -> Comparison:
    """Runs a pair in turns, after one call of each that is not counted.

    Args:
        pair: what to run.
        rounds: at least 1.
    """
    contestants = pair.build()
    for run in contestants:
        run()
    times = [_round(contestants, reverse=bool(number % 2)) for number in range(rounds)]
    ratios = [baseline / candidate for baseline, candidate in times]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if rounds > 1 else ratios * 3
    return Comparison(
        name=pair.name,
        baseline_ms=1e3 * median(baseline for baseline, _ in times),
        candidate_ms=1e3 * median(candidate for _, candidate in times),
        ratio=median(ratios),
        spread=(low, high),
        rounds=rounds,
    )


def _round(contestants: tuple[Run, Run], reverse: bool) -> tuple[float, float]:
    """Seconds of (baseline, candidate), the candidate first if `reverse`."""
    seconds = [0.0, 0.0]
    for index in (1, 0) if reverse else (0, 1):
        begin = time.perf_counter()
        contestants[index]()
        seconds[index] = time.perf_counter() - begin
    return seconds[0], seconds[1]


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
