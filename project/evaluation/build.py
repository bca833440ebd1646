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
from project.evaluation.average_precision import precision_scores
from project.evaluation.base import ImageEvaluator, image_order
from project.evaluation.coco_backend import NAMES, check_backend
from project.evaluation.confusion import semantic_scores
from project.evaluation.cross_tasks import (
    INSTANCES_OF_SEMANTICS,
    SEMANTICS_OF_INSTANCES,
    instances_of_semantics,
    semantics_of_instances,
)
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.matches import empty_table
from project.evaluation.panoptic import PanopticEvaluator
from project.evaluation.panoptic_quality import panoptic_scores
from project.evaluation.per_image import ImageStatistics
from project.evaluation.semantic import RAND_SCORES, SemanticEvaluator
from project.evaluation.table_scores import table_scores


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

    def image_statistics(self) -> ImageStatistics:
        """What is known of each image; on the main rank after `evaluate()`, and of one data set."""
        tasks = {task: s for e in self.evaluators for task, s in e.image_statistics().items()}
        records = self.evaluators[0].records if self.evaluators else {}
        return ImageStatistics(image_order(records), tasks)


def build_evaluators(dataset_name: str, cfg: CfgNode) -> Evaluators:
    """The evaluators of one data set.

    Args:
        dataset_name: a registered data set.
        cfg: says what the model yields, and all keys of TEST that are about scores.

    Raises:
        ConfigError: TEST.RAND_FOREGROUND is no class of the data set.
    """
    evaluators: list[ImageEvaluator] = []
    impossible: dict[str, str] = {}
    for choice in _choices(cfg):
        obstacle = obstacle_to(dataset_name, choice.needs)
        if obstacle:
            impossible |= dict.fromkeys(choice.tasks(cfg), obstacle)
        else:
            evaluators.append(choice.make(dataset_name, cfg))
    return Evaluators(evaluators, impossible)


def obstacle_to(dataset_name: str, needs: Sequence["Need"]) -> str:
    """What a data set lacks of what is needed; "" for nothing."""
    categories, records = dataset_info(dataset_name).categories, dataset_records(dataset_name)
    return next((why for lacks in needs if (why := lacks(categories, records))), "")


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
    return [
        f"{task}/{metric}"
        for choice in _choices(cfg)
        for task in choice.tasks(cfg)
        for metric in choice.score_nothing(cfg, task)
        if metric != "per_class"
    ]


def _choices(cfg: CfgNode) -> list["_Choice"]:
    outputs = model_outputs(cfg)
    if not cfg.TEST.CROSS_TASKS:
        return [_CHOICES[output] for output in outputs]
    crossed = [o for o in outputs if o in _CROSS and (o != "instances" or cfg.MODEL.MASK_ON)]
    return [_CHOICES[output] for output in outputs] + [_CROSS[output] for output in crossed]


def no_things(categories: Categories, records: Sequence[Record]) -> str:
    return "" if categories.things else "the data set has no countable classes"


def no_pixels(categories: Categories, records: Sequence[Record]) -> str:
    known = any(
        has_label_map(record) or any(a.get("segmentation") for a in record.get("annotations", ()))
        for record in records
    )
    return "" if known else "the data set has neither label maps nor masks"


def _instance_tasks(cfg: CfgNode) -> tuple[str, ...]:
    if not cfg.MODEL.MASK_ON:
        return ("bbox",)
    return ("bbox", "segm", "boundary") if cfg.TEST.BOUNDARY else ("bbox", "segm")


def _instance_evaluator(dataset_name: str, cfg: CfgNode) -> ImageEvaluator:
    return InstanceEvaluator(
        dataset_name,
        backend=cfg.TEST.COCO_BACKEND,
        max_detections=cfg.TEST.COCO_MAX_DETECTIONS,
        tasks=_instance_tasks(cfg),
        confusion_iou=cfg.TEST.CONFUSION_IOU,
        confusion_score=cfg.TEST.CONFIDENCE,
    )


def _score_no_instances(cfg: CfgNode, task: str) -> Mapping[str, Any]:
    check_backend(cfg.TEST.COCO_BACKEND, cfg.TEST.COCO_MAX_DETECTIONS, NAMES)
    if task == "boundary":
        return precision_scores(empty_table(), f"AR{cfg.TEST.COCO_MAX_DETECTIONS}")
    return table_scores(empty_table(), cfg.TEST.COCO_MAX_DETECTIONS)


def _score_no_pixels(cfg: CfgNode, task: str) -> Mapping[str, Any]:
    # Not ARE: the best checkpoint has the highest score, and an error is best where it is lowest.
    rand = RAND_SCORES[:1] if cfg.TEST.RAND_FOREGROUND and task == "sem_seg" else ()
    return {**semantic_scores(np.zeros((0, 5)), ()), **dict.fromkeys(rand)}


Need = Callable[[Categories, Sequence[Record]], str]


@dataclass(frozen=True)
class _Choice:
    """How an output of the model is scored.

    Attributes:
        tasks: names in results.json.
        needs: each says what the data set lacks, or "".
        make: builds the evaluator.
        score_nothing: scores of no image at all in a task, whose keys are the metrics.
    """

    tasks: Callable[[CfgNode], tuple[str, ...]]
    needs: tuple[Need, ...]
    make: Callable[[str, CfgNode], ImageEvaluator]
    score_nothing: Callable[[CfgNode, str], Mapping[str, Any]]


_CHOICES = {
    "instances": _Choice(_instance_tasks, (no_things,), _instance_evaluator, _score_no_instances),
    "sem_seg": _Choice(
        lambda cfg: ("sem_seg",),
        (no_pixels,),
        lambda name, cfg: SemanticEvaluator(name, rand_foreground=cfg.TEST.RAND_FOREGROUND),
        _score_no_pixels,
    ),
    "panoptic_seg": _Choice(
        lambda cfg: ("panoptic_seg",),
        (no_things, no_pixels),
        lambda name, cfg: PanopticEvaluator(name),
        lambda cfg, task: panoptic_scores(np.zeros((0, 4)), Categories((), ())),
    ),
}
# Output -> how it is scored on the other task.
_CROSS = {
    "instances": _Choice(
        lambda cfg: (SEMANTICS_OF_INSTANCES,),
        (no_things, no_pixels),
        lambda name, cfg: semantics_of_instances(name, cfg.TEST.CONFIDENCE),
        _score_no_pixels,
    ),
    "sem_seg": _Choice(
        lambda cfg: (INSTANCES_OF_SEMANTICS,),
        (no_things,),
        lambda name, cfg: instances_of_semantics(
            name, cfg.TEST.COCO_BACKEND, cfg.TEST.COCO_MAX_DETECTIONS
        ),
        _score_no_instances,
    ),
}
