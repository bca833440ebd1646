"""Which training images are drawn, and how often.

Classes are semantic ids, so that objects and label maps are counted alike.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf

import numpy as np
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from tabulate import tabulate
from tqdm import tqdm

from project.data.categories import IGNORE_LABEL, Categories
from project.data.dataset import DatasetInfo
from project.data.labels import read_semantic
from project.data.records import Record
from project.errors import ConfigError

logger = logging.getLogger(__name__)

Classes = list[frozenset[int]]  # an image's, for each image


def classes_of_images(records: Sequence[Record], infos: Mapping[str, DatasetInfo]) -> Classes:
    """The classes that each image shows: of its objects, or else in its label map.

    Crowds and pixels to ignore do not count, nor does the class of what is no object: the first
    stuff class.

    Raises:
        DatasetError: a label map cannot be read.
    """
    unread = [r for r in records if "annotations" not in r]
    progress = tqdm(
        total=len(unread), desc="classes of label maps", disable=None if unread else True
    )
    found = []
    with progress:
        for record in records:
            info = infos[record["dataset"]]
            if "annotations" in record:
                found.append(_classes_of_objects(record, info.categories))
            else:
                found.append(_classes_of_pixels(record, info))
                progress.update()
    return found


def limit_empty(classes: Classes, ratio: float, seed: int) -> list[int]:
    """Chooses images: all with objects, and of those without as many as a ratio allows.

    Args:
        classes: of each image.
        ratio: images without objects for each image with objects; infinite keeps all.
        seed: of the choice.

    Returns:
        Indices, ascending.

    Raises:
        ConfigError: no image is left.
    """
    full = [index for index, shown in enumerate(classes) if shown]
    empty = [index for index, shown in enumerate(classes) if not shown]
    count = len(empty) if ratio == inf else min(len(empty), int(ratio * len(full)))
    kept = np.random.default_rng(seed).permutation(empty)[:count].astype(int).tolist()
    logger.info(
        "images with objects: %d; without: %d kept, %d dropped",
        len(full),
        len(kept),
        len(empty) - len(kept),
    )
    if not (full or kept):
        raise ConfigError(
            f"none of the {len(classes)} training images shows an object, and images without"
            " objects are dropped; check the annotations, or set DATALOADER.EMPTY_RATIO -1 and"
            " DATALOADER.FILTER_EMPTY_ANNOTATIONS False"
        )
    return sorted(full + kept)


def repeat_factors(
    classes: Classes, threshold: float, *, sqrt: bool, names: Sequence[str]
) -> torch.Tensor:
    """How often each image is drawn in a round, by Detectron2's sampler for rare classes.

    Gupta et al. 2019, https://arxiv.org/abs/1908.03195, appendix B.2: a class in the share f of all
    images has the factor max(1, sqrt(threshold / f)), an image the largest of its classes.

    Args:
        classes: of each image.
        threshold: above 0; classes in a smaller share of the images are drawn more often.
        sqrt: take the root; otherwise threshold / f.
        names: of the classes, for the log.

    Returns:
        (images,) float32.
    """
    annotated = [{"annotations": [{"category_id": c} for c in shown]} for shown in classes]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        annotated, threshold, sqrt=sqrt
    )
    _log_factors(classes, factors, names)
    return factors


def weights_table(names: Sequence[str], counts: Sequence[int], weights: Sequence[float]) -> str:
    """Class, share of the pixels and weight, a line each."""
    total = max(1, sum(counts))
    rows = [(n, f"{c / total:.2%}", f"{w:.3f}") for n, c, w in zip(names, counts, weights)]
    return tabulate(rows, ["class", "share of pixels", "weight"], disable_numparse=True)


def _log_factors(classes: Classes, factors: torch.Tensor, names: Sequence[str]) -> None:
    images = Counter(c for shown in classes for c in shown)
    drawn = Counter[int]()
    for shown, factor in zip(classes, factors.tolist()):
        drawn.update(dict.fromkeys(shown, factor))
    rows = [
        (names[c], count, f"{count / len(classes):.1%}", f"{drawn[c] / count:.2f}")
        for c, count in sorted(images.items())
    ]
    header = ["class", "images", "share", "draws of an image"]
    logger.info(
        "rare classes are drawn more often:\n%s", tabulate(rows, header, disable_numparse=True)
    )


def _classes_of_objects(record: Record, categories: Categories) -> frozenset[int]:
    taught = (a for a in record["annotations"] if not a["iscrowd"])
    return frozenset(categories.semantic_of_thing(a["category_id"]) for a in taught)


def _classes_of_pixels(record: Record, info: DatasetInfo) -> frozenset[int]:
    shown = {int(value) for value in np.unique(read_semantic(record, info))}
    background = {0} if info.categories.stuff else set()
    return frozenset(shown - {IGNORE_LABEL} - background)
