"""Scores a model on the test data sets of a config."""

import logging
from dataclasses import dataclass, field
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import DatasetEvaluators, inference_on_dataset
from detectron2.utils import comm
from torch import nn

from project.data.mapper import SegmentationMapper
from project.evaluation.build import build_evaluators

logger = logging.getLogger(__name__)


@dataclass
class Evaluation:
    """The scores of one data set.

    Attributes:
        scores: {"images": n, task: {metric: value}, ..., "notes": [...]}, as in results.json.
        image_scores: image id -> 0 to 100, of the first task that has them; for the report.
    """

    scores: dict[str, Any]
    image_scores: dict[int | str, float] = field(default_factory=dict)


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Evaluation]:
    """Runs the model over each of DATASETS.TEST; every rank takes its share of the images.

    Returns:
        Data set name -> scores, on the main rank; empty on the others.
    """
    evaluations: dict[str, Evaluation] = {}
    for name in cfg.DATASETS.TEST:
        loader = build_detection_test_loader(
            cfg, name, mapper=SegmentationMapper(cfg, is_train=False)
        )
        evaluators = build_evaluators(name, cfg)
        scores = inference_on_dataset(model, loader, DatasetEvaluators(evaluators))
        if comm.is_main_process():
            image_scores = [e.image_scores for e in evaluators if e.image_scores]
            evaluations[name] = Evaluation(
                {"images": len(loader.dataset), **scores},
                image_scores[-1] if image_scores else {},
            )
    return evaluations
