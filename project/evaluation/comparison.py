"""Two runs on the same images: whether their scores differ by more than chance.

Paired bootstrap: every resample of the images is scored for both runs, and the differences make the
interval. What is hard or easy in an image is so for both, so it is far narrower than the two runs'
own intervals would suggest.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from project.data.files import some_of
from project.errors import UserError, nearest
from project.evaluation.bootstrap import Interval, affordable, percentile_interval, resample
from project.evaluation.confusion import TRUE
from project.evaluation.image_statistics import (
    PixelCounts,
    SegmentCounts,
    TaskStatistics,
    weighted_scores,
)
from project.evaluation.matches import MatchTable
from project.evaluation.panoptic_quality import MATCHED, MISSED
from project.evaluation.per_image import ImageStatistics, path_beside, read_per_image
from project.evaluation.results import HEADLINES, LOWER_IS_BETTER


@dataclass(frozen=True)
class Difference:
    """How B differs from A in one number.

    Attributes:
        task: as in results.json.
        metric: as in results.json.
        name: of the class; "" for all classes.
        a: score of run A, 0 to 100.
        b: score of run B.
        difference: b - a.
        interval: 95 % of the differences of resamples; None where they are not defined.
    """

    task: str
    metric: str
    name: str
    a: float
    b: float
    difference: float
    interval: Interval

    @property
    def better(self) -> str:
        """`A` or `B` where the interval is all on one side of 0, else empty."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return ""
        return "B" if (self.difference > 0) != (self.metric in LOWER_IS_BETTER) else "A"

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if self.interval is None:
            return "no interval"
        return f"{self.better} is better" if self.better else "not distinguishable"


@dataclass(frozen=True)
class Comparison:
    """Two runs on one data set.

    Attributes:
        dataset: registered name.
        images: how many there are.
        resamples: from which the intervals come.
        differences: headline numbers, task by task.
        of_classes: the same of every class.
        skipped: tasks that only one of the runs has.
    """

    dataset: str
    images: int
    resamples: int
    differences: list[Difference]
    of_classes: list[Difference]
    skipped: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        content = asdict(self)
        for key in ("differences", "of_classes"):
            found = getattr(self, key)
            content[key] = [asdict(d) | {"verdict": d.verdict} for d in found]
        return content


def find_statistics(run: Path) -> Path:
    """The per_image.npz of a run.

    Args:
        run: an OUTPUT_DIR, a folder that tools/score.py has written to, a results file or the
            archive itself.

    Raises:
        UserError: there is none, or several.
    """
    if run.suffix == ".npz":
        return run
    if not run.is_dir():
        if not run.exists():
            beside = [p.name for p in run.parent.iterdir()] if run.parent.is_dir() else []
            raise UserError(f"{run}: no such file or folder.{nearest(run.name, beside)}")
        return path_beside(run)
    found = sorted(run.glob("*per_image.npz"))
    if (run / "per_image.npz") in found:
        return run / "per_image.npz"
    if len(found) != 1:
        names = f"several: {some_of([p.name for p in found])}; name one" if found else "none"
        raise UserError(
            f"{run}: expected one per_image.npz, which tools/train_net.py and tools/score.py --out"
            f" write, found {names}"
        )
    return found[0]


def compare_runs(
    run_a: Path, run_b: Path, *, dataset: str | None = None, resamples: int = 1000
) -> list[Comparison]:
    """Compares two runs on every data set that both were scored on.

    Args:
        run_a: see `find_statistics`.
        run_b: see `find_statistics`.
        dataset: the only data set to compare, by registered name.
        resamples: of the images; fewer in very large data sets.

    Raises:
        UserError: no statistics, no common data set, or other images, classes or truth.
    """
    path_a, path_b = find_statistics(run_a), find_statistics(run_b)
    of_a, of_b = read_per_image(path_a), read_per_image(path_b)
    for path, found in ((path_a, of_a), (path_b, of_b)):
        if dataset is not None and dataset not in found:
            raise UserError(f"{path}: not scored on '{dataset}'.{nearest(dataset, found)}")
    names = [name for name in of_a if name in of_b and dataset in (None, name)]
    if not names:
        raise UserError(
            f"{path_a} was scored on {some_of(list(of_a)) or 'nothing'}, {path_b} on"
            f" {some_of(list(of_b)) or 'nothing'}: there is no data set that both were scored on"
        )
    return [
        compare_statistics(name, of_a[name], of_b[name], resamples, f"{path_a} and {path_b}")
        for name in names
    ]


def compare_statistics(
    dataset: str, a: ImageStatistics, b: ImageStatistics, resamples: int, where: str = "A and B"
) -> Comparison:
    """Compares what two runs keep of the images of one data set.

    Raises:
        UserError: other images, classes or truth, no common task, or fewer than two images.
    """
    where = f"{where}: {dataset}"
    _check_images(a.images, b.images, where)
    tasks = [task for task in HEADLINES if task in a.tasks and task in b.tasks]
    if not tasks:
        raise UserError(
            f"{where}: there is no task that both were scored on:"
            f" {some_of(list(a.tasks)) or 'none'} against {some_of(list(b.tasks)) or 'none'}"
        )
    for task in tasks:
        _check_truth(a.tasks[task], b.tasks[task], f"{where}: {task}")
    both = [run.tasks[task] for run in (a, b) for task in tasks]
    count = affordable(both, resamples)
    # The first row is the data set itself.
    weights = np.vstack([np.ones((1, len(a.images)), int), resample(len(a.images), count)])
    differences: list[Difference] = []
    of_classes: list[Difference] = []
    for task in tasks:
        first, second = (weighted_scores(run.tasks[task], weights) for run in (a, b))
        differences += _differences(task, first.means, second.means)
        names = [f"{first.metric} {name}" for name in a.tasks[task].classes]
        of_a, of_b = (dict(zip(names, found.classes.T)) for found in (first, second))
        of_classes += _differences(task, of_a, of_b, first.metric)
    return Comparison(
        dataset=dataset,
        images=len(a.images),
        resamples=count,
        differences=differences,
        of_classes=of_classes,
        skipped=sorted(a.tasks.keys() ^ b.tasks.keys()),
    )


def _differences(
    task: str, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], metric: str = ""
) -> list[Difference]:
    """Of headline metrics, or of the classes where `metric` names their score."""
    keys = a if metric else [m for m in HEADLINES[task] if m in a and m in b]
    found = []
    for key in keys:
        first, second = a[key], b[key]
        if np.isnan(first[0]) or np.isnan(second[0]):
            continue
        found.append(
            Difference(
                task=task,
                metric=metric or key,
                name=key.removeprefix(f"{metric} ") if metric else "",
                a=float(first[0]),
                b=float(second[0]),
                difference=float(second[0] - first[0]),
                interval=percentile_interval(second[1:] - first[1:]),
            )
        )
    return found


def _check_images(a: list[int | str], b: list[int | str], where: str) -> None:
    if a != b:
        only = [sorted(map(str, set(x) - set(y))) for x, y in ((a, b), (b, a))]
        raise UserError(
            f"{where}: they were scored on other images: {len(a)} and {len(b)};"
            f" only in A: {some_of(only[0]) or 'none'}; only in B: {some_of(only[1]) or 'none'};"
            " score both on the same split"
        )
    if len(a) < 2:
        raise UserError(f"{where}: a comparison needs two images or more, found {len(a)}")


def _check_truth(a: TaskStatistics, b: TaskStatistics, where: str) -> None:
    if a.classes != b.classes:
        raise UserError(
            f"{where}: they were scored on other classes: {some_of(list(a.classes))} against"
            f" {some_of(list(b.classes))}; score both with the same specification"
        )
    if type(a) is not type(b) or not _same_truth(a, b):
        raise UserError(
            f"{where}: the images have another truth, or were not all predicted; score both again"
            " with the same annotations"
        )


def _same_truth(a: TaskStatistics, b: TaskStatistics) -> bool:
    if isinstance(a, MatchTable) and isinstance(b, MatchTable):
        names = ("object_class", "object_image", "object_ignored")
        return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, PixelCounts) and isinstance(b, PixelCounts):
        return np.array_equal(a.counts[..., TRUE], b.counts[..., TRUE])
    assert isinstance(a, SegmentCounts) and isinstance(b, SegmentCounts)
    of_a, of_b = (x.counts[..., MATCHED] + x.counts[..., MISSED] for x in (a, b))
    return np.array_equal(of_a, of_b)
