"""The check of a data set at the start of a training: stops it where the data is wrong."""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterable

from detectron2.config import CfgNode

from project.data.problems import Problem, Problems
from project.data.register import find_dataset, keep_records
from project.data.rules import RULES
from project.data.spec import DatasetSpec
from project.data.validate import Data, check_data, read_dataset
from project.errors import DatasetError

logger = logging.getLogger(__name__)

CHECKS = ("auto", "quick", "full")  # of DATASETS.CHECK
# What a full check takes on one core, measured: seconds for each.
_IMAGE, _PIXEL, _OBJECT = 2.5e-3, 2e-8, 3e-4
_AFFORDABLE = 5.0  # seconds; more are not spent at every start
_NUM_KINDS = 3  # that an error shows
# These make scores look better or worse than they are; what is learnt is right. The class count
# is compared, and told, where it is filled in.
_NOT_OF_TRAINING = (
    *("leak_exact", "leak_group", "class_untaught", "class_count"),
    "annotation_copied",
)


def check_training_data(cfg: CfgNode, names: Iterable[str]) -> None:
    """Checks the data sets of a training, as DATASETS.CHECK says; tells warnings in the log.

    What was read is kept for the training.

    Args:
        cfg: of the training.
        names: registered data sets that it learns from and is scored on.

    Raises:
        DatasetError: there are errors; names the first kinds and who lists them all.
    """
    splits: dict[str, list[str]] = defaultdict(list)
    specs: dict[str, DatasetSpec] = {}
    for name in names:
        spec, split = find_dataset(name)
        specs[spec.name] = spec
        splits[spec.name].append(split)
    for name, spec in specs.items():
        _check(cfg, spec, splits[name])


def _check(cfg: CfgNode, spec: DatasetSpec, splits: list[str]) -> None:
    problems = Problems()
    data = read_dataset(spec, problems, splits)
    quick = cfg.DATASETS.CHECK == "quick"
    if cfg.DATASETS.CHECK == "auto" and _seconds(data) > _AFFORDABLE:
        quick = True
        logger.warning(
            "%s: a quick check, which decodes a few files of each split; the whole one would take"
            " about %.0f s of one core: tools/check_dataset.py %s, or DATASETS.CHECK full",
            spec.name,
            _seconds(data),
            spec.path or "SPEC",
        )
    check_data(data, problems, cfg, quick=quick, progress=sys.stderr.isatty())
    errors = [p for p in problems.errors if p.rule not in _NOT_OF_TRAINING]
    if errors:
        raise _error(spec, errors)
    problems.log_warnings(spec.name)
    for info, records in data.values():
        keep_records(info, records)


def _seconds(data: Data) -> float:
    """About how long a full check takes on one core."""
    records = [record for _, found in data.values() for record in found]
    pixels = sum(record["height"] * record["width"] for record in records)
    objects = sum(len(record.get("annotations", ())) for record in records)
    return len(records) * _IMAGE + pixels * _PIXEL + objects * _OBJECT


def _error(spec: DatasetSpec, errors: list[Problem]) -> DatasetError:
    """One paragraph on all errors, the most harmful kinds first."""
    problems = Problems()
    problems.found = errors
    kinds = problems.by_rule()
    texts = [
        f"{RULES[rule].title} ({len(found)}): {found[0].text}"
        for rule, found in list(kinds.items())[:_NUM_KINDS]
    ]
    rest = len(kinds) - len(texts)
    more = f"; and {rest} more kinds" if rest else ""
    error = DatasetError(
        f"data set {spec.name} has errors ({len(errors)}), so that nothing is trained:"
        f" {'; '.join(texts)}{more}. All of them: tools/check_dataset.py {spec.path or 'SPEC'}"
    )
    error.problem = next(iter(kinds.values()))[0]
    return error
