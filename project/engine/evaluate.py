"""Scores a model on the test data sets of a config."""

from collections.abc import Callable
from dataclasses import dataclass, field

from detectron2.config import CfgNode
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from torch import nn

from project.engine.loader import build_test_loader
from project.evaluation.build import build_evaluators
from project.evaluation.per_image import ImageStatistics
from project.evaluation.results import DatasetResults, dataset_results
from project.modeling.mask_paste import windowed_masks
from project.modeling.testing import build_test_model


@dataclass
class Evaluation:
    """The scores of one data set.

    Attributes:
        results: as results.json holds them.
        image_scores: image id -> 0 to 100, to choose the report's pictures by; of panoptics where
            they were scored, otherwise of semantics, otherwise of instances.
        statistics: makes what is known of each image, for intervals and comparisons.
    """

    results: DatasetResults
    statistics: Callable[[], ImageStatistics]
    image_scores: dict[int | str, float] = field(default_factory=dict)


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Evaluation]:
    """Runs the model over each of DATASETS.TEST; every rank takes its share of the images.

    Args:
        cfg: complete.
        model: of the config, without what TEST.TILE and TEST.AUG put around it.

    Returns:
        Data set name -> scores, on the main rank; empty on the others.
    """
    evaluations: dict[str, Evaluation] = {}
    tested = build_test_model(cfg, model)
    for name in cfg.DATASETS.TEST:
        loader = build_test_loader(cfg, name)
        evaluators = build_evaluators(name, cfg)
        with windowed_masks(tested):
            scores = inference_on_dataset(tested, loader, evaluators)
        if comm.is_main_process():
            image_scores: dict[int | str, float] = {}
            for evaluator in evaluators:
                image_scores = evaluator.image_scores or image_scores
            evaluations[name] = Evaluation(
                results=dataset_results(len(loader.dataset), scores),  # type: ignore[arg-type]
                statistics=evaluators.image_statistics,
                image_scores=image_scores,
            )
    return evaluations
