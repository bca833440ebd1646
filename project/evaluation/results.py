"""The one shape of a result: what `results.json` holds, how it is written, read and shown.

Scores are 0 to 100 under Detectron2's names. What cannot be computed is None, with its reason in
`notes`; nothing is ever NaN or -1.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from tabulate import tabulate

from project.errors import ConfigError, UserError, nearest

# Every task and the metrics that headlines show, the most telling first.
HEADLINES = {
    "bbox": ("AP", "AP50", "AP75", "APs", "APm", "APl"),
    "segm": ("AP", "AP50", "AP75", "APs", "APm", "APl"),
    "sem_seg": ("mIoU", "mDice", "fwIoU", "mACC", "pACC"),
    "panoptic_seg": ("PQ", "SQ", "RQ", "PQ_th", "PQ_st"),
}
# The first of these that was scored decides which checkpoint is the best.
BEST_METRICS = ("panoptic_seg/PQ", "segm/AP", "sem_seg/mIoU", "bbox/AP")
MAX_CLASSES_IN_TABLE = 20


class Weights(TypedDict):
    """Which weights were scored; all None where the predictions were made elsewhere."""

    path: str | None
    sha256: str | None
    iteration: int | None


class _Tasks(TypedDict, total=False):
    """Scores by task; absent where the model has no such part, None where they are impossible."""

    bbox: dict[str, Any] | None
    segm: dict[str, Any] | None
    sem_seg: dict[str, Any] | None
    panoptic_seg: dict[str, Any] | None


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
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    for dataset in results["datasets"].values():
        _check_keys(dataset, DatasetResults.__required_keys__, path)
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
        for task, scores in _scored(dataset)
        for metric in HEADLINES[task]
    ]


def scalars(dataset: DatasetResults) -> dict[str, dict[str, float]]:
    """Task -> metric -> value of everything that is a number, without classes; for curves."""
    return {
        task: {name: value for name, value in scores.items() if isinstance(value, float)}
        for task, scores in _scored(dataset)
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
        for task, scores in _scored(dataset)
        for metric, value in scores.items()
        if metric != "per_class"
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
    for task, scores in _scored(dataset):
        metrics = HEADLINES[task]
        parts.append(_grid([task, *metrics], [["all", *(scores.get(m) for m in metrics)]]))
        classes = scores["per_class"]
        if 1 < len(classes) <= MAX_CLASSES_IN_TABLE:
            columns = list(next(iter(classes.values())))
            rows = [[c, *(of[m] for m in columns)] for c, of in classes.items()]
            parts.append(_grid([task, *columns], rows))
    if dataset["notes"]:
        parts.append("\n".join(f"note: {note}" for note in dataset["notes"]))
    return "\n\n".join(parts)


def _grid(header: list[str], rows: list[list[Any]]) -> str:
    cells = [[_cell(value) for value in row] for row in rows]
    alignment = ["left", *["right"] * (len(header) - 1)]
    return tabulate(cells, header, tablefmt="simple", colalign=alignment, disable_numparse=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _scored(dataset: DatasetResults) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tasks that were scored, with their scores."""
    for task in HEADLINES:
        scores = cast(Mapping[str, Any], dataset).get(task)
        if scores is not None:
            yield task, scores
