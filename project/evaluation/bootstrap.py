"""How sure the scores are: bootstrap intervals over the images (Efron 1979).

The images of a data set are a sample of all that could have been taken. Drawing as many of them
again, with replacement, and scoring each draw shows how much the scores depend on that sample. What
another training would change is not in these intervals.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from project.evaluation.curves import detection_curves
from project.evaluation.image_statistics import TaskStatistics, Weighted, weighted_scores
from project.evaluation.matches import MatchTable
from project.evaluation.results import DatasetResults, headline_metrics, scored_tasks

LEVEL = 95  # percent
FEW_IMAGES = 20  # below, an interval is told to be rough
FEWEST = 100  # resamples, however large the data set
_SEED = 20070  # fixed: the same predictions have the same intervals
_WORK = 4e7  # detections times resamples: some ten seconds

Interval = list[float] | None


def resample(images: int, count: int) -> np.ndarray:
    """Draws images with replacement.

    Args:
        images: I.
        count: B.

    Returns:
        (B, I) int64, how often each image was drawn; the same for the same arguments.
    """
    return np.random.default_rng(_SEED).multinomial(images, np.full(images, 1 / images), size=count)


def affordable(statistics: Iterable[TaskStatistics], count: int) -> int:
    """`count` resamples, or fewer where average precision of so many detections takes too long."""
    detections = sum(len(s.scores) for s in statistics if isinstance(s, MatchTable))
    return min(count, max(FEWEST, int(_WORK / max(detections, 1))))


def draw_scores(
    statistics: Mapping[str, TaskStatistics], weights: np.ndarray
) -> dict[str, Weighted]:
    """Task -> scores of each resample, the same resamples for all tasks."""
    return {task: weighted_scores(found, weights) for task, found in statistics.items()}


def percentile_interval(values: np.ndarray) -> Interval:
    """The middle 95 % of the defined values of a score; None where none is defined."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    edge = (100 - LEVEL) / 2
    return [round(float(v), 10) for v in np.percentile(defined, [edge, 100 - edge])]


def basic_interval(score: float, values: np.ndarray) -> Interval:
    """The basic bootstrap interval of a score of 0 to 100 (Davison and Hinkley 1997, section 5.2).

    What resampling adds to a score, the sample has added to the truth: both ends of the percentile
    interval are mirrored at the score. AP is higher on fewer images, and higher again on a draw of
    them; the percentile interval has that bias twice, this one does not.

    Args:
        score: of all images.
        values: of the resamples.
    """
    percentiles = percentile_interval(values)
    if percentiles is None:
        return None
    low, high = percentiles
    return [round(min(max(2 * score - end, 0.0), 100.0), 10) for end in (high, low)]


def add_details(
    dataset: DatasetResults, statistics: Mapping[str, TaskStatistics], count: int
) -> None:
    """Writes into a data set's results what only final scores have: `add_intervals`, curves.

    Args:
        dataset: what was scored.
        statistics: by task, all of the same images.
        count: resamples that are wanted; 0 for no intervals.
    """
    add_intervals(dataset, statistics, count)
    main = next((t for t in ("segm", "bbox") if isinstance(statistics.get(t), MatchTable)), None)
    for task, scores in scored_tasks(dataset):
        table = statistics.get(task)
        if task == main and isinstance(table, MatchTable):
            scores["curves"] = detection_curves(table)


def add_intervals(
    dataset: DatasetResults, statistics: Mapping[str, TaskStatistics], count: int
) -> None:
    """Writes `intervals` beside the headline numbers of each task, and `resamples`, in place.

    Args:
        dataset: what was scored.
        statistics: by task, all of the same images.
        count: resamples that are wanted; 0 for no intervals.
    """
    if not count or not statistics:
        return
    (images,) = {num_images(found) for found in statistics.values()}
    if 1 < images < FEW_IMAGES:
        dataset["notes"].append(
            f"intervals: {images} images are too few to rely on them; a class that is in some of"
            " them alone is missing from some draws, and from their mean"
        )
    draws: dict[str, Weighted] = {}
    if images > 1:
        dataset["resamples"] = affordable(statistics.values(), count)
        draws = draw_scores(statistics, resample(images, dataset["resamples"]))
    for task, scores in scored_tasks(dataset):
        metrics = headline_metrics(task, scores)
        scores["intervals"] = dict.fromkeys(metrics)
        if images < 2:
            dataset["notes"].append(f"{task}: intervals need two images or more")
            continue
        for metric in metrics:
            if scores[metric] is not None:
                values = draws[task].means[metric]
                scores["intervals"][metric] = basic_interval(scores[metric], values)


def num_images(statistics: TaskStatistics) -> int:
    """How many images the statistics are of."""
    return statistics.images if isinstance(statistics, MatchTable) else len(statistics.counts)
