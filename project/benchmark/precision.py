"""Whether quick arithmetic costs accuracy: trainings with and without EXACT, seed by seed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from project.benchmark.timing import machine
from project.benchmark.zoo import SHOWN, find_configs, run_zoo
from project.config import load_config
from project.errors import ConfigError

_MODES = {False: "quick", True: "exact"}


@dataclass(frozen=True)
class Score:
    """A score of 0 to 100 with its 95 % interval over the images."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """One metric of one config.

    Attributes:
        config: path from the top of the repository.
        metric: "mIoU", "AP" (of masks) or "PQ".
        quick: with our defaults, one a seed.
        exact: with stock's arithmetic, one a seed.
    """

    config: str
    metric: str
    quick: tuple[Score, ...]
    exact: tuple[Score, ...]

    @property
    def overlap(self) -> bool:
        """Whether the intervals of the two means overlap."""
        one, other = average(self.quick), average(self.exact)
        return one.low <= other.high and other.low <= one.high


def average(scores: Sequence[Score]) -> Score:
    """The mean over seeds, with the means of the intervals' ends.

    The same images are scored with every seed, so their interval does not shrink with more.
    """
    return Score(*(mean(getattr(s, end) for s in scores) for end in ("value", "low", "high")))


def run_precision(
    configs: Sequence[Path],
    output: Path,
    overrides: Sequence[str],
    *,
    seeds: Sequence[int],
    limit_s: float,
) -> list[Finding]:
    """Trains each config with each seed in both ways; goes on where it was interrupted.

    Args:
        configs: to run.
        output: each run gets a folder in it.
        overrides: KEY VALUE pairs for all of them.
        seeds: of the trainings.
        limit_s: seconds that one training may take.

    Raises:
        ConfigError: a config is not there or not right, keys decide what is compared, or a seed
            comes twice.
    """
    check_runs(configs, overrides, seeds)
    scores: dict[tuple[str, str, bool], list[Score]] = {}
    for seed in seeds:
        for exact, mode in _MODES.items():
            folder = output / f"{mode}_{seed}"
            print(f"seed {seed}, {mode}", flush=True)
            words = [*overrides, "SEED", str(seed), "EXACT", str(exact)]
            for row in run_zoo(configs, folder, words, limit_s=limit_s, judges=False):
                if row.error:
                    continue
                run = folder / Path(row.config).relative_to("configs").with_suffix("")
                for metric, score in read_scores(run / "results.json"):
                    scores.setdefault((row.config, metric, exact), []).append(score)
    names = dict.fromkeys((config, metric) for config, metric, _ in scores)
    return [
        Finding(*name, *(tuple(scores.get((*name, exact), ())) for exact in _MODES))
        for name in names
        if all((*name, exact) in scores for exact in _MODES)
    ]


def check_runs(configs: Sequence[Path], overrides: Sequence[str], seeds: Sequence[int]) -> None:
    """Passes for runs that can be compared.

    Raises:
        ConfigError: see `run_precision`.
    """
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, seeds))}: each once, or it counts twice")
    for key in ("EXACT", "SEED", "OUTPUT_DIR"):
        if key in overrides[::2]:
            raise ConfigError(f"--opts {key}: that is what this command sets; leave it out")
    for path in find_configs(configs, ""):
        if not load_config(path, list(overrides)).TEST.BOOTSTRAP:
            raise ConfigError(
                f"{path}: TEST.BOOTSTRAP is 0, and without intervals nothing says how far apart"
                " scores may be by chance; set it to 1000"
            )


def read_scores(path: Path) -> Iterator[tuple[str, Score]]:
    """The metrics that a results.json has an interval of."""
    (tasks,) = json.loads(path.read_text(encoding="utf-8"))["datasets"].values()
    for metric, task in SHOWN.items():
        found: dict[str, Any] = tasks.get(task) or {}
        interval = (found.get("intervals") or {}).get(metric)
        if found.get(metric) is not None and interval is not None:
            yield metric, Score(found[metric], *interval)


def markdown(findings: Sequence[Finding]) -> str:
    """A table, seed by seed."""
    lines = [
        "| config | metric | our defaults | `EXACT: True` | means | intervals overlap |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for found in findings:
        one, other = average(found.quick), average(found.exact)
        means = f"{_text(one)} and {_text(other)}"
        cells = [
            f"`{found.config.removeprefix('configs/')}`",
            found.metric,
            ", ".join(f"{score.value:.1f}" for score in found.quick),
            ", ".join(f"{score.value:.1f}" for score in found.exact),
            means,
            "yes" if found.overlap else "no",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_json(path: Path, findings: Sequence[Finding]) -> None:
    """Writes {"machine": {...}, "findings": [{...}]}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "findings": [asdict(found) for found in findings]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _text(score: Score) -> str:
    return f"{score.value:.1f} ({score.low:.1f} to {score.high:.1f})"
