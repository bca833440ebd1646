"""COCO's numbers for detections, computed by faster-coco-eval or by pycocotools.

Both hold all masks of a data set at once; what is `STREAMED` needs no library, see `table_scores`.
Both libraries give the same arrays; the means over them are taken here, because pycocotools'
own summary only knows 100 detections an image.

T IoU thresholds, R recall levels, C classes, A area ranges, M limits of detections.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from project.errors import ConfigError, nearest
from project.evaluation.matches import AREAS, IOU_50, IOU_75, Ious, MatchTable, match_table

logger = logging.getLogger(__name__)

STREAMED = "streamed"
DEFAULT_LIMIT = 100  # COCO's own limit of detections an image (and class)

# (precision (T, R, C, A, M), recall (T, C, A, M), -1 where the truth holds no object; IoUs)
Curves = tuple[np.ndarray, np.ndarray, Ious]


def evaluate_coco(
    ground_truth: dict[str, Any],
    detections: list[dict[str, Any]],
    iou_type: str,
    backend: str = "faster-coco-eval",
    max_detections: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Average precision and recall (Lin et al. 2014, https://cocodataset.org/#detection-eval).

    Args:
        ground_truth: a COCO dict of images (whole-numbered id, height, width), categories (id,
            name) and annotations (id from 1 on, image_id, category_id, bbox, area, iscrowd and, for
            "segm", segmentation as compressed RLE).
        detections: image_id, category_id, score, area and bbox or segmentation (compressed RLE).
        iou_type: "bbox" or "segm".
        backend: a name in `BACKENDS`.
        max_detections: the best so many of an image and class are scored.

    Returns:
        AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl and per_class {name: {AP, AP50}},
        0 to 100, None where the truth holds no such object. With another limit than 100, AR100 is
        named after it, and limits above it are left out.

    Raises:
        ConfigError: an unknown or missing backend, or a limit below 1.
    """
    scores, _ = score_with_ious(ground_truth, detections, iou_type, backend, max_detections)
    return scores


def score_and_match(
    ground_truth: dict[str, Any],
    detections: list[dict[str, Any]],
    iou_type: str,
    backend: str = "faster-coco-eval",
    max_detections: int = DEFAULT_LIMIT,
) -> tuple[dict[str, Any], MatchTable, Ious]:
    """As `evaluate_coco`, with the matches of every image and the IoUs that they rest on."""
    scores, ious = score_with_ious(ground_truth, detections, iou_type, backend, max_detections)
    return scores, match_table(ground_truth, detections, ious, max_detections), ious


def score_with_ious(
    ground_truth: dict[str, Any],
    detections: list[dict[str, Any]],
    iou_type: str,
    backend: str,
    max_detections: int,
) -> tuple[dict[str, Any], Ious]:
    """As `evaluate_coco`, with the IoUs of every image and class, as `match_table` takes them."""
    check_backend(backend, max_detections, BACKENDS)
    limits = sorted({n for n in (1, 10, max_detections) if n <= max_detections})
    # The libraries write into the dicts that they are given.
    truth = {**ground_truth, "annotations": [dict(a) for a in ground_truth["annotations"]]}
    found = {
        **ground_truth,
        "annotations": [{"iscrowd": 0, **d, "id": i} for i, d in enumerate(detections, start=1)],
    }
    precision, recall, ious = BACKENDS[backend](truth, found, iou_type, limits)
    # Both sort the classes by id.
    names = [c["name"] for c in sorted(ground_truth["categories"], key=lambda c: c["id"])]
    scores = _summary(precision, recall, limits) | {
        "per_class": {
            name: {
                "AP": _mean(precision[:, :, i, 0, -1]),
                "AP50": _mean(precision[IOU_50, :, i, 0, -1]),
            }
            for i, name in enumerate(names)
        }
    }
    return scores, ious


def check_backend(backend: str, max_detections: int, known: Collection[str]) -> None:
    """Checks TEST.COCO_BACKEND and TEST.COCO_MAX_DETECTIONS.

    Raises:
        ConfigError: a backend that is unknown or not installed, or a limit below 1.
    """
    if backend not in known:
        raise ConfigError(f"TEST.COCO_BACKEND is '{backend}'.{nearest(backend, known)}")
    if backend == "faster-coco-eval":
        _import_faster()
    if max_detections < 1:
        raise ConfigError(f"TEST.COCO_MAX_DETECTIONS must be at least 1, found {max_detections}")


def _summary(precision: np.ndarray, recall: np.ndarray, limits: list[int]) -> dict[str, Any]:
    scores = {
        "AP": _mean(precision[..., 0, -1]),
        "AP50": _mean(precision[IOU_50, ..., 0, -1]),
        "AP75": _mean(precision[IOU_75, ..., 0, -1]),
    }
    scores |= {f"AP{s}": _mean(precision[..., area, -1]) for s, area in AREAS.items()}
    scores |= {f"AR{limit}": _mean(recall[..., 0, m]) for m, limit in enumerate(limits)}
    return scores | {f"AR{s}": _mean(recall[..., area, -1]) for s, area in AREAS.items()}


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is defined, 0 to 100.

    Rounded to 1e-10, because the libraries add 2e-16 to a denominator: a class of one object, found
    perfectly, would score 99.99999999999998.
    """
    defined = values[values > -1]
    return round(100 * float(defined.mean()), 10) if defined.size else None


def _pycocotools(
    truth: dict[str, Any], found: dict[str, Any], iou_type: str, limits: list[int]
) -> Curves:
    with contextlib.redirect_stdout(io.StringIO()):  # it has no other way to be quiet
        apis = COCO(), COCO()
        for api, content in zip(apis, (truth, found)):
            api.dataset = content
            api.createIndex()
        evaluation = COCOeval(*apis, iou_type)
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"], evaluation.ious


def _import_faster() -> Any:
    try:
        import faster_coco_eval
    except ImportError as error:
        raise ConfigError(
            "TEST.COCO_BACKEND is 'faster-coco-eval', which is not installed here; install it, or"
            " set the key to 'pycocotools', which gives the same numbers more slowly"
        ) from error
    return faster_coco_eval


def _faster_coco_eval(
    truth: dict[str, Any], found: dict[str, Any], iou_type: str, limits: list[int]
) -> Curves:
    faster_coco_eval = _import_faster()
    apis = [faster_coco_eval.COCO(content) for content in (truth, found)]
    evaluation = faster_coco_eval.COCOeval_faster(*apis, iou_type, print_function=logger.debug)
    evaluation.params.maxDets = limits
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"], evaluation.ious


BACKENDS: dict[str, Callable[[dict[str, Any], dict[str, Any], str, list[int]], Curves]] = {
    "faster-coco-eval": _faster_coco_eval,
    "pycocotools": _pycocotools,
}
NAMES = (STREAMED, *BACKENDS)  # of TEST.COCO_BACKEND
