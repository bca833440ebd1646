"""The one shape of a result: what `results.json` holds, how it is written, read and shown.

Scores are 0 to 100 under Detectron2's names. What cannot be computed is None, with its reason in
`notes`; nothing is ever NaN or -1.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

from tabulate import tabulate

from project.errors import ConfigError, UserError, nearest

_PRECISION = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_PIXELS = ("mIoU", "mDice", "fwIoU", "mACC", "pACC", "BIoU")
# Every task and the metrics that headlines show where they were scored, the most telling first.
HEADLINES = {
    "bbox": _PRECISION,
    "segm": _PRECISION,
    "boundary": _PRECISION,
    "sem_seg": (*_PIXELS, "VRand", "ARE"),
    "panoptic_seg": ("PQ", "SQ", "RQ", "PQ_th", "PQ_st"),
    "sem_seg_from_instances": _PIXELS,
    "segm_from_sem_seg": _PRECISION,
}
LOWER_IS_BETTER = ("ARE",)
# What a task holds beside its metrics.
DETAILS = ("per_class", "intervals", "confusion", "curves")
# The first of these that was scored decides which checkpoint is the best.
BEST_METRICS = ("panoptic_seg/PQ", "segm/AP", "sem_seg/mIoU", "bbox/AP")
MAX_CLASSES_IN_TABLE = 20


class Weights(TypedDict):
    """Which weights were scored; all None where the predictions were made elsewhere."""

    path: str | None
    sha256: str | None
    iteration: int | None


class _Tasks(TypedDict, total=False):
    """Scores by task; absent where the model has no such part, None where they are impossible.

    Each is a dict of metrics, numbers or None, and of these details (docs/metrics.md):
        per_class: name -> metric -> value.
        intervals: headline metric -> [low, high] of its 95 % interval, None where there is none;
            absent where none were asked for.
        confusion: of the first of segm and bbox: {"classes", "matrix": row = true class, column =
            predicted class, the last of each = background, "iou", "score"}.
        curves: of the same: see `curves.detection_curves`.

    Keys:
        boundary: segm by Boundary IoU.
        sem_seg_from_instances: instances pasted into a label map, scored as sem_seg is.
        segm_from_sem_seg: regions of a label map, scored as segm is.
        resamples: from which the intervals come.
    """

    bbox: dict[str, Any] | None
    segm: dict[str, Any] | None
    boundary: dict[str, Any] | None
    sem_seg: dict[str, Any] | None
    panoptic_seg: dict[str, Any] | None
    sem_seg_from_instances: dict[str, Any] | None
    segm_from_sem_seg: dict[str, Any] | None
    resamples: int


class DatasetResults(_Tasks):
    """Scores on one data set; every note begins with the task that it is about."""

    images: int
    notes: list[str]


class Results(TypedDict):
    """The content of results.json.

    Keys:
        config: path of the config, None where no model was run.
        weights: which weights were scored.
        backend: who computed COCO's numbers.
        datasets: results by registered name.
    """

    config: str | None
    weights: Weights
    backend: str
    datasets: dict[str, DatasetResults]


def dataset_results(images: int, scores: Mapping[str, Any]) -> DatasetResults:
    """Brings what the evaluators returned into shape.

    Args:
        images: of the data set.
        scores: of `Evaluators.evaluate()` on the main rank.
    """
    tasks = {task: scores[task] for task in HEADLINES if task in scores}
    return cast(DatasetResults, {"images": images, **tasks, "notes": list(scores["notes"])})


def write_results(results: Results, path: str | Path) -> None:
    """Writes results.json, whole or not at all; makes its folder."""
    # allow_nan: a NaN here is our own mistake, and must not reach a reader.
    text = _compact(json.dumps(results, indent=2, allow_nan=False)) + "\n"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _compact(text: str) -> str:
    """Indented JSON with every list of numbers on one line; strings hold no line breaks."""
    return re.sub(
        r"\[\n\s+([-+.\deE]+(?:,\n\s+[-+.\deE]+)*)\n\s+\]",
        lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]",
        text,
    )


def read_results(path: str | Path) -> Results:
    """Reads a results.json.

    Raises:
        UserError: the file is missing, not JSON, or holds something else.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as results ({error})") from error
    _check_keys(results, Results.__required_keys__, path)
    if not isinstance(results["datasets"], dict):
        raise UserError(f"{path}: `datasets` must be results by the names of data sets")
    for dataset in results["datasets"].values():
        _check_keys(dataset, DatasetResults.__required_keys__, path)
    _check_keys(results["weights"], Weights.__required_keys__, path)
    return cast(Results, results)


def _check_keys(found: Any, required: frozenset[str], path: str | Path) -> None:
    lacking = required - (found.keys() if isinstance(found, dict) else set())
    if lacking:
        raise UserError(
            f"{path}: not a results.json of this project, it lacks {', '.join(sorted(lacking))};"
            " tools/train_net.py and tools/score.py write such files"
        )


def headline(results: Results) -> list[tuple[str, str, str, float | None]]:
    """The numbers that a person looks for first: (data set, task, metric, value)."""
    return [
        (name, task, metric, scores.get(metric))
        for name, dataset in results["datasets"].items()
        for task, scores in scored_tasks(dataset)
        for metric in headline_metrics(task, scores)
    ]


def headline_metrics(task: str, scores: Mapping[str, Any]) -> list[str]:
    """The headline metrics of a task that were scored."""
    return [metric for metric in HEADLINES[task] if metric in scores]


def scalars(dataset: DatasetResults) -> dict[str, dict[str, float]]:
    """Task -> metric -> value of everything that is a number, without classes; for curves."""
    return {
        task: {name: value for name, value in scores.items() if isinstance(value, float)}
        for task, scores in scored_tasks(dataset)
    }


def best_metric(dataset: DatasetResults, name: str = "auto") -> tuple[str, float | None]:
    """The score by which checkpoints are compared.

    Args:
        dataset: results on the data set that decides.
        name: "task/metric" as in results.json, or "auto": the first there of `BEST_METRICS`.

    Returns:
        Its name and value, higher is better; None where it cannot be computed.

    Raises:
        ConfigError: nothing was scored under that name.
    """
    known = {
        f"{task}/{metric}": value
        for task, scores in scored_tasks(dataset)
        for metric, value in scores.items()
        if metric not in DETAILS
    }
    if name == "auto":
        name = next((n for n in BEST_METRICS if known.get(n) is not None), name)
        return name, known.get(name)
    task = name.split("/")[0]
    if name not in known and (task not in dataset or cast(Mapping[str, Any], dataset)[task]):
        raise ConfigError(
            f"TEST.BEST_METRIC is '{name}', which was not scored.{nearest(name, known)}"
        )
    return name, known.get(name)


def table(results: Results) -> str:
    """All data sets as plain text: headlines, classes where they are few, notes."""
    return "\n\n".join(
        _dataset_table(name, dataset) for name, dataset in results["datasets"].items()
    )


def _dataset_table(name: str, dataset: DatasetResults) -> str:
    images = dataset["images"]
    parts = [f"{name} ({images} image{'s' * (images != 1)})"]
    for task, scores in scored_tasks(dataset):
        parts.append(_headlines(task, scores))
        classes = scores["per_class"]
        if 1 < len(classes) <= MAX_CLASSES_IN_TABLE:
            columns = list(next(iter(classes.values())))
            rows = [[c, *(of[m] for m in columns)] for c, of in classes.items()]
            parts.append(_grid([task, *columns], rows))
    if dataset["notes"]:
        parts.append("\n".join(f"note: {note}" for note in dataset["notes"]))
    return "\n\n".join(parts)


def _headlines(task: str, scores: Mapping[str, Any]) -> str:
    """Side by side, or, with intervals, one below the other."""
    metrics = headline_metrics(task, scores)
    intervals = scores.get("intervals")
    if intervals is None:
        return _grid([task, *metrics], [["all", *(scores[m] for m in metrics)]])
    rows = [[m, with_interval(scores[m], intervals[m])] for m in metrics]
    return _grid([task, "all (95 % interval)"], rows)


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """A score like `81.5 (79.9 to 83.0)`; without an interval the value alone."""
    if value is None or interval is None:
        return "-" if value is None else f"{value:.1f}"
    return f"{value:.1f} ({interval[0]:.1f} to {interval[1]:.1f})"


def _grid(header: list[str], rows: list[list[Any]]) -> str:
    cells = [[_cell(value) for value in row] for row in rows]
    alignment = ["left", *["right"] * (len(header) - 1)]
    return tabulate(cells, header, tablefmt="simple", colalign=alignment, disable_numparse=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def scored_tasks(dataset: DatasetResults) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tasks that were scored, with their scores."""
    for task in HEADLINES:
        scores = cast(Mapping[str, Any], dataset).get(task)
        if scores is not None:
            yield task, scores
