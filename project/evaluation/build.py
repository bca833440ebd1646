"""Chooses the evaluators that fit both what the model yields and what the data set knows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluators
from detectron2.utils import comm

from project.data.architectures import model_parts
from project.data.categories import Categories
from project.data.labels import has_label_map
from project.data.records import Record
from project.data.register import dataset_info, dataset_records
from project.evaluation.base import ImageEvaluator
from project.evaluation.coco_backend import evaluate_coco
from project.evaluation.confusion import semantic_scores
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.panoptic import PanopticEvaluator
from project.evaluation.panoptic_quality import panoptic_scores
from project.evaluation.semantic import SemanticEvaluator


class Evaluators(DatasetEvaluators):
    """Several evaluators in one, for `inference_on_dataset`; iterates over them.

    Detectron2's own refuses two evaluators that both return notes.
    """

    def __init__(
        self, evaluators: Sequence[ImageEvaluator], impossible: Mapping[str, str] | None = None
    ) -> None:
        """Puts evaluators together.

        Args:
            evaluators: each for tasks of its own.
            impossible: task that cannot be scored -> why.
        """
        super().__init__(list(evaluators))
        self.evaluators = list(evaluators)
        self._impossible = dict(impossible or {})

    def __iter__(self) -> Iterator[ImageEvaluator]:
        return iter(self.evaluators)

    def evaluate(self) -> dict[str, Any]:
        """Scores of all evaluators.

        Returns:
            On the main rank {task: scores or None, "notes": [...]}; elsewhere {}.
        """
        parts = [evaluator.evaluate() for evaluator in self.evaluators]
        if not comm.is_main_process():
            return {}
        results: dict[str, Any] = dict.fromkeys(self._impossible)
        notes = [f"{task}: not scored: {why}" for task, why in self._impossible.items()]
        for part in parts:
            notes += part.pop("notes")
            assert not results.keys() & part.keys(), (results.keys(), part.keys())
            results |= part
        return {**results, "notes": notes}


def build_evaluators(dataset_name: str, cfg: CfgNode) -> Evaluators:
    """The evaluators of one data set.

    Args:
        dataset_name: a registered data set.
        cfg: says what the model yields, and MODEL.MASK_ON, TEST.COCO_BACKEND and
            TEST.COCO_MAX_DETECTIONS.
    """
    categories, records = dataset_info(dataset_name).categories, dataset_records(dataset_name)
    evaluators: list[ImageEvaluator] = []
    impossible: dict[str, str] = {}
    for output in model_outputs(cfg):
        choice = _CHOICES[output]
        obstacle = next((why for lacks in choice.needs if (why := lacks(categories, records))), "")
        if obstacle:
            impossible |= dict.fromkeys(choice.tasks(cfg), obstacle)
        else:
            evaluators.append(choice.make(dataset_name, cfg))
    return Evaluators(evaluators, impossible)


def model_outputs(cfg: CfgNode) -> list[str]:
    """Which of "instances", "sem_seg" and "panoptic_seg" a model of this config yields."""
    parts = model_parts(cfg)
    yields = {
        "instances": parts.instances,
        "sem_seg": parts.semantics,
        "panoptic_seg": parts.instances and parts.semantics and cfg.MODEL.MASK_ON,
    }
    return [output for output in _CHOICES if yields[output]]


def metric_names(cfg: CfgNode) -> list[str]:
    """Every "task/metric" that a model of this config is scored by.

    Raises:
        ConfigError: TEST.COCO_BACKEND or TEST.COCO_MAX_DETECTIONS cannot be used.
    """
    choices = [_CHOICES[output] for output in model_outputs(cfg)]
    return [
        f"{task}/{metric}"
        for choice in choices
        for task in choice.tasks(cfg)
        for metric in choice.score_nothing(cfg)
        if metric != "per_class"
    ]


def _no_things(categories: Categories, records: Sequence[Record]) -> str:
    return "" if categories.things else "the data set has no countable classes"


def _no_pixels(categories: Categories, records: Sequence[Record]) -> str:
    known = any(
        has_label_map(record) or any(a.get("segmentation") for a in record.get("annotations", ()))
        for record in records
    )
    return "" if known else "the data set has neither label maps nor masks"


def _instance_tasks(cfg: CfgNode) -> tuple[str, ...]:
    return ("bbox", "segm") if cfg.MODEL.MASK_ON else ("bbox",)


def _instance_evaluator(dataset_name: str, cfg: CfgNode) -> ImageEvaluator:
    return InstanceEvaluator(
        dataset_name,
        backend=cfg.TEST.COCO_BACKEND,
        max_detections=cfg.TEST.COCO_MAX_DETECTIONS,
        tasks=_instance_tasks(cfg),
    )


def _score_no_instances(cfg: CfgNode) -> Mapping[str, Any]:
    nothing: dict[str, Any] = {"images": [], "categories": [], "annotations": []}
    return evaluate_coco(nothing, [], "bbox", cfg.TEST.COCO_BACKEND, cfg.TEST.COCO_MAX_DETECTIONS)


@dataclass(frozen=True)
class _Choice:
    """How an output of the model is scored.

    Attributes:
        tasks: names in results.json.
        needs: each says what the data set lacks, or "".
        make: builds the evaluator.
        score_nothing: scores of no image at all, whose keys are the metrics.
    """

    tasks: Callable[[CfgNode], tuple[str, ...]]
    needs: tuple[Callable[[Categories, Sequence[Record]], str], ...]
    make: Callable[[str, CfgNode], ImageEvaluator]
    score_nothing: Callable[[CfgNode], Mapping[str, Any]]


_CHOICES = {
    "instances": _Choice(_instance_tasks, (_no_things,), _instance_evaluator, _score_no_instances),
    "sem_seg": _Choice(
        lambda cfg: ("sem_seg",),
        (_no_pixels,),
        lambda name, cfg: SemanticEvaluator(name),
        lambda cfg: semantic_scores(np.zeros((0, 1)), ()),
    ),
    "panoptic_seg": _Choice(
        lambda cfg: ("panoptic_seg",),
        (_no_things, _no_pixels),
        lambda name, cfg: PanopticEvaluator(name),
        lambda cfg: panoptic_scores(np.zeros((0, 4)), Categories((), ())),
    ),
}
