"""A corrected copy of a data set: what is wrong is left out or measured anew, and listed."""

import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from project.data.problems import Id, Problem, Problems
from project.data.records import Record
from project.data.repair.draft import Draft, count_objects
from project.data.repair.label_values import LABEL_RULES, relabel
from project.data.repair.leaks import leaked_images
from project.data.repair.mending import mend
from project.data.rules import RULES
from project.data.writers import WRITERS, Dataset
from project.errors import DatasetError

if TYPE_CHECKING:
    from project.data.validate import Report

__all__ = ["Change", "Repair", "repair_text", "write_fixed"]


@dataclass(frozen=True)
class Change:
    """What is different in the corrected copy.

    Attributes:
        rule: why.
        split: of the image or object; None where it concerns all.
        file: that has the problem.
        annotation: id of the object; None where there is none.
        change: what was done.
        objects: how many went with an image that was left out.
    """

    rule: str
    split: str | None
    file: str
    annotation: Id | None
    change: str
    objects: int = 0


class Repair(NamedTuple):
    """What came of a repair.

    Attributes:
        spec: specification file of the corrected copy.
        changes: all that is different.
        left: what a person must decide.
        absent: split that is not in the copy -> why.
    """

    spec: Path
    changes: list[Change]
    left: list[Problem]
    absent: dict[str, str]


def write_fixed(report: "Report", out: Path) -> Repair:
    """Writes a corrected copy of a data set, and `changes.json`; the data set itself is only read.

    Objects and images that are wrong are left out, and images that lose all their objects. Boxes
    and areas are measured, and values in label maps that nothing explains become pixels to ignore.
    An image that several splits have stays in the last of them, so that training has none that is
    scored. The copy has the format of the data set where that can be written, else it is COCO, or
    label maps where there are no objects.

    Args:
        report: of the check of all splits.
        out: a new or an empty folder.

    Raises:
        DatasetError: nothing would be left, or no split train where there was one; or see
            `project.data.writers.Writer`.
    """
    found = report.problems.found
    draft = Draft(report.records)
    changes: list[Change] = []
    left: list[Problem] = []
    for problem in found:
        before = draft.image(problem)
        change = mend(problem, draft)
        if change:
            gone = before if draft.image(problem) is None else None
            changes.append(_change(problem, change, gone))
        elif problem.rule != "leak_exact":
            left.append(problem)
    for problem, record in draft.emptied(found):
        draft.drop_image(str(problem.split), record)
        text = "image left out, as none of its objects is left"
        changes.append(Change(problem.rule, problem.split, record["file_name"], None, text))
    for split, record, keeper in leaked_images(found, draft):
        draft.drop_image(split, record)
        text = f"image left out of '{split}', as '{keeper}' has it"
        number = count_objects(record)
        changes.append(Change("leak_exact", split, record["file_name"], None, text, number))
    dataset = draft.dataset()
    absent = _absent(dataset, report, out)
    relabels = any(problem.rule in LABEL_RULES for problem in found)
    spec, losses = _write(dataset, out, relabels=relabels)
    changes += [_change(loss, loss.found) for loss in losses]
    repair = Repair(spec, changes, left, absent)
    _write_changes(out / "changes.json", repair)
    return repair


def repair_text(repair: Repair) -> str:
    """What was changed and what is left, by kind, with counts, for print."""
    changed = Counter((change.rule, change.change) for change in repair.changes)
    objects: Counter[tuple[str, str]] = Counter()
    for change in repair.changes:
        objects[change.rule, change.change] += change.objects
    left = Counter(problem.rule for problem in repair.left)
    order = list(RULES)
    lines = [
        f"changed: {text} [{rule}]: {number}"
        + (f", with {objects[rule, text]} objects" if objects[rule, text] else "")
        for (rule, text), number in sorted(
            changed.items(), key=lambda kind: order.index(kind[0][0])
        )
    ]
    lines += [f"left: {RULES[rule].title} [{rule}]: {left[rule]}" for rule in RULES if left[rule]]
    lines.append(f"corrected copy: {repair.spec}")
    lines += [f"split {split} is NOT in the copy: {why}" for split, why in repair.absent.items()]
    return "\n".join(lines)


def _change(problem: Problem, change: str, gone: Record | None = None) -> Change:
    """What was done about a problem; `gone` is the image that was left out for it."""
    number = count_objects(gone) if gone else 0
    return Change(problem.rule, problem.split, problem.file, problem.annotation, change, number)


def _absent(dataset: Dataset, report: "Report", out: Path) -> dict[str, str]:
    """Splits of the data set that the copy would not have, and why.

    Raises:
        DatasetError: it would have none, or not train.
    """
    errors = report.problems.errors
    specs = [info.spec for info, _ in report.records.values()]
    absent = {}
    for split in specs[0].splits if specs else ():
        if split not in dataset:
            own = [p for p in errors if p.split == split] or [p for p in errors if not p.split]
            absent[split] = own[0].text if own else "none of its images is left"
    if not dataset:
        why = "; ".join(dict.fromkeys([*absent.values(), *(p.text for p in errors[:1])]))
        raise DatasetError(
            f"{out}: nothing of the data set could be read, so nothing can be corrected; mend what"
            f" the check says first: {why}"
        )
    if "train" in absent:
        raise DatasetError(
            f"{out}: the copy would be without the split train, so nothing is written; mend this"
            f" first: {absent['train']}"
        )
    return absent


def _write(dataset: Dataset, out: Path, *, relabels: bool) -> tuple[Path, list[Problem]]:
    """Writes the copy; returns its specification, and what its format cannot hold."""
    info = next(iter(dataset.values()))[0]
    other = "coco" if info.categories.things else "label_map"
    write = WRITERS.get(info.spec.format, WRITERS[other])
    problems = Problems()
    with tempfile.TemporaryDirectory() as folder:
        if relabels:
            dataset = relabel(dataset, Path(folder))
        spec = write(dataset, out, f"{info.spec.name}_fixed", "copy", problems)
    return spec, problems.found


def _write_changes(path: Path, repair: Repair) -> None:
    keys = ("rule", "level", "split", "file", "annotation", "found", "expected", "repair")
    content = {
        "changes": [asdict(change) for change in repair.changes],
        "left": [{key: getattr(problem, key) for key in keys} for problem in repair.left],
        "absent": repair.absent,
        "counts": dict(Counter(change.rule for change in repair.changes)),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
